import type { ByteSource } from '../layout/codec';
import { KeyedTable } from './keyed';
import type { Untyped } from './table';
import { brief, noSuchOperation } from './table-error';

/** An index into an array table; a negative one counts from the end, as in Python. */
export type Index = number | bigint;

/**
 * What all tables indexed from 0 share. `size` is `maxEntries` and `keys()` are all indices; `has()`, `values()` and
 * `entries()` tell of the occupied elements (in a plain array: all). An index out of range is a RangeError.
 */
export abstract class IndexedTable<L = Untyped> extends KeyedTable<Index, L> {
  override get size(): number {
    this.checkOpen();
    return this.maxEntries;
  }

  override has(index: Index): boolean {
    this.checkOpen();
    return this.#inRange(index) && super.has(index);
  }

  override keys(): IterableIterator<Index> {
    this.checkOpen();
    return this.#indices();
  }

  /** Empties the element; false where it was empty. */
  override clearitem(index: Index): boolean {
    return this.delete(index);
  }

  /** Empties every element. */
  override clear(): void {
    for (const index of this.#indices()) this.delete(index);
  }

  /** Empties every element. */
  override zero(): void {
    this.clear();
  }

  protected override encodeKey(index: Index, target: ByteSource, offset: number): void {
    target.view.setUint32(offset, this.normalize(index), true);
  }

  protected override decodeKey(source: ByteSource, offset: number): Index {
    return source.view.getUint32(offset, true);
  }

  /** The index counted from the start. */
  protected normalize(index: Index): number {
    if (!this.#inRange(index))
      throw new RangeError(
        `table '${this.name}': index ${index} is out of range, the table has ${this.maxEntries} elements`,
      );
    return Number(index) < 0 ? Number(index) + this.maxEntries : Number(index);
  }

  #inRange(index: Index): boolean {
    if (typeof index !== 'bigint' && !Number.isInteger(index))
      throw new TypeError(`table '${this.name}': an index must be an integer, not ${brief(index)}`);
    return index < this.maxEntries && index >= -this.maxEntries;
  }

  *#indices(): Generator<number, undefined> {
    for (let index = 0; index < this.maxEntries; index++) yield index;
  }
}

/** BPF_ARRAY: every element is there from the start, zeroed. */
export class ArrayTable<L = Untyped> extends IndexedTable<L> {
  /** The element's leaf: never undefined, for every index in range has one. */
  override get(index: Index): L {
    return super.get(index)!;
  }

  /** Zeroes the element, which cannot go: as in BCC. */
  override delete(index: Index): boolean {
    const key = new Uint8Array(this.keySize);
    new DataView(key.buffer).setUint32(0, this.normalize(index), true);
    this.checkOpen();
    return this.deleteRaw(key, 1) === 1;
  }

  /** Zeroes every element. */
  override clear(): void {
    this.checkOpen();
    const indices = Uint32Array.from({ length: this.maxEntries }, (_, index) => index);
    this.deleteRaw(new Uint8Array(indices.buffer), this.maxEntries);
  }

  /** Refused: an array's elements cannot be taken out, and zeroing them after reading would lose what comes between. */
  override itemsLookupAndDeleteBatch(): [Index, L][] {
    throw noSuchOperation(
      this,
      'itemsLookupAndDeleteBatch',
      "an array's elements cannot be taken out",
      'read with itemsLookupBatch() and zero with zero(); updates in between are lost',
    );
  }

  protected override deleteRaw(keys: Uint8Array, count: number): number {
    this.updateRaw(keys, new Uint8Array(count * this.valueSize), count);
    return count;
  }
}
