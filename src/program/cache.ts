import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { BCCError } from '../errors';
import { btfHash, headersIdentity } from '../kernel/headers';
import { includeFolders } from '../kernel/headers/flags';
import { tracepointFormats } from '../kernel/headers/tree';
import { runtime } from '../native';
import { decodeProgram, encodeProgram, FORMAT_VERSION } from './codec';
import { type CompileJob, type CompileRequest, compile, compileSync, prepareCompile } from './compile';
import type { CompiledProgram } from './compiled';
import { compilerFile } from './compiler';
import { externTablesFit, requireExternTables } from './maps';

/*
 * Compiled programs, kept by everything that can change them: the text as the compiler sees it with all of the user's
 * own headers, the flags, the kernel's headers and release, the compiler. What is in the cache is loaded into the kernel
 * as root, so an entry counts only if its folder and its file are this user's and nobody else can write them.
 */

/** true (the default): `$XDG_CACHE_HOME/tsbcc/programs`; false: none; text: a folder of the caller's. */
export type CacheOption = boolean | string;

/** Where a program came from: 'cache', or 'process' for a compiler just run in a process of its own. */
export type ProgramSource = 'cache' | 'process' | 'file';

export interface Obtained {
  program: CompiledProgram;
  source: ProgramSource;
}

/** Beyond this the entries that were used longest ago go. */
export const CACHE_BYTES = 128 << 20;
const SUFFIX = '.tsbcc';

/** The folder of compiled programs: see {@link CacheOption}. */
export function cacheFolder(option: CacheOption): string | undefined {
  if (option === false) return undefined;
  if (typeof option === 'string') return path.resolve(option);
  const xdg = process.env.XDG_CACHE_HOME;
  return path.join(xdg && path.isAbsolute(xdg) ? xdg : path.join(homeFolder(), '.cache'), 'tsbcc', 'programs');
}

/** The home of the user who pays for the files: sudo may leave $HOME another user's. */
function homeFolder(): string {
  const home = os.homedir();
  try {
    if (process.geteuid?.() === 0 && fs.statSync(home).uid !== 0) return os.userInfo().homedir;
  } catch {
    // no such folder: making the cache in it fails later, and does no harm
  }
  return home;
}

let libbcc: string[] | undefined;

/** A change of the compiler shows in its files: the program, and the libbcc that it links. */
function compilerIdentity(): string {
  libbcc ??= libbccFiles();
  return [compilerFile(), ...libbcc]
    .map((file) => {
      const stat = fs.statSync(file, { throwIfNoEntry: false });
      return stat ? `${file} ${stat.size} ${stat.mtimeMs}` : file;
    })
    .join('\n');
}

/** libbcc lies beside libbcc_bpf, which the runtime addon has mapped. */
function libbccFiles(): string[] {
  runtime();
  const mapped = /(\/\S*)\/libbcc_bpf\.so/.exec(fs.readFileSync('/proc/self/maps', 'latin1'))?.[1];
  return mapped === undefined ? [] : [path.join(mapped, 'libbcc.so.0')];
}

/** The user's own header files, as the program includes them, with their contents. */
function ownHeaders(text: string, folders: readonly string[], seen = new Map<string, string>()): Map<string, string> {
  for (const [, name] of text.matchAll(/^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]/gm)) {
    for (const folder of folders) {
      const file = path.resolve(folder, name!);
      if (seen.has(file)) break;
      let content: string;
      try {
        content = fs.readFileSync(file, 'utf8');
      } catch {
        continue;
      }
      seen.set(file, content);
      ownHeaders(content, [path.dirname(file), ...folders], seen);
      break;
    }
  }
  return seen;
}

/** Variables that libbcc and clang read, beside $BCC_KERNEL_SOURCE, which is the headers' own. */
const ENVIRONMENT = ['ARCH', 'BCC_KERNEL_MODULES_SUFFIX', 'BCC_LINUX_VERSION_CODE', 'CPATH', 'C_INCLUDE_PATH'];

function cacheKey({ request, texts }: CompileJob): string {
  const { cflags, device, allowRlimit, headers, kernel } = request;
  const folders = [...includeFolders(cflags), process.cwd()];
  const included = cflags.map((flag, i) => (flag === '-include' ? `#include "${cflags[i + 1]}"` : '')).join('\n');
  const parts = [
    FORMAT_VERSION,
    texts,
    cflags,
    [...ownHeaders(`${included}\n${texts[0]}`, folders)],
    headersIdentity(headers, kernel),
    os.arch(),
    ENVIRONMENT.map((name) => process.env[name] ?? null),
    tracepointFormats(texts[0]!),
    device,
    allowRlimit,
    compilerIdentity(),
  ];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** Why a folder or file cannot be trusted; undefined where it can. */
function distrust(stat: fs.Stats): string | undefined {
  const uid = process.geteuid?.() ?? stat.uid;
  if (stat.isSymbolicLink()) return 'is a symbolic link';
  if (stat.uid !== uid) return `belongs to user ${stat.uid}`;
  if ((stat.mode & 0o022) !== 0) return 'can be written by others';
  return undefined;
}

/** The folder, made where it is missing; undefined where it cannot be had or trusted: the program is compiled then. */
function usableFolder(folder: string): string | undefined {
  try {
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    return distrust(fs.lstatSync(folder)) === undefined ? folder : undefined;
  } catch {
    return undefined;
  }
}

/** The entry, or undefined where there is none, or none that can be trusted and read. */
function readEntry(file: string): CompiledProgram | undefined {
  let fd: number;
  try {
    fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
  } catch {
    return undefined;
  }
  try {
    if (distrust(fs.fstatSync(fd)) !== undefined) return undefined;
    const program = decodeProgram(fs.readFileSync(fd));
    noteUse(fd);
    return program;
  } catch {
    return undefined;
  } finally {
    fs.closeSync(fd);
  }
}

/** Entries used longest ago go first. */
function noteUse(fd: number): void {
  try {
    const now = new Date();
    fs.futimesSync(fd, now, now);
  } catch {
    // A read-only cache is never pruned either.
  }
}

/** Writes under another name and renames: two processes that fill one entry leave one of them, whole. */
function writeEntry(file: string, program: CompiledProgram): void {
  const temporary = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
  try {
    fs.writeFileSync(temporary, encodeProgram(program), { mode: 0o600, flag: 'wx' });
    fs.renameSync(temporary, file);
  } catch {
    // A full or read-only cache costs time, not correctness.
    fs.rmSync(temporary, { force: true });
  }
}

/** One program of the cache. */
export interface CacheEntry {
  file: string;
  bytes: number;
  /** When it was last used. */
  used: Date;
}

/** What the cache holds, latest used first. */
export function listCache(option: CacheOption = true): CacheEntry[] {
  const folder = cacheFolder(option);
  if (folder === undefined) return [];
  const entries: CacheEntry[] = [];
  for (const name of fs.existsSync(folder) ? fs.readdirSync(folder) : []) {
    const file = path.join(folder, name);
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    if (stat?.isFile() && name.includes(SUFFIX)) entries.push({ file, bytes: stat.size, used: stat.mtime });
  }
  return entries.sort((a, b) => b.used.getTime() - a.used.getTime());
}

/** Removes every entry; how many there were. */
export function clearCache(option: CacheOption = true): number {
  const entries = listCache(option);
  for (const { file } of entries) fs.rmSync(file, { force: true });
  return entries.length;
}

function prune(folder: string): void {
  let bytes = 0;
  for (const entry of listCache(folder)) {
    bytes += entry.bytes;
    if (bytes > CACHE_BYTES) fs.rmSync(entry.file, { force: true });
  }
}

/** The entry's file for a job, or undefined where nothing is to be kept. */
function entryFile(job: CompileJob, option: CacheOption): string | undefined {
  // Debug flags ask to see the compiler at work.
  const folder = job.request.debug === 0 ? cacheFolder(option) : undefined;
  const usable = folder === undefined ? undefined : usableFolder(folder);
  return usable === undefined ? undefined : path.join(usable, `${cacheKey(job)}${SUFFIX}`);
}

function keep(file: string | undefined, program: CompiledProgram): void {
  if (file === undefined) return;
  writeEntry(file, program);
  prune(path.dirname(file));
}

/** The compiled program: from the cache, else compiled while the caller waits. */
export function obtainProgramSync(request: CompileRequest, option: CacheOption): Obtained {
  const job = prepareCompile(request);
  const file = entryFile(job, option);
  const cached = file === undefined ? undefined : readEntry(file);
  if (cached && externTablesFit(cached)) return { program: cached, source: 'cache' };
  const program = compileSync(job);
  keep(file, program);
  return { program, source: 'process' };
}

/** The same with the event loop free. */
export async function obtainProgram(
  request: CompileRequest,
  option: CacheOption,
  signal?: AbortSignal,
): Promise<Obtained> {
  const job = prepareCompile(request);
  const file = entryFile(job, option);
  const cached = file === undefined ? undefined : readEntry(file);
  if (cached && externTablesFit(cached)) return { program: cached, source: 'cache' };
  const program = await compile(job, signal);
  keep(file, program);
  return { program, source: 'process' };
}

/**
 * Reads a file that `tsbcc compile` wrote and checks that it was made for this machine, and for the tables of other
 * programs that it uses.
 * @throws BCCError `ERR_BCC_PROGRAM_FILE` where it is damaged, `ERR_BCC_PROGRAM_KERNEL` where it is for another
 * architecture or another kernel, `ERR_BCC_EXTERN_TABLE` where those tables are missing or other ones.
 */
export function readProgramFile(file: string): CompiledProgram {
  let bytes: Buffer;
  try {
    bytes = fs.readFileSync(file);
  } catch (cause) {
    throw new BCCError('ERR_BCC_PROGRAM_FILE', `${file} cannot be read: ${(cause as Error).message}`, {
      cause,
      errno: -((cause as NodeJS.ErrnoException).errno ?? 0),
      hint: 'make it with: tsbcc compile prog.c -o prog.tsbcc',
    });
  }
  const program = decodeProgram(bytes);
  const { arch, kernelRelease, btf } = program.origin;
  const fault =
    arch !== os.arch()
      ? `it is for the architecture ${arch}, and this machine's is ${os.arch()}`
      : kernelRelease !== os.release()
        ? `it is for the kernel ${kernelRelease}, and this one is ${os.release()}`
        : btf !== '' && ![btf, ''].includes(btfHash())
          ? `it is for another build of the kernel ${kernelRelease}, with other types`
          : undefined;
  if (fault) {
    throw new BCCError('ERR_BCC_PROGRAM_KERNEL', `the program in ${file} cannot be used here: ${fault}`, {
      hint: 'compile it for this kernel, or give the C text besides ({ program, text }) so that this happens by itself',
    });
  }
  requireExternTables(program);
  return program;
}

export function writeProgramFile(file: string, program: CompiledProgram): void {
  fs.writeFileSync(file, encodeProgram(program));
}
