import { readFileSync, statfsSync } from 'node:fs';
import * as path from 'node:path';
import { inspect } from 'node:util';
import { privilegeHint } from '../capabilities';
import { BCCError, errnoText, isNativeError, TableError } from '../errors';
import { type NativeFd, runtime } from '../native';
import { descriptorOf, type HasFd } from './descriptor';
import { type AnyTable, type OpenOptions, openTable } from './factory';
import { pins, type Table } from './table';

/** BPF_FS_MAGIC of uapi/linux/magic.h. */
const BPFFS = 0xcafe4a11;

/**
 * Gives a map, program or link a path in a BPF file system: it stays alive there until the file is removed (`fs.unlink`).
 * Throws BCCError `ERR_BCC_PIN` where the path is on no BPF file system, or taken.
 */
export function pin(object: Table | HasFd | number, pinPath: string): void {
  const fd = descriptorOf('', object, 'a table, a loaded function, a link or an fd');
  checkPath(pinPath);
  try {
    runtime().pin(fd, pinPath);
  } catch (cause) {
    throw pinError('pinning at', pinPath, cause);
  }
}

/** The table that another program, or an earlier run, pinned at `pinPath`. */
export function fromPin(pinPath: string, options: OpenOptions = {}): AnyTable {
  const fd = openPinnedMap(pinPath);
  try {
    return openTable(fd, { name: path.basename(pinPath), ...options });
  } catch (error) {
    fd.close();
    throw error;
  }
}

pins.open = fromPin;

function openPinnedMap(pinPath: string): NativeFd {
  checkPath(pinPath);
  let fd: NativeFd;
  try {
    fd = runtime().getPinned(pinPath);
  } catch (cause) {
    throw pinError('opening', pinPath, cause);
  }
  // Asked about another object as if it were a map, the kernel answers what it knows of that: fdinfo tells them apart.
  const kind = /^(map|prog|link)_type:/m.exec(readFileSync(`/proc/self/fdinfo/${fd.fd}`, 'utf8'))?.[1];
  if (kind === 'map') return fd;
  fd.close();
  const what = kind === 'prog' ? ' but a program' : kind === 'link' ? ' but a link' : '';
  throw new TableError(`${pinPath} is no map${what}`, { code: 'ERR_BCC_TABLE_TYPE' });
}

function checkPath(pinPath: unknown): asserts pinPath is string {
  if (typeof pinPath !== 'string' || pinPath === '')
    throw new TypeError(`a pin's path must be a string, not ${inspect(pinPath)}`);
  const directory = path.dirname(path.resolve(pinPath));
  let type: number;
  try {
    ({ type } = statfsSync(directory));
  } catch (cause) {
    throw pinError('the directory of', pinPath, cause);
  }
  if (type !== BPFFS)
    throw new BCCError('ERR_BCC_PIN', `${directory} is on no BPF file system`, {
      hint: 'pins live in one: mount -t bpf bpf /sys/fs/bpf',
    });
}

function pinError(what: string, pinPath: string, cause: unknown): unknown {
  if (!isNativeError(cause)) return cause;
  // Node's own errors carry the number negated.
  const errno = Math.abs(cause.errno);
  return new BCCError('ERR_BCC_PIN', `${what} ${pinPath}: ${errnoText(errno)}`, {
    errno,
    cause,
    hint: privilegeHint(errno) ?? PIN_HINTS[errno],
  });
}

const PIN_HINTS: Readonly<Record<number, string>> = {
  1: 'names in a BPF file system hold no dot, and links cannot be pinned before Linux 5.7',
  2: 'is the path right, and has the other program pinned it already?',
  17: 'remove the file first, or take what is pinned there with Table.fromPin()',
};
