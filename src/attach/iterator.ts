import { readSync } from 'node:fs';
import { inspect } from 'node:util';
import { BPFAttachType, BPFProgType } from '../constants';
import { AttachError, BCCError, ClosedError } from '../errors';
import { ByteSource, codecFor } from '../layout/codec';
import type { Layout } from '../layout/layout';
import { runtime } from '../native';
import type { Int64Mode } from '../table/spec';
import { attachFailure, EAGAIN, EBADF, EINVAL } from './failure';
import { type AttachableProgram, OwnedLink } from './link';

/*
 * BPF iterators, Linux 5.8 and newer: a program that the kernel calls for each task, map, socket, … when the iterator is
 * read; what it writes with bpf_seq_printf or bpf_seq_write is what the reader gets.
 *
 * Codes of errors: ERR_BCC_ATTACH, ERR_BCC_ITERATOR (reading failed, or gave half a record).
 */

/** What the iterator goes over; nothing for those that go over everything of their kind. */
export interface IteratorScope {
  /** `bpf_map_elem`, `bpf_sk_storage_map`: the map whose elements are visited. */
  mapFd?: number;
  /** `task`, `task_file`, `task_vma` (Linux 6.1): one thread, or one process. */
  tid?: number;
  pid?: number;
  /** `cgroup` (Linux 6.1): an open cgroup directory, and which way to walk from it. */
  cgroupFd?: number;
  order?: 'self' | 'descendantsPre' | 'descendantsPost' | 'ancestorsUp';
}

const CGROUP_ORDERS = { self: 1, descendantsPre: 2, descendantsPost: 3, ancestorsUp: 4 } as const;
const READ_SIZE = 64 * 1024;

/** An attached iterator. Each reading starts anew: the kernel runs the program over everything as it is then. */
export class IteratorLink extends OwnedLink implements Iterable<string> {
  readonly #fd: number;

  constructor(program: AttachableProgram, target: string, fd: number, release: () => void) {
    super('bpf_iter', target, program.name, release);
    this.#fd = fd;
  }

  /** All that the program writes, as bytes. */
  readBytes(): Buffer {
    const chunks = [...this.#chunks()];
    return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
  }

  /** All that the program writes, as text. */
  read(): string {
    return this.readBytes().toString('utf8');
  }

  /** The lines of the text, read as they are asked for; leaving the loop early stops the kernel's walk. */
  *lines(): IterableIterator<string> {
    let rest: Buffer = Buffer.alloc(0);
    for (const chunk of this.#chunks()) {
      const all = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
      let start = 0;
      for (let end = all.indexOf(10); end >= 0; end = all.indexOf(10, start)) {
        yield all.toString('utf8', start, end);
        start = end + 1;
      }
      rest = all.subarray(start);
    }
    if (rest.length > 0) yield rest.toString('utf8');
  }

  [Symbol.iterator](): IterableIterator<string> {
    return this.lines();
  }

  /** The records of a program that writes structs with bpf_seq_write, one after the other. */
  *records<T = unknown>(layout: Layout, options: { int64?: Int64Mode } = {}): IterableIterator<T> {
    const codec = codecFor(layout, options);
    if (codec.size === 0) throw new TypeError('records need a layout of at least one byte');
    let rest: Buffer = Buffer.alloc(0);
    for (const chunk of this.#chunks()) {
      const all = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
      const source = new ByteSource(all);
      let at = 0;
      for (; at + codec.size <= all.length; at += codec.size) yield codec.decode(source, at) as T;
      rest = all.subarray(at);
    }
    if (rest.length > 0) {
      throw new BCCError('ERR_BCC_ITERATOR', `${rest.length} bytes are left after the last record of ${codec.size}`, {
        hint: `give the layout of what ${this.fnName} writes, all records of one size`,
      });
    }
  }

  /** Detaches: the iterator cannot be read any more. Harmless when repeated. */
  close(): void {
    this.detach();
  }

  /** Buffers of their own, as the kernel fills them. */
  *#chunks(): IterableIterator<Buffer> {
    if (!this.attached) throw new ClosedError(`the iterator ${this.target}`);
    const session = runtime().iterCreate(this.#fd);
    try {
      for (;;) {
        const chunk = Buffer.allocUnsafe(READ_SIZE);
        const length = readRetrying(session.fd, chunk, this.fnName);
        if (length === 0) return;
        yield chunk.subarray(0, length);
      }
    } finally {
      session.close();
    }
  }
}

/** Attaches an iterator program; `target` is what it iterates over (`task`), for people. */
export function attachIter(program: AttachableProgram, target: string, scope: IteratorScope = {}): IteratorLink {
  const iterInfo = scopeBytes(scope);
  try {
    const options = iterInfo ? { iterInfo } : {};
    const fd = runtime().linkCreate(program.fd, 0, BPFAttachType.TRACE_ITER, options);
    return new IteratorLink(program, target, fd.fd, () => fd.close());
  } catch (error) {
    const what = `cannot attach ${program.name} to the iterator ${target}`;
    throw attachFailure(what, error, scopeMeanings, { program, types: [BPFProgType.TRACING] });
  }
}

const scopeMeanings = {
  [EBADF]: { hint: 'iterators over the elements of a map need that map: { mapFd }' },
  [EINVAL]: { hint: 'this iterator takes no such scope, or this kernel does not know it yet' },
};

/** `union bpf_iter_link_info`: a map's fd; or a cgroup's order, fd and id; or tid, pid and pidfd. */
function scopeBytes({ mapFd, tid, pid, cgroupFd, order }: IteratorScope): Uint8Array | undefined {
  const given = [mapFd, tid, pid, cgroupFd].filter((value) => value !== undefined);
  if (given.length === 0) return undefined;
  if (given.length > 1) throw new TypeError('an iterator has one scope: give one of mapFd, tid, pid and cgroupFd');
  if (mapFd !== undefined) return words(mapFd);
  if (cgroupFd !== undefined) return words(cgroupOrder(order), cgroupFd, 0, 0);
  return words(tid ?? 0, pid ?? 0, 0);
}

function cgroupOrder(order: NonNullable<IteratorScope['order']> = 'descendantsPre'): number {
  if (Object.hasOwn(CGROUP_ORDERS, order)) return CGROUP_ORDERS[order];
  throw new TypeError(`order must be one of ${Object.keys(CGROUP_ORDERS).join(', ')}, not ${inspect(order)}`);
}

/** 32-bit words; what is none would be taken for another map, thread or cgroup. */
function words(...values: number[]): Uint8Array {
  for (const value of values) {
    if (Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff) continue;
    throw new RangeError(`an iterator's scope is a whole number from 0 on, not ${inspect(value)}`);
  }
  return new Uint8Array(Uint32Array.from(values).buffer);
}

/** The kernel answers EAGAIN after a million objects without output, so that signals get their turn. */
function readRetrying(fd: number, into: Buffer, fnName: string): number {
  for (;;) {
    try {
      return readSync(fd, into);
    } catch (cause) {
      const errno = -((cause as NodeJS.ErrnoException).errno ?? 0);
      if (errno === EAGAIN) continue;
      throw new AttachError(`the iterator ${fnName} cannot be read: ${(cause as Error).message}`, {
        code: 'ERR_BCC_ITERATOR',
        errno,
        cause,
      });
    }
  }
}
