import { accessSync, constants, statSync } from 'node:fs';
import { constants as systemConstants } from 'node:os';
import * as path from 'node:path';
import { requireText } from '../arguments';
import { BCCError } from '../errors';
import { runtime } from '../native';
import { pathInProcess, requireProcess } from './processes';

/**
 * The file that a name means, as this process reaches it: a path, a library's short name, or an executable in PATH. For a
 * pid it is looked for as that process would, and reached through its own root. Of a library and an executable of one
 * name the `preferred` one is meant.
 *
 * @throws BCCError `ERR_BCC_LIBRARY` where there is neither.
 */
export function resolveBinary(name: string, pid = -1, preferred: 'library' | 'executable' = 'library'): string {
  const inside = (file: string) => (pid === -1 ? file : pathInProcess(pid, file));
  if (name.includes('/')) return inside(path.resolve(name));
  const library = () => findLibrary(name, pid);
  const executable = () => findExe(name, pid);
  const found = preferred === 'library' ? (library() ?? executable()) : (executable() ?? library());
  if (found !== null) return inside(found);
  const short = name.replace(/^lib/, '').replace(/\.so.*$/, '');
  throw new BCCError('ERR_BCC_LIBRARY', `there is no library or executable named ${name}`, {
    errno: systemConstants.errno.ENOENT,
    hint:
      short !== name && runtime().findLibrary(short, 0) !== undefined
        ? `did you mean ${short}? libraries are named without "lib" and ".so"`
        : 'give its path, or a short name as the linker takes it ("c" for libc.so.6)',
  });
}

/** The path of lib<libname>.so: as the process has it mapped if a pid is given, else as the loader would find it. */
export function findLibrary(libname: string, pid = -1): string | null {
  requireText(libname, 'libname');
  if (pid !== -1) requireProcess(pid);
  return runtime().findLibrary(libname, pid === -1 ? 0 : pid) ?? null;
}

/** The path of an executable: as it is where it holds a slash, else of the first in PATH; null where there is none. */
export function findExe(binPath: string, pid = -1): string | null {
  requireText(binPath, 'binPath');
  const isExecutable = (file: string) => {
    try {
      const reachable = pid === -1 ? file : pathInProcess(pid, path.resolve(file));
      accessSync(reachable, constants.X_OK);
      return statSync(reachable).isFile();
    } catch {
      return false;
    }
  };
  if (binPath.includes('/')) return isExecutable(binPath) ? binPath : null;
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter((folder) => folder !== '');
  return folders.map((folder) => path.join(folder, binPath)).find(isExecutable) ?? null;
}
