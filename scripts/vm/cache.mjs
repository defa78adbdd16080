import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';

/**
 * The folder that everything fetched or made for VMs is kept in: `$XDG_CACHE_HOME/tsbcc/vm`, or the same below
 * `~/.cache`.
 * @param {NodeJS.ProcessEnv} [env]
 */
export function cacheFolder(env = process.env) {
  // The XDG specification says that a relative path is to be ignored.
  const base = env.XDG_CACHE_HOME?.startsWith('/') ? env.XDG_CACHE_HOME : join(homedir(), '.cache');
  return join(base, 'tsbcc', 'vm');
}

/** @param {string} path */
export async function exists(path) {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return false;
    throw error;
  }
}

/**
 * Makes `path` (a file or a folder) once. `make` works on a path beside it that is moved into place when it is
 * complete: an interrupted run leaves no half of it, and of two runs at once one wins.
 * @param {string} path
 * @param {(partial: string) => Promise<void>} make must create `partial`
 * @returns {Promise<string>} `path`
 */
export async function once(path, make) {
  if (await exists(path)) return path;
  await mkdir(dirname(path), { recursive: true });
  const work = await mkdtemp(join(dirname(path), `.${basename(path)}-`));
  try {
    const partial = join(work, basename(path));
    await make(partial);
    await rename(partial, path);
  } catch (error) {
    // A folder cannot be moved over one that somebody else has put there in the meantime: theirs is as good.
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return path;
}
