import { constants } from 'node:os';
import { getSystemErrorName, types } from 'node:util';

/** What every {@link BCCError} may carry besides its message. */
export interface BCCErrorOptions {
  /** The error number, positive: the failed system call's, or the one that names what was found without asking the kernel. */
  errno?: number;
  /** What the reader can do about it: one sentence, an imperative. */
  hint?: string;
  cause?: unknown;
}

/**
 * The root of every failure this library reports. Wrong arguments are `TypeError`s and `RangeError`s instead, thrown
 * before anything touches the kernel.
 *
 * `code` is stable and meant for programs; `message` is meant for people and ends with the hint.
 */
export class BCCError extends Error {
  readonly code: string;
  /** The positive error number; undefined where none tells what failed. */
  declare readonly errno: number | undefined;
  declare readonly hint: string | undefined;

  constructor(code: string, message: string, { errno, hint, cause }: BCCErrorOptions = {}) {
    super(hint ? `${message}\n  hint: ${hint}` : message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    if (errno !== undefined) this.errno = errno;
    if (hint !== undefined) keepAside(this, 'hint', hint);
  }
}

/** A property for programs: the message tells people the same, so printing the error shall not show it again. */
function keepAside(error: BCCError, name: string, value: unknown): void {
  Object.defineProperty(error, name, { value, enumerable: false, writable: false, configurable: true });
}

/** One message of the C compiler, placed in the user's own text. */
export interface Diagnostic {
  /** The file as it was given or as the compiler names it; a program that was given as text is `/virtual/main.c`. */
  file: string;
  /** From 1; 0 where the message belongs to no line. */
  line: number;
  /** From 1, in characters; 0 where the message belongs to no column. */
  column: number;
  severity: 'error' | 'warning' | 'note' | 'fatal error';
  message: string;
  /** The line of C the message points at. */
  source?: string;
}

/** The C text did not become a program. `diagnostics` are the compiler's messages, `output` all that it printed. */
export class CompileError extends BCCError {
  declare readonly diagnostics: readonly Diagnostic[];
  declare readonly output: string;

  constructor(
    message: string,
    options: BCCErrorOptions & { code?: string; diagnostics?: readonly Diagnostic[]; output?: string } = {},
  ) {
    super(options.code ?? 'ERR_BCC_COMPILE', message, options);
    keepAside(this, 'diagnostics', options.diagnostics ?? []);
    keepAside(this, 'output', options.output ?? '');
  }
}

/** The kernel refused a program or a map. `log` is the verifier's whole log, '' where it wrote none. */
export class LoadError extends BCCError {
  declare readonly log: string;

  constructor(message: string, options: BCCErrorOptions & { code?: string; log?: string } = {}) {
    super(options.code ?? 'ERR_BCC_LOAD', message, options);
    keepAside(this, 'log', options.log ?? '');
  }
}

/** A loaded program could not be attached to its hook, or detached from it. */
export class AttachError extends BCCError {
  constructor(message: string, options: BCCErrorOptions & { code?: string } = {}) {
    super(options.code ?? 'ERR_BCC_ATTACH', message, options);
  }
}

/** An operation on a table failed; the table is as it was. */
export class TableError extends BCCError {
  constructor(message: string, options: BCCErrorOptions & { code?: string } = {}) {
    super(options.code ?? 'ERR_BCC_TABLE', message, options);
  }
}

/** Neither installed headers nor BTF could give the kernel's types. */
export class HeadersError extends BCCError {
  constructor(message: string, options: BCCErrorOptions & { code?: string } = {}) {
    super(options.code ?? 'ERR_BCC_HEADERS', message, options);
  }
}

/** What was asked for is not to be had from this kernel, this libbcc or this machine; the message says which. */
export class UnsupportedError extends BCCError {
  constructor(message: string, options: BCCErrorOptions & { code?: string } = {}) {
    super(options.code ?? 'ERR_BCC_UNSUPPORTED', message, options);
  }
}

/** A call on an object after its `close()`. */
export class ClosedError extends BCCError {
  constructor(what: string) {
    super('ERR_BCC_CLOSED', `${what} is closed`, {
      errno: constants.errno.EBADF,
      hint: 'create a new one; what close() released cannot be reopened',
    });
  }
}

/** `EPERM (operation not permitted)` for 1: the way this library names an errno in a message. */
export function errnoText(errno: number): string {
  return getSystemErrorName(-errno);
}

/** The shape of what the addons throw: a plain Error with the number of the failed call. */
export interface NativeError extends Error {
  errno: number;
  syscall: string;
}

export function isNativeError(error: unknown): error is NativeError {
  // By nature and not by class: the addon may belong to another realm than the caller (vm contexts, test runners).
  return types.isNativeError(error) && typeof (error as Partial<NativeError>).errno === 'number' && 'syscall' in error;
}

/** The name nearest to `wanted` (edit distance at most a third of its length), for "did you mean". */
export function nearest(wanted: string, names: Iterable<string>, limit = 3): string[] {
  const bound = Math.max(1, Math.floor(wanted.length / 3));
  const scored: [number, string][] = [];
  for (const name of names) {
    const contains = name.includes(wanted);
    if (!contains && (Math.abs(name.length - wanted.length) > bound || !sharesLetters(wanted, name, bound))) continue;
    const distance = contains ? Math.min(bound, name.length - wanted.length) : editDistance(wanted, name, bound);
    if (distance <= bound) scored.push([distance, name]);
  }
  return scored
    .sort((a, b) => a[0] - b[0] || a[1].length - b[1].length || (a[1] < b[1] ? -1 : 1))
    .slice(0, limit)
    .map(([, name]) => name);
}

/** `did you mean a, b or c?`, or undefined where nothing is near. */
export function didYouMean(wanted: string, names: Iterable<string>): string | undefined {
  const near = nearest(wanted, names);
  if (near.length === 0) return undefined;
  const last = near.pop()!;
  return `did you mean ${near.length > 0 ? `${near.join(', ')} or ${last}` : last}?`;
}

const letters = new Int32Array(128);

/** Whether so few letters differ that the distance may be within the bound; among 100,000 names nearly all fail here. */
function sharesLetters(a: string, b: string, bound: number): boolean {
  letters.fill(0);
  for (let i = 0; i < a.length; i++) letters[a.charCodeAt(i) & 127]!++;
  let common = 0;
  for (let i = 0; i < b.length; i++) if (letters[b.charCodeAt(i) & 127]!-- > 0) common++;
  return Math.max(a.length, b.length) - common <= bound;
}

/** Levenshtein's distance, given up (bound + 1) as soon as it must exceed the bound. */
function editDistance(a: string, b: string, bound: number): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    let best = i;
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      row[j] = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + cost);
      best = Math.min(best, row[j]!);
    }
    if (best > bound) return bound + 1;
    previous = row;
  }
  return previous[b.length]!;
}
