import { brief } from './table-error';

/** Something that has a file descriptor: a loaded function, a link, a NativeFd. */
export interface HasFd {
  readonly fd: number;
}

/** Node's sockets and servers keep their descriptor in a handle. */
interface HasHandle {
  readonly _handle?: HasFd | null;
}

/** The descriptor in `value`, or a TypeError that says what `what` may be. */
export function descriptorOf(table: string, value: unknown, what: string): number {
  const fd = typeof value === 'object' && value !== null ? fdOfObject(value) : value;
  if (typeof fd === 'number' && Number.isInteger(fd) && fd >= 0 && fd <= 0x7fffffff) return fd;
  const closed = fd === -1 ? ' that is closed' : '';
  throw new TypeError(`table '${table}', leaf: expected ${what}, not ${brief(value)}${closed}`);
}

function fdOfObject(value: object): unknown {
  if ('getFd' in value && typeof value.getFd === 'function') return value.getFd();
  if ('fd' in value && value.fd !== undefined) return value.fd;
  return (value as HasHandle)._handle?.fd;
}
