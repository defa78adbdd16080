import * as path from 'node:path';

const FOLDER = /^-(I|isystem|iquote|idirafter)(.*)$/s;
const FILE = /^-(?:include|imacros)$/;

/**
 * The C compiler's flags for a compiler that works in another folder: relative folders and files are those of `from`,
 * and a folder is joined to its flag.
 */
export function absoluteFlags(cflags: readonly string[], from: string): string[] {
  const flags: string[] = [];
  for (let i = 0; i < cflags.length; i++) {
    const flag = cflags[i]!;
    const folder = FOLDER.exec(flag);
    if (folder) {
      const name = folder[2] !== '' ? folder[2]! : cflags[++i];
      flags.push(name === undefined ? flag : `-${folder[1]}${path.resolve(from, name)}`);
    } else if (FILE.test(flag) && i + 1 < cflags.length) {
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
