import { possibleCpus } from '../kernel/cpus';
import type { ByteSource, Codec } from '../layout/codec';
import type { Layout } from '../layout/layout';
import { ArrayTable, type Index } from './array';
import { HashTable } from './hash';
import type { TableSpec } from './spec';
import type { Untyped } from './table';
import { brief } from './table-error';

/** Makes one value of two, as Array.prototype.reduce does; applied over all CPUs' leaves. */
export type Reducer<L = Untyped> = (accumulated: L, leaf: L) => L;

/**
 * All CPUs' leaves of one element: the kernel hands over one leaf for every possible CPU, each in its own multiple of
 * 8 bytes.
 */
class PerCpuCodec implements Codec<unknown[]> {
  readonly layout: Layout;
  readonly size: number;
  readonly #leaf: Codec<unknown>;
  readonly #stride: number;
  readonly #cpus = possibleCpus().length;

  constructor(leaf: Codec<unknown>) {
    this.#leaf = leaf;
    this.#stride = Math.ceil(leaf.size / 8) * 8;
    this.size = this.#stride * this.#cpus;
    this.layout = { kind: 'array', element: leaf.layout, length: this.#cpus, size: this.size };
  }

  decode(source: ByteSource, offset: number): unknown[] {
    const leaves = new Array<unknown>(this.#cpus);
    for (let cpu = 0; cpu < this.#cpus; cpu++) leaves[cpu] = this.#leaf.decode(source, offset + cpu * this.#stride);
    return leaves;
  }

  encode(leaves: unknown[], target: ByteSource, offset: number): void {
    if (!Array.isArray(leaves))
      throw new TypeError(`expected an array with one leaf for each of ${this.#cpus} CPUs, not ${brief(leaves)}`);
    if (leaves.length !== this.#cpus)
      throw new RangeError(`expected one leaf for each of ${this.#cpus} CPUs, not ${leaves.length}`);
    for (let cpu = 0; cpu < this.#cpus; cpu++) this.#leaf.encode(leaves[cpu], target, offset + cpu * this.#stride);
  }

  lazy(source: ByteSource, offset: number): unknown[] {
    const leaves = new Array<unknown>(this.#cpus);
    for (let cpu = 0; cpu < this.#cpus; cpu++) leaves[cpu] = this.#leaf.lazy(source, offset + cpu * this.#stride);
    return leaves;
  }
}

const perCpu = (leaf: Codec<unknown>): Codec<unknown> => new PerCpuCodec(leaf) as Codec<unknown>;

/**
 * BPF_PERCPU_HASH and `BPF_TABLE("percpu_hash", …)`: a leaf for every possible CPU. `get` gives an array indexed by CPU,
 * and `set` takes one. With a `reducer` (BCC's `getTable(name, { reducer })`) `get`, `values` and `entries` give what it
 * makes of the CPUs' leaves instead.
 */
export class PerCpuHashTable<K = Untyped, L = Untyped, V = L[]> extends HashTable<K, V> {
  readonly reducer: Reducer<L> | undefined;

  constructor(spec: TableSpec, reducer?: Reducer<L>) {
    super(spec, perCpu);
    this.reducer = reducer;
  }

  /** Each CPU's leaf, whatever the reducer; undefined for an absent key. */
  getvalue(key: K): L[] | undefined {
    return this.lookUp(key) ? (this.valueCodec.decode(this.value, 0) as L[]) : undefined;
  }

  /** The CPUs' leaves added up; TypeError unless they are numbers. */
  sum(key: K): L | undefined {
    return sumOf(this.name, this.getvalue(key));
  }

  /** The largest of the CPUs' leaves; TypeError unless they are numbers. */
  max(key: K): L | undefined {
    return maxOf(this.name, this.getvalue(key));
  }

  /** The sum divided by the number of possible CPUs. */
  average(key: K): number | undefined {
    return averageOf(this.name, this.getvalue(key));
  }

  protected override decodeLeaf(source: ByteSource, offset: number): V {
    const leaves = this.valueCodec.decode(source, offset) as L[];
    return (this.reducer ? leaves.reduce(this.reducer) : leaves) as V;
  }
}

/** `BPF_TABLE("lru_percpu_hash", …)`. */
export class LruPerCpuHashTable<K = Untyped, L = Untyped, V = L[]> extends PerCpuHashTable<K, L, V> {}

/** BPF_PERCPU_ARRAY: an array with a leaf for every possible CPU; see {@link PerCpuHashTable}. */
export class PerCpuArrayTable<L = Untyped, V = L[]> extends ArrayTable<V> {
  readonly reducer: Reducer<L> | undefined;

  constructor(spec: TableSpec, reducer?: Reducer<L>) {
    super(spec, perCpu);
    this.reducer = reducer;
  }

  /** Each CPU's leaf, whatever the reducer. */
  getvalue(index: Index): L[] {
    this.lookUp(index);
    return this.valueCodec.decode(this.value, 0) as L[];
  }

  /** The CPUs' leaves added up; TypeError unless they are numbers. */
  sum(index: Index): L {
    return sumOf(this.name, this.getvalue(index))!;
  }

  /** The largest of the CPUs' leaves; TypeError unless they are numbers. */
  max(index: Index): L {
    return maxOf(this.name, this.getvalue(index))!;
  }

  /** The sum divided by the number of possible CPUs. */
  average(index: Index): number {
    return averageOf(this.name, this.getvalue(index))!;
  }

  protected override decodeLeaf(source: ByteSource, offset: number): V {
    const leaves = this.valueCodec.decode(source, offset) as L[];
    return (this.reducer ? leaves.reduce(this.reducer) : leaves) as V;
  }
}

/** The leaves as numbers of one kind, or a TypeError that says what they are instead. */
function numbers(table: string, leaves: unknown[]): number[] | bigint[] {
  const odd = leaves.find((leaf) => typeof leaf !== 'number' && typeof leaf !== 'bigint');
  if (odd !== undefined)
    throw new TypeError(`table '${table}': sum, max and average need leaves that are numbers, not ${brief(odd)}`);
  return leaves as number[] | bigint[];
}

function sumOf<L>(table: string, leaves: L[] | undefined): L | undefined {
  if (leaves === undefined) return undefined;
  const all = numbers(table, leaves);
  if (typeof all[0] === 'bigint') return (all as bigint[]).reduce((sum, leaf) => sum + leaf) as L;
  const sum = (all as number[]).reduce((total, leaf) => total + leaf);
  if (Number.isInteger(sum) && !Number.isSafeInteger(sum))
    throw new RangeError(`table '${table}': the sum ${sum} does not fit a number exactly; use int64: 'bigint'`);
  return sum as L;
}

function maxOf<L>(table: string, leaves: L[] | undefined): L | undefined {
  if (leaves === undefined) return undefined;
  let most = leaves[0] as L;
  for (const leaf of numbers(table, leaves) as L[]) if (leaf > most) most = leaf;
  return most;
}

function averageOf<L>(table: string, leaves: L[] | undefined): number | undefined {
  const sum = sumOf(table, leaves);
  return sum === undefined ? undefined : Number(sum) / leaves!.length;
}
