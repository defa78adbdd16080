import { statSync } from 'node:fs';
import { type NativeElfSymbols, runtime } from '../native';
import { symbolSections } from './symbol-files';

/** A function's name and how far into it an address lies. */
export interface TableSymbol {
  name: string;
  offset: bigint;
}

const halves64 = new BigUint64Array(1);
const halves = new Uint32Array(halves64.buffer);
const LOW = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 0 : 1;
const HIGH = 1 - LOW;

/** Functions by address. They may lie within one another (a function's cold part, hand-written assembly, JIT stubs). */
export class SymbolTable {
  readonly #columns: NativeElfSymbols;
  readonly #text: Buffer;
  /** The addresses once more, as halves: comparing 32-bit numbers is several times faster than comparing bigints. */
  readonly #halves: Uint32Array;
  readonly #names: (string | undefined)[];
  /** By symbol: the name that `find` gives. */
  readonly #chosen: (string | undefined)[];

  constructor(columns: NativeElfSymbols) {
    this.#columns = columns;
    this.#text = Buffer.from(columns.text.buffer, columns.text.byteOffset, columns.text.byteLength);
    const { buffer, byteOffset, length } = columns.addresses;
    this.#halves = new Uint32Array(buffer, byteOffset, length * 2);
    this.#names = new Array(length);
    this.#chosen = new Array(length);
  }

  get size(): number {
    return this.#columns.addresses.length;
  }

  /** The innermost function that holds the address; of several names of one function the plainest. */
  find(address: bigint): TableSymbol | undefined {
    const { addresses, sizes, reach } = this.#columns;
    for (let at = this.#lastAtOrBefore(address); at >= 0 && reach[at]! > address; at--) {
      const start = addresses[at]!;
      if (address >= start + sizes[at]!) continue;
      const name = this.#chosen[at] ?? this.#plainest(at);
      this.#chosen[at] = name;
      return { name, offset: address - start };
    }
    return undefined;
  }

  /** The address of the first function of that name; undefined where there is none. */
  address(name: string): bigint | undefined {
    for (let i = 0; i < this.size; i++) if (this.#name(i) === name) return this.#columns.addresses[i];
    return undefined;
  }

  *entries(): IterableIterator<[name: string, address: bigint]> {
    for (let i = 0; i < this.size; i++) yield [this.#name(i), this.#columns.addresses[i]!];
  }

  #name(i: number): string {
    const { starts } = this.#columns;
    this.#names[i] ??= this.#text.toString('utf8', starts[i]!, starts[i + 1]!);
    return this.#names[i];
  }

  /**
   * Libraries name one function several times: `malloc`, `__libc_malloc`. The fewest underscores lead, then the shortest.
   * Only names of the same extent are compared: others are functions within one another.
   */
  #plainest(at: number): string {
    const { addresses, sizes } = this.#columns;
    let best = this.#name(at);
    for (let i = at - 1; i >= 0 && addresses[i] === addresses[at]; i--) {
      if (sizes[i] !== sizes[at]) continue;
      const name = this.#name(i);
      const difference = leadingUnderscores(name) - leadingUnderscores(best) || name.length - best.length;
      if (difference < 0 || (difference === 0 && name < best)) best = name;
    }
    return best;
  }

  #lastAtOrBefore(address: bigint): number {
    halves64[0] = address;
    const low = halves[LOW]!;
    const high = halves[HIGH]!;
    let from = 0;
    let to = this.size;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const h = this.#halves[2 * middle + HIGH]!;
      if (h < high || (h === high && this.#halves[2 * middle + LOW]! <= low)) from = middle + 1;
      else to = middle;
    }
    return from - 1;
  }
}

function leadingUnderscores(name: string): number {
  let count = 0;
  while (name.charCodeAt(count) === 0x5f) count++;
  return count;
}

/** Puts functions in the order that `SymbolTable` needs. Of those with one address, the later one comes last. */
export function symbolColumns(symbols: { name: string; address: bigint; size: bigint }[]): NativeElfSymbols {
  const sorted = [...symbols].sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  const names = sorted.map((symbol) => Buffer.from(symbol.name));
  const starts = new Uint32Array(sorted.length + 1);
  const addresses = new BigUint64Array(sorted.length);
  const sizes = new BigUint64Array(sorted.length);
  const reach = new BigUint64Array(sorted.length);
  let furthest = 0n;
  sorted.forEach(({ address, size }, i) => {
    starts[i + 1] = starts[i]! + names[i]!.length;
    addresses[i] = address;
    sizes[i] = size;
    if (address + size > furthest) furthest = address + size;
    reach[i] = furthest;
  });
  return { text: Buffer.concat(names), starts, addresses, sizes, reach };
}

const MAX_TABLES = 128;
const tables = new Map<string, SymbolTable | undefined>();

/**
 * The functions of an ELF file, undefined where it is none. Tables are kept by the file's identity: the C library, which
 * every process maps, is read once.
 */
export function symbolTable(path: string): SymbolTable | undefined {
  let identity: string;
  try {
    const { dev, ino, mtimeMs, size } = statSync(path);
    identity = `${dev}:${ino}:${mtimeMs}:${size}`;
  } catch {
    return undefined;
  }
  let table = tables.get(identity);
  if (table === undefined && !tables.has(identity)) {
    const sections = symbolSections(path);
    table = sections && new SymbolTable(runtime().elfSymbols(sections));
  }
  // Re-inserting keeps the most recently used at the end.
  tables.delete(identity);
  tables.set(identity, table);
  if (tables.size > MAX_TABLES) tables.delete(tables.keys().next().value!);
  return table;
}

/** The virtual address of a symbol of an ELF file, functions before variables; undefined where it has none of that name. */
export function symbolAddress(path: string, name: string): bigint | undefined {
  return runtime().elfSymbolAddress(symbolSections(path) ?? [], name);
}
