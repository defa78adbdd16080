import * as path from 'node:path';

const FOLDER = /^-(I|isystem|iquote|idirafter)(.*)$/s;
const FILE = /^-(?:include|imacros)$/;
/** Flags whose value may stand, or must, in a word of its own. */
const WANTS_VALUE = /^-(?:I|isystem|iquote|idirafter|include|imacros|isysroot|D|U|x|Xclang|mllvm|target)$/;

/**
 * The C compiler's flags for a compiler that works in another folder: relative folders and files are those of `from`,
 * and a folder is joined to its flag.
 * @throws TypeError where the last flag wants a value: it would take the next of ours for it
 */
export function absoluteFlags(cflags: readonly string[], from: string): string[] {
  let open = false;
  for (const flag of cflags) open = !open && WANTS_VALUE.test(flag);
  if (open) throw new TypeError(`cflags: '${cflags.at(-1)}' wants a value after it`);
  const flags: string[] = [];
  for (let i = 0; i < cflags.length; i++) {
    const flag = cflags[i]!;
    const folder = FOLDER.exec(flag);
    if (folder) {
      const name = folder[2] !== '' ? folder[2]! : cflags[++i];
      flags.push(`-${folder[1]}${path.resolve(from, name!)}`);
    } else if (FILE.test(flag)) {
      flags.push(flag, path.resolve(from, cflags[++i]!));
    } else {
      flags.push(flag);
    }
  }
  return flags;
}

/** The folders in which the compiler will look for headers. */
export function includeFolders(cflags: readonly string[]): string[] {
  return absoluteFlags(cflags, process.cwd())
    .map((flag) => FOLDER.exec(flag)?.[2] ?? '')
    .filter((folder) => folder !== '');
}

/** `-D` as the text that would define the macros. */
export function macroText(cflags: readonly string[]): string {
  let text = '';
  for (let i = 0; i < cflags.length; i++) {
    const match = /^-D(.*)$/s.exec(cflags[i]!);
    if (!match) continue;
    const value = match[1] !== '' ? match[1]! : (cflags[++i] ?? '');
    text += `#define ${value.replace('=', ' ').replace(/\n/g, ' ')}\n`;
  }
  return text;
}
