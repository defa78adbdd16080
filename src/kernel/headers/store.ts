import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { errnoText, HeadersError } from '../../errors';

/*
 * Folders of files made once and trusted later: made under another name and renamed, so that a reader sees all or
 * nothing; listed with their hashes in a manifest, so that damage is seen; private, so that nobody else can write what
 * the compiler will read.
 */

const MANIFEST = 'manifest.json';
/** A tree used within this time may be in use by a compiler now. */
const IN_USE_MS = 3_600_000;

export function sha256(...parts: (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex');
}

/**
 * `$XDG_CACHE_HOME/tsbcc/headers` or `~/.cache/tsbcc/headers`. A root whose $HOME is another user's (sudo may keep it)
 * uses root's own home, or it would leave files there that the user cannot remove.
 */
export function defaultCacheDir(): string {
  const xdg = process.env.XDG_CACHE_HOME;
  if (xdg && path.isAbsolute(xdg)) return path.join(xdg, 'tsbcc', 'headers');
  let home = os.homedir();
  try {
    if (process.geteuid?.() === 0 && fs.statSync(home).uid !== 0) home = os.userInfo().homedir;
  } catch {
    // a home that does not exist is refused, with its name, when the folder is made
  }
  return path.join(home, '.cache', 'tsbcc', 'headers');
}

const CACHE_HINT = 'set XDG_CACHE_HOME to a folder of your own that can be written';

function storeError(dir: string, action: string, error: unknown): HeadersError {
  const { errno } = error as NodeJS.ErrnoException;
  const why = typeof errno === 'number' ? errnoText(-errno) : String(error);
  return new HeadersError(`cannot ${action} ${dir} (the cache of kernel headers): ${why}`, {
    code: 'ERR_BCC_HEADERS_CACHE',
    ...(typeof errno === 'number' && { errno: -errno }),
    hint: CACHE_HINT,
    cause: error,
  });
}

/** Throws unless the folder is a real one, ours, and closed to other writers. */
function checkOwnership(dir: string): void {
  const stat = fs.lstatSync(dir);
  const uid = process.geteuid?.() ?? stat.uid;
  let fault: string | undefined;
  if (!stat.isDirectory()) fault = 'is not a folder';
  else if (stat.uid !== uid) fault = `belongs to user ${stat.uid}, not to user ${uid}`;
  else if ((stat.mode & 0o022) !== 0) fault = `can be written by others (mode ${(stat.mode & 0o777).toString(8)})`;
  if (fault) {
    throw new HeadersError(`the cache of kernel headers ${dir} ${fault}: what it holds cannot be trusted`, {
      code: 'ERR_BCC_HEADERS_CACHE',
      hint: `remove it, or ${CACHE_HINT}`,
    });
  }
}

/** Node says ENOENT where a file system is read-only; the plain call, repeated, says why. */
function reasonOf(dir: string, error: unknown): unknown {
  if (!fs.existsSync(path.dirname(dir))) return error;
  try {
    fs.mkdirSync(dir, { mode: 0o700 });
  } catch (plain) {
    return plain;
  }
  return error;
}

/** Makes a private folder, parents included, and checks that it is ours. */
export function privateFolder(dir: string): void {
  try {
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw storeError(dir, 'make', reasonOf(dir, error));
  }
  checkOwnership(dir);
}

interface Manifest {
  key: string;
  files: Record<string, string>;
  /** Whatever the maker wants to know later, without reading the files. */
  facts: Record<string, string>;
}

/** Reads `<dir>/manifest.json` and checks every file it lists. Undefined where anything is missing or damaged. */
export function readFolder(
  dir: string,
  key: string,
): { facts: Record<string, string>; read(name: string): string } | undefined {
  let manifest: Manifest;
  const texts = new Map<string, string>();
  try {
    checkOwnership(dir);
  } catch (error) {
    if (error instanceof HeadersError) throw error;
    return undefined;
  }
  try {
    manifest = JSON.parse(fs.readFileSync(path.join(dir, MANIFEST), 'utf8')) as Manifest;
    if (manifest.key !== key) return undefined;
    for (const [name, hash] of Object.entries(manifest.files)) {
      const text = fs.readFileSync(path.join(dir, name), 'utf8');
      if (sha256(text) !== hash) return undefined;
      texts.set(name, text);
    }
  } catch {
    return undefined;
  }
  return { facts: manifest.facts, read: (name) => texts.get(name)! };
}

/**
 * Writes a folder of files at `dir` so that it appears complete or not at all. Where another process was quicker and its
 * folder is sound, that one stays. `folders` are made too, empty where no file is in them.
 */
export function writeFolder(
  dir: string,
  key: string,
  files: ReadonlyMap<string, string>,
  facts: Record<string, string> = {},
  folders: readonly string[] = [],
): void {
  const parent = path.dirname(dir);
  privateFolder(parent);
  const suffix = `${process.pid}-${randomBytes(6).toString('hex')}`;
  const temporary = path.join(parent, `.new-${suffix}`);
  try {
    fs.mkdirSync(temporary, { mode: 0o700 });
    const manifest: Manifest = { key, files: {}, facts };
    for (const folder of folders) fs.mkdirSync(path.join(temporary, folder), { recursive: true, mode: 0o700 });
    for (const [name, text] of files) {
      const file = path.join(temporary, name);
      fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
      fs.writeFileSync(file, text, { mode: 0o600 });
      manifest.files[name] = sha256(text);
    }
    fs.writeFileSync(path.join(temporary, MANIFEST), JSON.stringify(manifest), { mode: 0o600 });
    replaceFolder(temporary, dir, key, suffix);
  } catch (error) {
    throw error instanceof HeadersError ? error : storeError(dir, 'write', error);
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true });
  }
}

function replaceFolder(temporary: string, dir: string, key: string, suffix: string): void {
  for (let attempt = 0; ; attempt++) {
    try {
      fs.renameSync(temporary, dir);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if ((code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOTDIR') || attempt === 3) throw error;
    }
    if (readFolder(dir, key)) return;
    const damaged = path.join(path.dirname(dir), `.old-${suffix}-${attempt}`);
    fs.renameSync(dir, damaged);
    fs.rmSync(damaged, { recursive: true, force: true });
  }
}

/** Removes all but the `kept` folders used last, and what interrupted writers left behind. */
export function prune(dir: string, kept: number, now = Date.now()): void {
  try {
    const entries = fs
      .readdirSync(dir)
      .map((name) => ({ name, used: fs.statSync(path.join(dir, name)).mtimeMs }))
      .sort((a, b) => b.used - a.used);
    for (const [index, { name, used }] of entries.entries()) {
      if ((index >= kept || name.startsWith('.')) && now - used > IN_USE_MS) {
        fs.rmSync(path.join(dir, name), { recursive: true, force: true });
      }
    }
  } catch {
    // tidying is no reason to fail; another process may be tidying too
  }
}

/** Notes that a folder was used now. */
export function touch(dir: string): void {
  try {
    const now = new Date();
    fs.utimesSync(dir, now, now);
  } catch {
    // a cache that cannot be touched still serves
  }
}
