import { type InspectOptionsStylized, inspect } from 'node:util';
import { knownOptions, requireFunction } from '../arguments';
import { BPFUpdateFlag } from '../constants';
import { isNativeError, TableError } from '../errors';
import { ByteSource, type Codec, codecFor } from '../layout/codec';
import type { Layout } from '../layout/layout';
import { sprintf, sscanf } from '../layout/sprintf';
import { type NativeMapAccess, runtime } from '../native';
import { Collector, ElementIterator, ElementReader, type Elements } from './elements';
import { ExactKeys } from './exact-keys';
import {
  type Histogram,
  type HistogramOptions,
  type HistogramScale,
  histogramsOf,
  jsonHistogramText,
  linearHistogramText,
  log2HistogramText,
} from './histogram';
import type { TableSpec } from './spec';
import { mapTypeName, Table, type Untyped } from './table';
import { Errno, notSupported, tableError, wrongValue } from './table-error';

/** How an update treats what is there: `any` writes either way, `noexist` only a new key, `exist` only a present one. */
export type UpdateMode = 'any' | 'noexist' | 'exist';

/** How `set` treats what is there. */
export interface SetOptions {
  /** A mode, or BPF_* update flags as bits ({@link BPFUpdateFlag}); 'any' by default. */
  flags?: UpdateMode | number;
}

const UPDATE_MODES: Readonly<Record<UpdateMode, number>> = {
  any: BPFUpdateFlag.ANY,
  noexist: BPFUpdateFlag.NOEXIST,
  exist: BPFUpdateFlag.EXIST,
};

/** The bits for `flags`; TypeError for a mode that does not exist. */
export function updateFlags(flags: UpdateMode | number | undefined): number {
  if (flags === undefined) return BPFUpdateFlag.ANY;
  if (typeof flags === 'number' && Number.isSafeInteger(flags) && flags >= 0) return flags;
  if (typeof flags === 'string' && Object.hasOwn(UPDATE_MODES, flags)) return UPDATE_MODES[flags];
  throw new TypeError(`flags must be 'any', 'noexist', 'exist' or BPF_* bits, not ${inspect(flags)}`);
}

/**
 * A table whose elements have keys. It reads as a Map does: `get` gives undefined for an absent key, and iterating shows
 * the elements that were there when the iterator was made, whatever is deleted meanwhile.
 *
 * Keys and leaves are plain values: objects for structs, numbers or bigints for integers. A struct that the table gave as
 * a key finds its element again whatever its padding holds, as long as it is not changed. A value of the wrong shape
 * throws a TypeError or RangeError that names table and field before the kernel is asked; what the kernel refuses is a
 * TableError with the code
 * - `ERR_BCC_TABLE_FULL`: no room for a new key (E2BIG);
 * - `ERR_BCC_TABLE_EXISTS`, `ERR_BCC_TABLE_NO_KEY`: `noexist` or `exist` does not hold;
 * - `ERR_BCC_TABLE_READ_ONLY`: the map is not writable (or not readable) from here;
 * - `ERR_BCC_TABLE_VALUE`: a key, value or flag that this type of map does not take;
 * - `ERR_BCC_TABLE_MEMORY`, `ERR_BCC_TABLE_BUSY`, `ERR_BCC_TABLE_PERMISSION`: as they say.
 */
export abstract class KeyedTable<K = Untyped, L = Untyped> extends Table {
  protected readonly keyCodec: Codec<K>;
  /** Of what `get` gives and `set` takes: in per-CPU tables all CPUs' leaves. */
  protected readonly valueCodec: Codec<unknown>;
  /** Of one C leaf. */
  protected readonly leafCodec: Codec<unknown>;
  /** Bytes of one element's value as the kernel reads and writes it. */
  protected readonly valueSize: number;
  protected readonly key: ByteSource;
  protected readonly value: ByteSource;
  readonly #reader: ElementReader;
  readonly #exactKeys: ExactKeys<K> | undefined;
  #access: NativeMapAccess | undefined;

  constructor(spec: TableSpec, valueCodecOf: (leafCodec: Codec<unknown>) => Codec<unknown> = (leafCodec) => leafCodec) {
    super(spec);
    checkSize(spec, 'key', spec.keyLayout, spec.keySize);
    checkSize(spec, 'leaf', spec.leafLayout, spec.leafSize);
    this.keyCodec = codecFor(spec.keyLayout, { int64: spec.int64 }) as Codec<K>;
    this.leafCodec = codecFor(spec.leafLayout, { int64: spec.int64 });
    this.valueCodec = valueCodecOf(this.leafCodec);
    this.valueSize = this.valueCodec.size;
    this.key = new ByteSource(new Uint8Array(spec.keySize));
    this.value = new ByteSource(new Uint8Array(this.valueSize));
    this.#exactKeys = ExactKeys.of(this.keyCodec);
    this.#reader = new ElementReader(spec.keySize, this.valueSize, spec.maxEntries);
  }

  /** How many elements there are now. The kernel keeps no count: this walks the table. */
  get size(): number {
    return this.#scanned(({ count }) => count);
  }

  /** The leaf of `key`, or undefined where there is none. */
  get(key: K): L | undefined {
    return this.lookUp(key) ? this.decodeLeaf(this.value, 0) : undefined;
  }

  has(key: K): boolean {
    return this.lookUp(key);
  }

  /** Writes the leaf of `key`. */
  set(key: K, leaf: L, options?: SetOptions): this {
    const flags =
      options === undefined ? BPFUpdateFlag.ANY : updateFlags(knownOptions('set', options, ['flags']).flags);
    const access = this.access;
    this.encodeKey(key, this.key, 0);
    this.encodeLeaf(leaf, this.value, 0);
    const errno = access.update(flags);
    if (errno !== 0) throw tableError(this, 'set', errno, { key });
    return this;
  }

  /** Whether there was such a key to delete. */
  delete(key: K): boolean {
    const access = this.access;
    this.encodeKey(key, this.key, 0);
    const errno = access.delete();
    if (errno === 0) return true;
    if (errno === Errno.ENOENT) return false;
    throw tableError(this, 'delete', errno, { key });
  }

  /** Zeroes the leaf of `key`; false where there is no such key. */
  clearitem(key: K): boolean {
    const access = this.access;
    this.encodeKey(key, this.key, 0);
    this.value.bytes.fill(0);
    const errno = access.update(BPFUpdateFlag.EXIST);
    if (errno === 0) return true;
    if (errno === Errno.ENOENT) return false;
    throw tableError(this, 'clearitem', errno, { key });
  }

  /** The key after `key`, or the first one without it; undefined at the end. After a deleted key comes the first one. */
  next(key?: K): K | undefined {
    const access = this.access;
    if (key !== undefined) this.encodeKey(key, this.key, 0);
    const errno = access.nextKey(key === undefined);
    if (errno === 0) return this.decodeKey(this.key, 0);
    if (errno === Errno.ENOENT) return undefined;
    throw tableError(this, 'next', errno, key === undefined ? undefined : { key });
  }

  keys(): IterableIterator<K> {
    return this.keysOf(this.scan());
  }

  values(): IterableIterator<L> {
    return this.#valuesOf(this.scan());
  }

  entries(): IterableIterator<[K, L]> {
    return this.#entriesOf(this.scan());
  }

  [Symbol.iterator](): IterableIterator<[K, L]> {
    return this.entries();
  }

  /** All elements as an array, ready to be sorted: BCC's `items()`. */
  items(): [K, L][] {
    return this.#scanned((elements) => this.decodeAll(elements));
  }

  forEach(callback: (leaf: L, key: K, table: this) => void, thisArg?: unknown): void {
    requireFunction(callback, 'callback');
    for (const [key, leaf] of this.entries()) callback.call(thisArg, leaf, key, this);
  }

  /** Deletes every key that is there now. */
  clear(): void {
    this.#scanned(({ keys, count }) => this.deleteRaw(keys.raw, count));
  }

  /** Zeroes the leaf of every key that is there now; keys that vanish meanwhile do not come back. */
  zero(): void {
    this.#scanned(({ keys, count }) => {
      const access = this.access;
      this.value.bytes.fill(0);
      for (let i = 0; i < count; i++) {
        this.#copyKey(keys.raw, i);
        const errno = access.update(BPFUpdateFlag.EXIST);
        if (errno !== 0 && errno !== Errno.ENOENT) throw tableError(this, 'zero', errno, { key: this.#storedKey() });
      }
    });
  }

  /**
   * Every element, read with the kernel's batch command (Linux 5.6; LPM tries and others later), or one by one where it
   * has none; decoded as they are asked for.
   */
  itemsLookupBatch(): IterableIterator<[K, L]> {
    return this.entries();
  }

  /**
   * Writes `leaves[i]` for `keys[i]`. All are checked before the first is written; where the kernel then refuses one
   * (a full table), the error tells how many stand.
   */
  itemsUpdateBatch(keys: readonly K[], leaves: readonly L[]): void {
    const count = this.#batchLength(keys);
    if (!Array.isArray(leaves))
      throw new TypeError(`table '${this.name}': leaves must be an array, not ${inspect(leaves)}`);
    if (leaves.length !== count)
      throw new RangeError(`table '${this.name}': ${count} keys, but ${leaves.length} leaves`);
    this.checkOpen();
    const keyBytes = this.#encodeKeys(keys);
    const values = new ByteSource(new Uint8Array(count * this.valueSize));
    for (let i = 0; i < count; i++) this.encodeLeaf(leaves[i]!, values, i * this.valueSize);
    this.updateRaw(keyBytes, values.bytes, count);
  }

  /** Deletes `keys` (all keys where none are given); how many of them there were. */
  itemsDeleteBatch(keys?: readonly K[]): number {
    if (keys === undefined) {
      return this.#scanned((elements) => this.deleteRaw(elements.keys.raw, elements.count));
    }
    const count = this.#batchLength(keys);
    this.checkOpen();
    return this.deleteRaw(this.#encodeKeys(keys), count);
  }

  /**
   * Takes every element out of the table and returns them: an element that a program writes meanwhile is either returned
   * or stays. Where the kernel has neither the batch command (Linux 5.6) nor the single one (5.14), reading and deleting
   * are two steps and an update between them is lost, as in BCC.
   */
  itemsLookupAndDeleteBatch(): [K, L][] {
    const taken = this.#take();
    try {
      const items = this.decodeAll(taken);
      this.#reader.giveBack(taken);
      return items;
    } catch (error) {
      const lost = this.#putBack(taken);
      if (lost === 0) throw error;
      throw new TableError(
        `table '${this.name}': ${lost} elements that cannot be decoded could not be put back either`,
        {
          cause: error,
        },
      );
    }
  }

  /** A key as BCC's text (`{ 0x1 "sh" }`), which {@link keyScanf} reads. */
  keySprintf(key: K): string {
    this.encodeKey(key, this.key, 0);
    return sprintf(this.keyLayout, this.key);
  }

  /** A leaf (in per-CPU tables: one CPU's) as BCC's text, which {@link leafScanf} reads. */
  leafSprintf(leaf: unknown): string {
    const target = new ByteSource(new Uint8Array(this.leafSize));
    this.encode('leaf', this.leafCodec, leaf, target, 0);
    return sprintf(this.leafLayout, target);
  }

  /** The key that a text of {@link keySprintf} tells. */
  keyScanf(text: string): K {
    const target = new ByteSource(new Uint8Array(this.keySize));
    sscanf(this.keyLayout, text, target);
    return this.decodeKey(target, 0);
  }

  /** The leaf that a text of {@link leafSprintf} tells. */
  leafScanf(text: string): unknown {
    const target = new ByteSource(new Uint8Array(this.leafSize));
    sscanf(this.leafLayout, text, target);
    return this.leafCodec.decode(target, 0);
  }

  /**
   * Prints the table as a log2 histogram, byte for byte as BCC does: an integer key is the slot (`bpf_log2l(value)`), a
   * struct key a section and a slot; see {@link HistogramOptions}. `valType` heads the values' column.
   */
  printLog2Hist(valType = 'value', options: HistogramOptions = {}): void {
    print(log2HistogramText(this, valType, options), options);
  }

  /** Prints the table as a linear histogram, slots 0 to 1024; see {@link printLog2Hist}. */
  printLinearHist(valType = 'value', options: HistogramOptions = {}): void {
    print(linearHistogramText(this, valType, options), options);
  }

  /** Prints a log2 histogram as BCC's JSON-like text: a Python dict for each section. */
  printJsonHist(valType = 'value', options: HistogramOptions = {}): void {
    print(jsonHistogramText(this, valType, options), options);
  }

  /** The table's histograms as data for drawing, one for each section: what the printing methods print. */
  histogram(
    scale: HistogramScale = 'log2',
    options: Pick<HistogramOptions, 'bucketFn' | 'bucketSortFn'> = {},
  ): Histogram[] {
    return histogramsOf(this, scale, options);
  }

  /** The single-element door to the map; throws ClosedError once the table is closed. */
  protected get access(): NativeMapAccess {
    this.checkOpen();
    this.#access ??= new (runtime().MapAccess)(this.spec.fd.fd, this.key.bytes, this.value.bytes);
    return this.#access;
  }

  /** Reads the value of `key` into `this.value`; false where there is no such key. */
  protected lookUp(key: K): boolean {
    const access = this.access;
    this.encodeKey(key, this.key, 0);
    const errno = access.lookup();
    if (errno === 0) return true;
    if (errno === Errno.ENOENT) return false;
    throw tableError(this, 'get', errno, { key });
  }

  protected encodeKey(key: K, target: ByteSource, offset: number): void {
    if (this.#exactKeys?.write(key, target, offset)) return;
    this.encode('key', this.keyCodec as Codec<unknown>, key, target, offset);
  }

  protected encodeLeaf(leaf: L, target: ByteSource, offset: number): void {
    this.encode('leaf', this.valueCodec, leaf, target, offset);
  }

  protected decodeKey(source: ByteSource, offset: number): K {
    try {
      const key = this.keyCodec.decode(source, offset);
      this.#exactKeys?.note(key, source, offset);
      return key;
    } catch (error) {
      throw wrongValue(this, 'key', error);
    }
  }

  protected decodeLeaf(source: ByteSource, offset: number): L {
    try {
      return this.valueCodec.decode(source, offset) as L;
    } catch (error) {
      throw wrongValue(this, 'leaf', error);
    }
  }

  protected encode(role: string, codec: Codec<unknown>, value: unknown, target: ByteSource, offset: number): void {
    try {
      codec.encode(value, target, offset);
    } catch (error) {
      throw wrongValue(this, role, error);
    }
  }

  /** Every element as bytes, each key once. */
  protected scan(): Elements {
    this.checkOpen();
    try {
      return this.#reader.scan(this.spec.fd.fd, false);
    } catch (error) {
      throw isNativeError(error) ? tableError(this, 'reading the elements', error.errno) : error;
    }
  }

  /** Runs `body` over every element; what it returns must not refer to their bytes. */
  #scanned<T>(body: (elements: Elements) => T): T {
    const elements = this.scan();
    const result = body(elements);
    this.#reader.giveBack(elements);
    return result;
  }

  /** Every key as bytes, for tables whose leaves cannot be read. */
  protected scanKeys(): Elements {
    const access = this.access;
    const found = new Set<string>();
    // A key that vanishes makes the kernel begin anew: the bound keeps a busy table from holding us for ever.
    for (let steps = 0; steps < 16 * this.maxEntries + 1024; steps++) {
      const errno = access.nextKey(steps === 0);
      if (errno === Errno.ENOENT) break;
      if (errno !== 0) throw tableError(this, 'reading the keys', errno);
      found.add(this.key.bytes.toString('latin1'));
    }
    const keys = new ByteSource(Buffer.from([...found].join(''), 'latin1'));
    return { count: found.size, keys, values: new ByteSource(new Uint8Array(0)) };
  }

  protected decodeAll({ count, keys, values }: Elements): [K, L][] {
    const { keySize, valueSize } = this;
    const items = new Array<[K, L]>(count);
    for (let i = 0; i < count; i++)
      items[i] = [this.decodeKey(keys, i * keySize), this.decodeLeaf(values, i * valueSize)];
    return items;
  }

  /** Deletes raw keys; how many there were. */
  protected deleteRaw(keys: Uint8Array, count: number): number {
    const { fd } = this.spec.fd;
    let deleted = 0;
    let at = 0;
    while (at < count) {
      const result = runtime().deleteMapBatch(fd, keys.subarray(at * this.keySize), count - at);
      if (result.errno !== 0 && result.errno !== Errno.ENOENT) return deleted + this.#deleteOneByOne(keys, at, count);
      deleted += result.count;
      // The kernel stops at a key that is not there: go on after it.
      at += result.count + 1;
    }
    return deleted;
  }

  protected override inspectContents(options: InspectOptionsStylized): string {
    const limit = options.maxArrayLength ?? Number.POSITIVE_INFINITY;
    const nested = {
      ...options,
      depth: options.depth === null || options.depth === undefined ? null : options.depth - 1,
    };
    const lines: string[] = [];
    const access = this.access;
    for (let fromStart = true; access.nextKey(fromStart) === 0; fromStart = false) {
      if (lines.length >= limit) {
        lines.push('... more');
        break;
      }
      const key = inspect(this.decodeKey(this.key, 0), nested);
      const errno = access.lookup();
      if (errno === 0) lines.push(`${key} => ${inspect(this.decodeLeaf(this.value, 0), nested)}`);
      else if (errno !== Errno.ENOENT) lines.push(key);
    }
    if (lines.length === 0) return '{}';
    const oneLine = `{ ${lines.join(', ')} }`;
    const width = options.breakLength ?? 80;
    return oneLine.length <= width && !oneLine.includes('\n')
      ? oneLine
      : `{\n  ${lines.join(',\n').replaceAll('\n', '\n  ')}\n}`;
  }

  protected keysOf(elements: Elements): IterableIterator<K> {
    return this.#iterator(elements, (i) => this.decodeKey(elements.keys, i * this.keySize));
  }

  #valuesOf(elements: Elements): IterableIterator<L> {
    return this.#iterator(elements, (i) => this.decodeLeaf(elements.values, i * this.valueSize));
  }

  #entriesOf(elements: Elements): IterableIterator<[K, L]> {
    const { keys, values } = elements;
    return this.#iterator(elements, (i) => [
      this.decodeKey(keys, i * this.keySize),
      this.decodeLeaf(values, i * this.valueSize),
    ]);
  }

  #iterator<T>(elements: Elements, decode: (index: number) => T): IterableIterator<T> {
    return new ElementIterator(elements.count, decode, () => this.#reader.giveBack(elements));
  }

  #copyKey(keys: Uint8Array, index: number): void {
    this.key.bytes.set(keys.subarray(index * this.keySize, (index + 1) * this.keySize));
  }

  /** The key in the access buffer, for a message. */
  #storedKey(): K {
    return this.decodeKey(this.key, 0);
  }

  #batchLength(keys: readonly K[]): number {
    if (!Array.isArray(keys)) throw new TypeError(`table '${this.name}': keys must be an array, not ${inspect(keys)}`);
    if (keys.length > this.maxEntries)
      throw new RangeError(`table '${this.name}': ${keys.length} keys, but the table holds at most ${this.maxEntries}`);
    return keys.length;
  }

  #encodeKeys(keys: readonly K[]): Uint8Array {
    const target = new ByteSource(new Uint8Array(keys.length * this.keySize));
    for (let i = 0; i < keys.length; i++) this.encodeKey(keys[i]!, target, i * this.keySize);
    return target.bytes;
  }

  /** Writes raw elements. */
  protected updateRaw(keys: Uint8Array, values: Uint8Array, count: number): void {
    if (count === 0) return;
    const result = runtime().updateMapBatch(this.spec.fd.fd, keys, values, count);
    if (result.errno === 0) return;
    // A command that is refused as a whole leaves the count as it was given.
    const done = result.count < count ? result.count : 0;
    if (!lacksBatch(result.errno)) throw this.#partial(result.errno, done, count, keys);
    const access = this.access;
    for (let i = 0; i < count; i++) {
      this.#copyKey(keys, i);
      this.value.bytes.set(values.subarray(i * this.valueSize, (i + 1) * this.valueSize));
      const errno = access.update(BPFUpdateFlag.ANY);
      if (errno !== 0) throw this.#partial(errno, i, count, keys);
    }
  }

  #partial(errno: number, done: number, count: number, keys: Uint8Array): Error {
    this.#copyKey(keys, done);
    const operation = `itemsUpdateBatch (${done} of ${count} elements are written), at`;
    return tableError(this, operation, errno, { key: this.#storedKey() });
  }

  #deleteOneByOne(keys: Uint8Array, from: number, count: number): number {
    const access = this.access;
    let deleted = 0;
    for (let i = from; i < count; i++) {
      this.#copyKey(keys, i);
      const errno = access.delete();
      if (errno === 0) deleted++;
      else if (errno !== Errno.ENOENT) throw tableError(this, 'delete', errno, { key: this.#storedKey() });
    }
    return deleted;
  }

  #take(): Elements {
    this.checkOpen();
    try {
      return this.#reader.scan(this.spec.fd.fd, true);
    } catch (error) {
      if (!isNativeError(error)) throw error;
      if (!lacksBatch(error.errno)) throw tableError(this, 'itemsLookupAndDeleteBatch', error.errno);
      return this.#takeOneByOne();
    }
  }

  #takeOneByOne(): Elements {
    const { keys, count } = this.scan();
    const access = this.access;
    const taken = new Collector(this.keySize, this.valueSize, count);
    let atomic = true;
    for (let i = 0; i < count; i++) {
      this.#copyKey(keys.raw, i);
      let errno = atomic ? access.lookupAndDelete() : Errno.EINVAL;
      if (atomic && lacksBatch(errno)) atomic = false;
      if (!atomic) errno = access.lookup() || access.delete();
      if (errno === 0) taken.add(this.key.raw, 0, this.value.raw, 0);
      // What is taken already must reach the caller: a refusal is an error only while there is nothing to lose.
      else if (errno !== Errno.ENOENT && taken.count > 0) break;
      else if (errno !== Errno.ENOENT)
        throw tableError(this, 'itemsLookupAndDeleteBatch', errno, { key: this.#storedKey() });
    }
    return taken;
  }

  /** Writes taken elements again where their keys are still free; how many were not. */
  #putBack({ count, keys, values }: Elements): number {
    const access = this.access;
    let lost = 0;
    for (let i = 0; i < count; i++) {
      this.#copyKey(keys.raw, i);
      this.value.raw.set(values.raw.subarray(i * this.valueSize, (i + 1) * this.valueSize));
      if (access.update(BPFUpdateFlag.NOEXIST) !== 0) lost++;
    }
    return lost;
  }
}

function print(text: string, options: HistogramOptions): void {
  if (text !== '') (options.output ?? process.stdout).write(text);
}

/** Kernels before 5.6 answer EINVAL to the batch commands, later ones ENOTSUP for types that have none. */
function lacksBatch(errno: number): boolean {
  return errno === Errno.EINVAL || notSupported(errno);
}

/** A layout must be as long as the map's key or leaf, or every element would be read past its end or short of it. */
export function checkSize(spec: TableSpec, role: 'key' | 'leaf', layout: Layout, size: number): void {
  if (layout.size === size) return;
  throw new TableError(
    `table '${spec.name}' (${mapTypeName(spec.type)}): its ${role} has ${size} bytes, but the given ${role} type has ${layout.size}`,
    {
      code: 'ERR_BCC_TABLE_SIZE',
      hint: `give a ${role}Type of ${size} bytes, or none: the program's own type is known`,
    },
  );
}
