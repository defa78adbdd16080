import { readFileSync } from 'node:fs';
import { BCCError } from '../errors';

/** One line of `/proc/kallsyms`. */
export interface KernelSymbol {
  name: string;
  address: bigint;
  /** nm's letter: T and t are functions, W and w weak ones, B, D and R (b, d, r) data. */
  type: string;
  /** `kernel` for the kernel's own symbols, `bpf` for compiled BPF programs, else the module's name. */
  module: string;
}

/** Where an address lies: `offset` bytes into the function `name`. */
export interface ResolvedKernelSymbol {
  name: string;
  module: string;
  offset: bigint;
}

interface CodeTable {
  line: Uint32Array;
  high: Uint32Array;
  low: Uint32Array;
  /** Names, filled as they are asked for. */
  names: (string | undefined)[];
  buckets: Buckets | undefined;
}

/**
 * Where to look in a sorted table: bucket i begins at place `first[i]` and holds the addresses from `base + (i << shift)`
 * on. With about as many buckets as symbols, a search takes two or three steps instead of seventeen.
 */
interface Buckets {
  first: Uint32Array;
  base: number;
  shift: number;
}

/** Eight digits (32-bit kernels), a space, nm's letter, a space, a name and the end of the line. */
const SHORTEST_LINE = 13;

/** By character: what it is worth as a hexadecimal digit, 16 where it is none. */
const HEX = Uint8Array.from({ length: 256 }, (_, code) => {
  const digit = Number.parseInt(String.fromCharCode(code), 16);
  return Number.isNaN(digit) ? 16 : digit;
});

/** By nm's letter: 1 for data (B, D, R and their small forms). */
const IS_DATA = Uint8Array.from({ length: 256 }, (_, code) => (/[bdr]/i.test(String.fromCharCode(code)) ? 1 : 0));

const NEWLINE = 0x0a;
const SPACE = 0x20;
const TAB = 0x09;
const BRACKET = 0x5b;

/** Below this many searches by name, scanning the text is cheaper than a map of all names. */
const SCANS_BEFORE_INDEX = 12;

/**
 * The kernel's symbol table as it was when it was read.
 *
 * The text is kept as it is and symbols are found in it by position, so that reading the 100,000 and more lines makes no
 * objects. Addresses are kept as two halves: comparing two 32-bit numbers is several times faster than comparing bigints.
 */
export class KernelSymbols {
  readonly #text: string;
  /** Per line of the file: where its name starts and ends, and nm's letter. */
  readonly #nameStart: Uint32Array;
  readonly #nameEnd: Uint32Array;
  readonly #type: Uint8Array;
  readonly #high: Uint32Array;
  readonly #low: Uint32Array;
  readonly #count: number;
  /** Lines before this one are the kernel's own: to tell that needs no look into the text, which no cache of a CPU holds. */
  readonly #firstOfModules: number;
  /** The lines that are no data, ascending by address, and their addresses. */
  #code: CodeTable | undefined;
  #byName: Map<string, number> | undefined;
  #scans = 0;

  /** Every address is 0: the kernel shows none to this process (`kernel.kptr_restrict`, or no CAP_SYSLOG). */
  readonly hidden: boolean;

  /** Parses the text of a kallsyms file; `read()` takes the running kernel's. */
  constructor(text: Buffer) {
    // One string for the whole file: a name is then a slice of it, which costs a tenth of decoding it from bytes.
    this.#text = text.toString('latin1');
    const capacity = Math.ceil(text.length / SHORTEST_LINE) + 1;
    const nameStart = new Uint32Array(capacity);
    const nameEnd = new Uint32Array(capacity);
    const types = new Uint8Array(capacity);
    const highs = new Uint32Array(capacity);
    const lows = new Uint32Array(capacity);

    let count = 0;
    let firstOfModules = capacity;
    let seen = 0;
    let at = 0;
    while (at < text.length) {
      let high = 0;
      let low = 0;
      for (let digit = HEX[text[at]!]!; digit < 16; digit = HEX[text[++at]!]!) {
        high = ((high << 4) | (low >>> 28)) >>> 0;
        low = ((low << 4) | digit) >>> 0;
      }
      const isSymbol = text[at] === SPACE && text[at + 2] === SPACE;
      const type = text[at + 1]!;
      const start = isSymbol ? at + 3 : at;
      at = start;
      while (at < text.length && text[at] !== TAB && text[at] !== NEWLINE) at++;
      if (isSymbol && at > start && count < capacity) {
        nameStart[count] = start;
        nameEnd[count] = at;
        types[count] = type;
        highs[count] = high;
        lows[count] = low;
        seen |= high | low;
        if (text[at] === TAB) firstOfModules = Math.min(firstOfModules, count);
        count++;
      }
      while (at < text.length && text[at] !== NEWLINE) at++;
      at++;
    }
    this.#count = count;
    this.#firstOfModules = firstOfModules;
    this.#nameStart = nameStart.slice(0, count);
    this.#nameEnd = nameEnd.slice(0, count);
    this.#type = types.slice(0, count);
    this.#high = highs.slice(0, count);
    this.#low = lows.slice(0, count);
    this.hidden = seen === 0;
  }

  /** Reads `/proc/kallsyms` anew. */
  static read(): KernelSymbols {
    try {
      return new KernelSymbols(readFileSync('/proc/kallsyms'));
    } catch (cause) {
      throw new BCCError('ERR_BCC_KALLSYMS', "the kernel's symbols cannot be read from /proc/kallsyms", {
        cause,
        hint: 'use a kernel built with CONFIG_KALLSYMS and mount procfs at /proc',
      });
    }
  }

  get size(): number {
    return this.#count;
  }

  /**
   * The function (more precisely: the last symbol that is no data) at or before `address`; undefined below the first one.
   * Of several names of one address it is the first in the kernel's own order.
   */
  resolve(address: bigint): ResolvedKernelSymbol | undefined {
    const place = this.#find(address);
    if (place < 0) return undefined;
    const { line } = this.#code!;
    return {
      name: this.#codeName(place),
      module: this.#module(line[place]!),
      offset: BigInt.asUintN(64, address) - this.#address(line[place]!),
    };
  }

  /**
   * The name, `+0x12` and ` [module]` as wanted: what `resolve` tells, as text, without making an object or a bigint.
   * undefined below the first function.
   */
  textAt(address: bigint, showModule = false, showOffset = false): string | undefined {
    const place = this.#find(address);
    if (place < 0) return undefined;
    const { line, high, low } = this.#code!;
    let text = this.#codeName(place);
    if (showOffset) {
      // `#find` has left the address in the halves; what lies between two kernel addresses fits a double.
      const offset = (halves[1 - LOW]! - high[place]!) * 2 ** 32 + (halves[LOW]! - low[place]!);
      text += `+0x${offset.toString(16)}`;
    }
    return showModule ? `${text} [${this.#module(line[place]!)}]` : text;
  }

  /** The address of a function, or of any symbol with `data`; undefined where the kernel has none of that name. */
  address(name: string, options: { data?: boolean } = {}): bigint | undefined {
    this.#refuseHidden();
    const line = this.#lineOf(name, options.data ?? false);
    return line === undefined ? undefined : this.#address(line);
  }

  /** Whether the kernel has a symbol of that name, function or data. Works where addresses are hidden too. */
  has(name: string): boolean {
    return this.#lineOf(name, true) !== undefined;
  }

  /** All names, functions and data, in the file's order. */
  *names(): IterableIterator<string> {
    for (let line = 0; line < this.#count; line++) yield this.#name(line);
  }

  /** All symbols, functions and data, in the file's order: the kernel's by address, then modules', then BPF programs'. */
  *entries(): IterableIterator<KernelSymbol> {
    for (let line = 0; line < this.#count; line++) yield this.#entry(line);
  }

  /** What is code (nm's T, t, W and w), in the file's order. */
  *functions(): IterableIterator<KernelSymbol> {
    for (let line = 0; line < this.#count; line++) {
      const type = this.#type[line]! | 0x20;
      if (type === 0x74 || type === 0x77) yield this.#entry(line);
    }
  }

  #entry(line: number): KernelSymbol {
    return {
      name: this.#name(line),
      address: this.#address(line),
      type: String.fromCharCode(this.#type[line]!),
      module: this.#module(line),
    };
  }

  #name(line: number): string {
    return this.#text.slice(this.#nameStart[line]!, this.#nameEnd[line]!);
  }

  #address(line: number): bigint {
    return (BigInt(this.#high[line]!) << 32n) | BigInt(this.#low[line]!);
  }

  #module(line: number): string {
    if (line < this.#firstOfModules) return 'kernel';
    const end = this.#nameEnd[line]!;
    if (this.#text.charCodeAt(end) !== TAB || this.#text.charCodeAt(end + 1) !== BRACKET) return 'kernel';
    return this.#text.slice(end + 2, this.#text.indexOf(']', end));
  }

  #isData(line: number): boolean {
    return IS_DATA[this.#type[line]!] === 1;
  }

  #lineOf(name: string, data: boolean): number | undefined {
    if (this.#byName === undefined && ++this.#scans > SCANS_BEFORE_INDEX) {
      this.#byName = new Map();
      for (let line = 0; line < this.#count; line++) {
        const key = this.#name(line);
        const known = this.#byName.get(key);
        if (known === undefined || (this.#isData(known) && !this.#isData(line))) this.#byName.set(key, line);
      }
    }
    if (this.#byName !== undefined) {
      const line = this.#byName.get(name);
      return line === undefined || (!data && this.#isData(line)) ? undefined : line;
    }
    const wanted = ` ${name}`;
    let fallback: number | undefined;
    for (let at = this.#text.indexOf(wanted); at >= 0; at = this.#text.indexOf(wanted, at + 1)) {
      const end = at + wanted.length;
      const next = this.#text.charCodeAt(end);
      if (end < this.#text.length && next !== TAB && next !== NEWLINE) continue;
      const line = this.#lineAt(at + 1);
      if (line === undefined) continue;
      if (!this.#isData(line)) return line;
      fallback ??= line;
    }
    return data ? fallback : undefined;
  }

  /** The line whose name starts at that position of the text. */
  #lineAt(start: number): number | undefined {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#nameStart[middle]! < start) low = middle + 1;
      else high = middle;
    }
    return this.#nameStart[low] === start && low < this.#count ? low : undefined;
  }

  #codeName(place: number): string {
    const { names, line } = this.#code!;
    names[place] ??= this.#name(line[place]!);
    return names[place];
  }

  /** The place in the sorted table of the last symbol at or before the address, -1 where there is none. */
  #find(address: bigint): number {
    this.#code ??= this.#sortCode();
    const { high, low, buckets } = this.#code;
    halves64[0] = address;
    const wantedLow = halves[LOW]!;
    const wantedHigh = halves[1 - LOW]!;
    let from = 0;
    let to = high.length;
    if (buckets && to > 0 && wantedHigh === high[0]! && wantedLow >= buckets.base) {
      const bucket = Math.min((wantedLow - buckets.base) >>> buckets.shift, buckets.first.length - 2);
      from = buckets.first[bucket]!;
      to = buckets.first[bucket + 1]!;
      while (from < to) {
        const middle = (from + to) >>> 1;
        if (low[middle]! <= wantedLow) from = middle + 1;
        else to = middle;
      }
      return from - 1;
    }
    while (from < to) {
      const middle = (from + to) >>> 1;
      const h = high[middle]!;
      if (h < wantedHigh || (h === wantedHigh && low[middle]! <= wantedLow)) from = middle + 1;
      else to = middle;
    }
    return from - 1;
  }

  #sortCode(): CodeTable {
    this.#refuseHidden();
    // Local names: this runs once, before the compiler has had time to make private fields cheap.
    const highs = this.#high;
    const lows = this.#low;
    const types = this.#type;
    const all = new Uint32Array(this.#count);
    let count = 0;
    let ascending = true;
    let lastHigh = 0;
    let lastLow = 0;
    for (let line = 0; line < all.length; line++) {
      const high = highs[line]!;
      // Per-CPU and absolute symbols have small numbers for addresses: no code of the kernel's half is there.
      if (high < 0x80000000 || IS_DATA[types[line]!] === 1) continue;
      const low = lows[line]!;
      if (high < lastHigh || (high === lastHigh && low < lastLow)) ascending = false;
      // Of several names of one address the first stays.
      if (ascending && count > 0 && high === lastHigh && low === lastLow) continue;
      lastHigh = high;
      lastLow = low;
      all[count++] = line;
    }
    const lines = all.subarray(0, count);
    if (!ascending) {
      lines.sort((a, b) => highs[a]! - highs[b]! || lows[a]! - lows[b]! || a - b);
      let unique = 0;
      for (const line of lines) {
        const last = lines[unique - 1];
        if (last !== undefined && highs[last] === highs[line] && lows[last] === lows[line]) continue;
        lines[unique++] = line;
      }
      count = unique;
    }
    const line = lines.slice(0, count);
    const high = new Uint32Array(count);
    const low = new Uint32Array(count);
    for (let place = 0; place < count; place++) {
      high[place] = highs[line[place]!]!;
      low[place] = lows[line[place]!]!;
    }
    return { line, high, low, names: new Array(count), buckets: bucketsOf(high, low) };
  }

  #refuseHidden(): void {
    if (!this.hidden) return;
    throw new BCCError('ERR_BCC_KALLSYMS', 'the kernel hides the addresses of its symbols from this process', {
      hint: 'run as root or with CAP_SYSLOG; as root, "sysctl kernel.kptr_restrict=1" lifts a setting of 2',
    });
  }
}

/** undefined where the addresses are not all in one 4 GiB: then there are too many places between them. */
function bucketsOf(high: Uint32Array, low: Uint32Array): Buckets | undefined {
  const count = low.length;
  if (count === 0 || high[0] !== high[count - 1]) return undefined;
  const base = low[0]!;
  const span = low[count - 1]! - base;
  let shift = 0;
  while (shift < 31 && span / 2 ** shift > count) shift++;
  const first = new Uint32Array((span >>> shift) + 2);
  let place = 0;
  for (let bucket = 0; bucket < first.length - 1; bucket++) {
    while (place < count && (low[place]! - base) >>> shift < bucket) place++;
    first[bucket] = place;
  }
  first[first.length - 1] = count;
  return { first, base, shift };
}

let running: KernelSymbols | undefined;

/** The running kernel's symbols, read once in this process; `refresh` reads again (after a module was loaded). */
export function kernelSymbols(options: { refresh?: boolean } = {}): KernelSymbols {
  if (options.refresh) running = undefined;
  running ??= KernelSymbols.read();
  return running;
}

const halves64 = new BigUint64Array(1);
const halves = new Uint32Array(halves64.buffer);
/** Where the low half of a 64-bit number lies, by the machine's byte order. */
const LOW = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 0 : 1;
