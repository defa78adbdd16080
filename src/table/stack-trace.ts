import { getSystemErrorName, type InspectOptionsStylized } from 'node:util';
import { BPFMapFlag } from '../constants';
import { TableError } from '../errors';
import type { ByteSource } from '../layout/codec';
import type { BuildIdFrame } from '../symbols';
import { KeyedTable } from './keyed';
import { brief, noSuchOperation } from './table-error';

export type { BuildIdFrame } from '../symbols';

/** A frame: an address, or in tables made with BPF_F_STACK_BUILD_ID a {@link BuildIdFrame}. */
export type StackFrame = bigint | BuildIdFrame;

/** struct bpf_stack_build_id of uapi/linux/bpf.h: s32 status, 20 bytes of id, u64 offset or address. */
const BUILD_ID_FRAME = { size: 32, buildId: 4, buildIdSize: 20, offset: 24 };
const STATUS_VALID = 1;
const STATUS_IP = 2;

/**
 * BPF_STACK_TRACE: stack id → the addresses of a trace, the innermost first. Only `bpf_get_stackid` in a program writes
 * it. A negative id is an errno of that helper and no key: `get` gives undefined for it, `walk` explains it.
 */
export class StackTraceTable<F extends StackFrame = bigint> extends KeyedTable<number, F[]> {
  readonly #buildIds = (this.flags & BPFMapFlag.STACK_BUILD_ID) !== 0;

  override get(stackId: number | bigint): F[] | undefined {
    const id = this.#id(stackId);
    return id < 0 ? undefined : super.get(id);
  }

  override has(stackId: number | bigint): boolean {
    const id = this.#id(stackId);
    return id >= 0 && super.has(id);
  }

  override delete(stackId: number | bigint): boolean {
    const id = this.#id(stackId);
    return id >= 0 && super.delete(id);
  }

  /**
   * The frames of a trace, each passed through `resolve` where it is given (`(addr) => BCC.ksym(addr)`). Throws a
   * TableError `ERR_BCC_TABLE_NO_KEY` where there is no such trace.
   */
  walk(stackId: number | bigint): IterableIterator<F>;
  walk<T>(stackId: number | bigint, resolve: (frame: F) => T): IterableIterator<T>;
  walk<T>(stackId: number | bigint, resolve?: (frame: F) => T): IterableIterator<F | T> {
    const frames = this.get(stackId);
    if (frames === undefined) throw this.#noTrace(this.#id(stackId));
    return resolve === undefined ? frames.values() : frames.map((frame) => resolve(frame)).values();
  }

  /** Refused: traces are written by `bpf_get_stackid` in a program alone. */
  override set(): never {
    throw noSuchOperation(this, 'set', 'only bpf_get_stackid() in a program writes traces');
  }

  override clearitem(stackId: number | bigint): boolean {
    return this.delete(stackId);
  }

  override zero(): void {
    this.clear();
  }

  protected override encodeKey(stackId: number, target: ByteSource, offset: number): void {
    target.view.setInt32(offset, this.#id(stackId), true);
  }

  protected override decodeKey(source: ByteSource, offset: number): number {
    return source.view.getUint32(offset, true);
  }

  /** A trace ends at its first empty frame: the kernel zeroes the rest. */
  protected override decodeLeaf(source: ByteSource, offset: number): F[] {
    const frames: StackFrame[] = [];
    const end = offset + this.valueSize;
    if (this.#buildIds) {
      for (let at = offset; at + BUILD_ID_FRAME.size <= end; at += BUILD_ID_FRAME.size) {
        const frame = readBuildIdFrame(source, at);
        if (frame === undefined) break;
        frames.push(frame);
      }
    } else {
      for (let at = offset; at + 8 <= end; at += 8) {
        const address = source.view.getBigUint64(at, true);
        if (address === 0n) break;
        frames.push(address);
      }
    }
    return frames as F[];
  }

  protected override inspectContents(options: InspectOptionsStylized): string {
    const frames = `${this.valueSize / (this.#buildIds ? BUILD_ID_FRAME.size : 8)} frames at most`;
    return `(${options.stylize(String(this.size), 'number')} traces, ${frames})`;
  }

  /** Stack ids reach us as a C int or, from a `u32` or `u64` field, as the same bits without a sign. */
  #id(stackId: number | bigint): number {
    if (typeof stackId === 'bigint') return Number(BigInt.asIntN(32, stackId));
    if (Number.isSafeInteger(stackId)) return stackId | 0;
    throw new TypeError(`table '${this.name}': a stack id must be an integer, not ${brief(stackId)}`);
  }

  #noTrace(id: number): TableError {
    if (id >= 0)
      return new TableError(`table '${this.name}': there is no trace ${id}`, {
        code: 'ERR_BCC_TABLE_NO_KEY',
        hint: 'two traces that fall on one id replace or drop each other: make the table larger',
      });
    const [name, hint] = STACK_ID_ERRORS[id] ?? [getSystemErrorName(id), undefined];
    return new TableError(`table '${this.name}': ${id} is not a trace but the error ${name} of bpf_get_stackid()`, {
      code: 'ERR_BCC_TABLE_NO_KEY',
      errno: -id,
      hint,
    });
  }
}

/** What bpf_get_stackid() answers instead of an id (kernel/bpf/stackmap.c). */
const STACK_ID_ERRORS: Readonly<Record<number, [string, string]>> = {
  [-14]: [
    'EFAULT',
    'the stack could not be walked: a kernel thread has no user stack, and code without frame pointers none to follow',
  ],
  [-17]: ['EEXIST', 'another trace has this place: make the table larger, or pass BPF_F_REUSE_STACKID'],
  [-22]: ['EINVAL', 'the flags of get_stackid() are wrong'],
};

/** undefined at the end of the trace. */
function readBuildIdFrame(source: ByteSource, at: number): BuildIdFrame | undefined {
  const status = source.view.getInt32(at, true);
  const value = source.view.getBigUint64(at + BUILD_ID_FRAME.offset, true);
  if (status === STATUS_IP) return value === 0n ? undefined : { ip: value };
  if (status !== STATUS_VALID) return undefined;
  const start = at + BUILD_ID_FRAME.buildId;
  return { buildId: source.bytes.toString('hex', start, start + BUILD_ID_FRAME.buildIdSize), offset: value };
}
