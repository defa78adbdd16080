import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { inspect } from 'node:util';
import { BCCError } from '../errors';

/** One line of `/proc/PID/maps`. */
export interface ProcessMapping {
  start: bigint;
  /** The first address behind it. */
  end: bigint;
  writable: boolean;
  executable: boolean;
  /** Where in the file it begins. */
  offset: bigint;
  inode: number;
  /** As the process sees it; `[heap]`, `[vdso]`, … or '' where no file is mapped. */
  path: string;
  /** The file has been removed since; `path` is where it was. */
  deleted: boolean;
}

const MAPS_LINE = /^([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) [0-9a-f]+:[0-9a-f]+ (\d+) *(.*)$/gm;
const DELETED = ' (deleted)';

export function processExists(pid: number): boolean {
  try {
    statSync(`/proc/${pid}`);
    return true;
  } catch {
    return false;
  }
}

/** @throws RangeError where `pid` is no process id, BCCError `ERR_BCC_PROCESS` (ESRCH) where there is no such process. */
export function requireProcess(pid: number): void {
  if (!Number.isInteger(pid) || pid <= 0 || pid > 0x7fffffff) {
    throw new RangeError(`pid must be a positive integer, not ${inspect(pid)}`);
  }
  if (!processExists(pid)) throw noSuchProcess(pid);
}

export function noSuchProcess(pid: number, cause?: unknown): BCCError {
  return new BCCError('ERR_BCC_PROCESS', `there is no process ${pid}`, {
    errno: 3,
    hint: 'name a process that is running, or -1 for all processes',
    cause,
  });
}

/**
 * When a process was started, in clock ticks since boot: together with its number it tells one process from a later one.
 * undefined where there is no such process.
 */
export function processStart(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The command's name, in parentheses, may hold spaces and parentheses itself.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

/** The memory mappings of a process, ascending; [] for a kernel thread. */
export function processMappings(pid: number): ProcessMapping[] {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/maps`, 'utf8');
  } catch (cause) {
    const { code, errno } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') throw noSuchProcess(pid, cause);
    throw new BCCError('ERR_BCC_PROCESS', `the memory map of process ${pid} cannot be read: ${code}`, {
      ...(errno === undefined ? {} : { errno: -errno }),
      hint: 'run as the same user as the process, or as root',
      cause,
    });
  }
  return parseMappings(text);
}

export function parseMappings(text: string): ProcessMapping[] {
  const mappings: ProcessMapping[] = [];
  for (const [, start, end, permissions, offset, inode, rest] of text.matchAll(MAPS_LINE)) {
    const deleted = rest!.endsWith(DELETED);
    mappings.push({
      start: BigInt(`0x${start}`),
      end: BigInt(`0x${end}`),
      writable: permissions![1] === 'w',
      executable: permissions![2] === 'x',
      offset: BigInt(`0x${offset}`),
      inode: Number(inode),
      path: deleted ? rest!.slice(0, -DELETED.length) : rest!,
      deleted,
    });
  }
  return mappings;
}

/** Whether the process sees the same files as this one: the same mount namespace and the same root. */
export function sharesFileSystem(pid: number): boolean {
  try {
    return (
      readlinkSync(`/proc/${pid}/ns/mnt`) === readlinkSync('/proc/self/ns/mnt') &&
      readlinkSync(`/proc/${pid}/root`) === readlinkSync('/proc/self/root')
    );
  } catch {
    return false;
  }
}

/** A path of a process as this one reaches it, through the process's own root. Paths below /proc stay as they are. */
export function pathInProcess(pid: number, path: string): string {
  return path.startsWith('/proc/') ? path : `/proc/${pid}/root${path}`;
}

/** The number a process has in its own PID namespace. */
export function pidInNamespace(pid: number): number {
  try {
    const line = /^NStgid:\s*(.+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    return line ? Number(line[1]!.trim().split(/\s+/).pop()) : pid;
  } catch {
    return pid;
  }
}
