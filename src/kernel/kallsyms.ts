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
  /** Decoded names, filled as they are asked for. */
  names: (string | undefined)[];
}

/** Eight digits (32-bit kernels), a space, nm's letter, a space, a name and the end of the line. */
const SHORTEST_LINE = 13;

const NEWLINE = 0x0a;
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
    let seen = 0;
    let at = 0;
    while (at < text.length) {
      let high = 0;
      let low = 0;
      for (let digit = hexDigit(text[at]!); digit >= 0; digit = at < text.length ? hexDigit(text[at]!) : -1) {
        high = ((high << 4) | (low >>> 28)) >>> 0;
        low = ((low << 4) | digit) >>> 0;
        at++;
      }
      const type = text[at + 1]!;
      const start = at + 3;
      at = start;
      while (at < text.length && text[at] !== TAB && text[at] !== NEWLINE) at++;
      if (at > start && count < capacity) {
        nameStart[count] = start;
        nameEnd[count] = at;
        types[count] = type;
        highs[count] = high;
        lows[count] = low;
        seen |= high | low;
        count++;
      }
      while (at < text.length && text[at] !== NEWLINE) at++;
      at++;
    }
    this.#count = count;
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
    const end = this.#nameEnd[line]!;
    if (this.#text.charCodeAt(end) !== TAB || this.#text.charCodeAt(end + 1) !== BRACKET) return 'kernel';
    return this.#text.slice(end + 2, this.#text.indexOf(']', end));
  }

  #isData(line: number): boolean {
    const type = this.#type[line]! | 0x20;
    return type === 0x62 || type === 0x64 || type === 0x72;
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
    const { high, low } = this.#code;
    halves64[0] = address;
    const wantedLow = halves[LOW]!;
    const wantedHigh = halves[1 - LOW]!;
    let from = 0;
    let to = high.length;
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
    // Per-CPU and absolute symbols have small numbers for addresses: no code of the kernel's half is there.
    const all = new Uint32Array(this.#count);
    let count = 0;
    let ascending = true;
    for (let line = 0; line < this.#count; line++) {
      if (this.#high[line]! < 0x80000000 || this.#isData(line)) continue;
      if (count > 0 && this.#compare(all[count - 1]!, line) > 0) ascending = false;
      all[count++] = line;
    }
    const lines = all.subarray(0, count);
    if (!ascending) lines.sort((a, b) => this.#compare(a, b) || a - b);
    const high = new Uint32Array(count);
    const low = new Uint32Array(count);
    let unique = 0;
    for (const line of lines) {
      if (unique > 0 && this.#compare(lines[unique - 1]!, line) === 0) continue;
      lines[unique] = line;
      high[unique] = this.#high[line]!;
      low[unique] = this.#low[line]!;
      unique++;
    }
    return {
      line: lines.subarray(0, unique),
      high: high.subarray(0, unique),
      low: low.subarray(0, unique),
      names: new Array(unique),
    };
  }

  #compare(a: number, b: number): number {
    return this.#high[a]! - this.#high[b]! || this.#low[a]! - this.#low[b]!;
  }

  #refuseHidden(): void {
    if (!this.hidden) return;
    throw new BCCError('ERR_BCC_KALLSYMS', 'the kernel hides the addresses of its symbols from this process', {
      hint: 'run as root or with CAP_SYSLOG; as root, "sysctl kernel.kptr_restrict=1" lifts a setting of 2',
    });
  }
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

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  if (code >= 0x61 && code <= 0x66) return code - 0x57;
  if (code >= 0x41 && code <= 0x46) return code - 0x37;
  return -1;
}
