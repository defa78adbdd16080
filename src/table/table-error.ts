import { inspect } from 'node:util';
import { privilegeHint } from '../capabilities';
import { type BCCError, errnoText, TableError, UnsupportedError } from '../errors';

/* The errors of table operations: which table, which element, what the kernel said and what can be done about it. */

const EPERM = 1;
const ENOENT = 2;
const E2BIG = 7;
const EBADF = 9;
const ENOMEM = 12;
const EBUSY = 16;
const EEXIST = 17;
const EINVAL = 22;
const ENOSPC = 28;
const EOPNOTSUPP = 95;
/** The kernel's own ENOTSUPP, which escapes to user space from bpf(2). */
const ENOTSUPP = 524;

export const Errno = Object.freeze({
  EPERM,
  ENOENT,
  E2BIG,
  EBADF,
  ENOMEM,
  EBUSY,
  EEXIST,
  EINVAL,
  ENOSPC,
  EOPNOTSUPP,
  ENOTSUPP,
});

/** What an error says about the table it happened to. */
export interface TableFacts {
  name: string;
  typeName: string;
  maxEntries: number;
}

/** A value in one line, short enough for a message. */
export function brief(value: unknown): string {
  const text = inspect(value, {
    breakLength: Number.POSITIVE_INFINITY,
    depth: 3,
    maxArrayLength: 8,
    maxStringLength: 64,
  });
  return text.length > 200 ? `${text.slice(0, 197)}...` : text;
}

/** Whether `errno` means that this kernel has no such command for this type of map. */
export function notSupported(errno: number): boolean {
  return errno === EOPNOTSUPP || errno === ENOTSUPP;
}

/** The kernel refused an operation on one element (or, without a key, on the table as a whole). */
export function tableError(table: TableFacts, operation: string, errno: number, key?: { key: unknown }): BCCError {
  const what = `table '${table.name}': ${operation}${key ? ` ${brief(key.key)}` : ''}`;
  switch (errno) {
    case E2BIG:
      return new TableError(`${what} failed: the table is full (max_entries ${table.maxEntries})`, {
        code: 'ERR_BCC_TABLE_FULL',
        errno,
        hint: 'delete elements, make the table larger in the program, or use an LRU table',
      });
    case EEXIST:
      return new TableError(`${what} failed: the key exists`, { code: 'ERR_BCC_TABLE_EXISTS', errno });
    case ENOENT:
      return new TableError(`${what} failed: there is no such key`, { code: 'ERR_BCC_TABLE_NO_KEY', errno });
    case ENOMEM:
      return new TableError(`${what} failed: the kernel has no memory for the element`, {
        code: 'ERR_BCC_TABLE_MEMORY',
        errno,
        hint: "raise the cgroup's memory limit (or RLIMIT_MEMLOCK before Linux 5.11)",
      });
    case EBUSY:
      return new TableError(`${what} failed: the element is in use by a program on another CPU`, {
        code: 'ERR_BCC_TABLE_BUSY',
        errno,
        hint: 'try again',
      });
    case EPERM: {
      const hint = privilegeHint(errno);
      if (hint) return new TableError(`${what} was refused`, { code: 'ERR_BCC_TABLE_PERMISSION', errno, hint });
      return new TableError(`${what} was refused: the map is closed to user space in this direction, or frozen`, {
        code: 'ERR_BCC_TABLE_READ_ONLY',
        errno,
        hint: 'make the map without BPF_F_RDONLY and BPF_F_WRONLY',
      });
    }
    case EOPNOTSUPP:
    case ENOTSUPP:
      return new UnsupportedError(`${what}: the kernel has no such operation for a table of type ${table.typeName}`, {
        code: 'ERR_BCC_TABLE_OPERATION',
        errno,
      });
    case EBADF:
      return new TableError(`${what} failed: the value is not the descriptor of what this table holds`, {
        code: 'ERR_BCC_TABLE_VALUE',
        errno,
      });
    case EINVAL:
      return new TableError(
        `${what} failed: the kernel accepts no such key, value or flag for type ${table.typeName}`,
        {
          code: 'ERR_BCC_TABLE_VALUE',
          errno,
        },
      );
    default:
      return new TableError(`${what} failed: ${errnoText(errno)}`, { errno });
  }
}

/** An operation that a table's type does not have, refused without asking the kernel. */
export function noSuchOperation(table: TableFacts, operation: string, reason: string, hint?: string): UnsupportedError {
  return new UnsupportedError(
    `table '${table.name}': a table of type ${table.typeName} has no ${operation}: ${reason}`,
    { code: 'ERR_BCC_TABLE_OPERATION', hint },
  );
}

/** A codec's complaint about a value, with the table's name and the value's role ("key", "leaf") put before it. */
export function wrongValue(table: TableFacts, role: string, error: unknown): unknown {
  if (!(error instanceof TypeError || error instanceof RangeError)) return error;
  const message = `table '${table.name}', ${role}: ${error.message}`;
  return error instanceof RangeError
    ? new RangeError(message, { cause: error })
    : new TypeError(message, { cause: error });
}
