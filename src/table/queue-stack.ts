import { BPFUpdateFlag } from '../constants';
import { ByteSource, type Codec, codecFor } from '../layout/codec';
import { sprintf, sscanf } from '../layout/sprintf';
import { type NativeMapAccess, runtime } from '../native';
import { checkSize, type UpdateMode, updateFlags } from './keyed';
import type { TableSpec } from './spec';
import { Table, type Untyped } from './table';
import { Errno, tableError, wrongValue } from './table-error';

/** BPF_QUEUE (first in, first out) and BPF_STACK (last in, first out): leaves without keys. Linux 4.20. */
export class QueueStackTable<L = Untyped> extends Table {
  /** For `push`: a full table drops its oldest leaf. */
  static readonly BPF_EXIST = BPFUpdateFlag.EXIST;

  readonly #codec: Codec<L>;
  readonly #value: ByteSource;
  #access: NativeMapAccess | undefined;

  constructor(spec: TableSpec) {
    super(spec);
    checkSize(spec, 'leaf', spec.leafLayout, spec.leafSize);
    this.#codec = codecFor(spec.leafLayout, { int64: spec.int64 }) as Codec<L>;
    this.#value = new ByteSource(new Uint8Array(spec.leafSize));
  }

  /**
   * Adds a leaf. A full table refuses it (TableError `ERR_BCC_TABLE_FULL`), or with the flag 'exist' drops its oldest
   * leaf.
   */
  push(leaf: L, flags?: UpdateMode | number): this {
    const bits = updateFlags(flags);
    const access = this.#open();
    this.#encode(leaf, this.#value);
    const errno = access.update(bits);
    if (errno !== 0) throw tableError(this, 'push', errno);
    return this;
  }

  /** Takes the next leaf out; undefined where the table is empty. */
  pop(): L | undefined {
    return this.#result('pop', this.#open().lookupAndDelete());
  }

  /** The next leaf, which stays; undefined where the table is empty. */
  peek(): L | undefined {
    return this.#result('peek', this.#open().lookup());
  }

  /** Takes out every leaf, as in BCC; at most as many as the table holds, so that a busy producer cannot hold us. */
  values(): L[] {
    const leaves: L[] = [];
    while (leaves.length < this.maxEntries) {
      const errno = this.#open().lookupAndDelete();
      if (errno === Errno.ENOENT) break;
      leaves.push(this.#result('values', errno)!);
    }
    return leaves;
  }

  /** A leaf as BCC's text, which {@link leafScanf} reads. */
  leafSprintf(leaf: L): string {
    const target = new ByteSource(new Uint8Array(this.leafSize));
    this.#encode(leaf, target);
    return sprintf(this.leafLayout, target);
  }

  /** The leaf that a text of {@link leafSprintf} tells. */
  leafScanf(text: string): L {
    const target = new ByteSource(new Uint8Array(this.leafSize));
    sscanf(this.leafLayout, text, target);
    return this.#codec.decode(target, 0);
  }

  #open(): NativeMapAccess {
    this.checkOpen();
    this.#access ??= new (runtime().MapAccess)(this.spec.fd.fd, new Uint8Array(0), this.#value.bytes);
    return this.#access;
  }

  #encode(leaf: L, target: ByteSource): void {
    try {
      this.#codec.encode(leaf, target, 0);
    } catch (error) {
      throw wrongValue(this, 'leaf', error);
    }
  }

  #result(operation: string, errno: number): L | undefined {
    if (errno === 0) return this.#codec.decode(this.#value, 0);
    if (errno === Errno.ENOENT) return undefined;
    throw tableError(this, operation, errno);
  }
}
