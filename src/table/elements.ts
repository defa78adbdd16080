import { ByteSource } from '../layout/codec';
import { runtime } from '../native';

/** Elements as bytes: `count` keys and values, one after the other from the start of what may be longer. */
export interface Elements {
  readonly count: number;
  readonly keys: ByteSource;
  readonly values: ByteSource;
}

/**
 * Reads all elements of a map. Memory is lent: elements that are given back are overwritten by the next scan, because
 * fresh pages cost as much as the scan itself. What nobody gives back, and what no scan asks for, the garbage collector
 * takes.
 */
export class ElementReader {
  #spare: WeakRef<{ keys: ByteSource; values: ByteSource }> | undefined;

  constructor(
    readonly keySize: number,
    readonly valueSize: number,
    readonly maxEntries: number,
  ) {}

  /** Every element, each key once; with `remove`, taken out of the map. Throws the native error. */
  scan(fd: number, remove: boolean): Elements {
    const spare = this.#spare?.deref();
    this.#spare = undefined;
    const { keySize, valueSize, maxEntries } = this;
    const scan = runtime().scanMap(fd, keySize, valueSize, maxEntries, remove, spare?.keys.raw, spare?.values.raw);
    const elements = {
      count: scan.count,
      keys: spare && scan.keys === spare.keys.raw ? spare.keys : new ByteSource(scan.keys),
      values: spare && scan.values === spare.values.raw ? spare.values : new ByteSource(scan.values),
    };
    return scan.method === 'walk' ? this.#distinct(elements) : elements;
  }

  /** Lends the memory of `elements`, which nobody must read any more, to the next scan. */
  giveBack(elements: Elements): void {
    this.#spare = new WeakRef(elements);
  }

  /** A walk whose place is deleted starts anew: what it then tells twice counts once, as last told. */
  #distinct(elements: Elements): Elements {
    const last = new Map<string, number>();
    for (let i = 0; i < elements.count; i++)
      last.set(elements.keys.bytes.toString('latin1', i * this.keySize, (i + 1) * this.keySize), i);
    if (last.size === elements.count) return elements;
    const chosen = new Collector(this.keySize, this.valueSize, last.size);
    for (const i of last.values())
      chosen.add(elements.keys.raw, i * this.keySize, elements.values.raw, i * this.valueSize);
    return chosen;
  }
}

/** Gathers elements one by one, at most as many as it was made for. */
export class Collector implements Elements {
  readonly keys: ByteSource;
  readonly values: ByteSource;
  count = 0;

  constructor(
    readonly keySize: number,
    readonly valueSize: number,
    capacity: number,
  ) {
    this.keys = new ByteSource(new Uint8Array(capacity * keySize));
    this.values = new ByteSource(new Uint8Array(capacity * valueSize));
  }

  add(keys: Uint8Array, keyOffset: number, values: Uint8Array, valueOffset: number): void {
    this.keys.raw.set(keys.subarray(keyOffset, keyOffset + this.keySize), this.count * this.keySize);
    this.values.raw.set(values.subarray(valueOffset, valueOffset + this.valueSize), this.count * this.valueSize);
    this.count++;
  }
}

const iteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));

/** Decodes elements as they are asked for; when the last one is told, or the loop is left, their memory is given back. */
export class ElementIterator<T> implements IterableIterator<T, undefined> {
  #next = 0;
  #count: number;
  readonly #decode: (index: number) => T;
  readonly #release: () => void;

  constructor(count: number, decode: (index: number) => T, release: () => void) {
    this.#count = count;
    this.#decode = decode;
    this.#release = release;
  }

  static {
    // What later versions of Node give to iterators (map, filter, …) then belongs to this one as well.
    Object.setPrototypeOf(ElementIterator.prototype, iteratorPrototype);
  }

  next(): IteratorResult<T, undefined> {
    if (this.#next < this.#count) return { value: this.#decode(this.#next++), done: false };
    return this.return();
  }

  return(): IteratorReturnResult<undefined> {
    if (this.#count >= 0) {
      this.#count = -1;
      this.#release();
    }
    return { value: undefined, done: true };
  }

  [Symbol.iterator](): this {
    return this;
  }
}
