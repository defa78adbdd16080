import { isUtf8 } from 'node:buffer';

/** Bytes to decode from or encode into, with the views that generated code reads them through. */
export class ByteSource {
  readonly bytes: Buffer;
  readonly view: DataView;
  /** The same bytes as a plain Uint8Array, whose `slice` copies (Buffer's does not). */
  readonly raw: Uint8Array;
  /** The same by 64-bit words; empty where the bytes do not begin at a multiple of 8 of their buffer. */
  readonly u64: BigUint64Array;
  readonly i64: BigInt64Array;
  /** By how much they begin after one. */
  readonly skew: number;

  constructor(bytes: Uint8Array) {
    const { buffer, byteOffset, byteLength } = bytes;
    this.skew = byteOffset & 7;
    const [start, words] = this.skew === 0 ? [byteOffset, byteLength >>> 3] : [0, 0];
    this.u64 = new BigUint64Array(buffer, start, words);
    this.i64 = new BigInt64Array(buffer, start, words);
    this.bytes = Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
    this.view = new DataView(buffer, byteOffset, byteLength);
    this.raw = new Uint8Array(buffer, byteOffset, byteLength);
  }

  /** A copy of `size` bytes from `offset` on that begins at such a multiple. */
  aligned(offset: number, size: number): ByteSource {
    return new ByteSource(this.raw.slice(offset, offset + size));
  }
}

/**
 * Thrown by the fast paths of encoding where a value does not fit, and caught by the codec, which then looks again,
 * slowly, for the field and the reason.
 */
export const REFUSED: unique symbol = Symbol('refused');

/** A 64-bit integer at `position` that no number holds exactly; the codec turns it into a RangeError with a name. */
export class UnsafeInteger {
  constructor(
    readonly position: number,
    readonly value: bigint,
  ) {}
}

/** Strings seen lately: events repeat process and file names, and making a string costs more than comparing bytes. */
const CACHE_SLOTS = 1024;
const CACHED_LENGTH = 64;
const cache: string[] = new Array(CACHE_SLOTS).fill('');

/**
 * Bytes that are no UTF-8 become halves of surrogate pairs, U+DC80 to U+DCFF, as Python's `surrogateescape` has them: no
 * UTF-8 decodes to those, so that every text leads back to its bytes. Where such a text is printed, U+FFFD stands instead.
 */
const ESCAPED = 0xdc00;
const HAS_ESCAPED = /[\udc80-\udcff]/u;

/** How many bytes the UTF-8 sequence at `at` has; 0 where it is none. */
function sequenceLength(bytes: Buffer, at: number, end: number): number {
  const first = bytes[at]!;
  if (first < 0x80) return 1;
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (at + length > end) return 0;
  return isUtf8(bytes.subarray(at, at + length)) ? length : 0;
}

/** Text from bytes of which some are beyond ASCII. */
function readUtf8(bytes: Buffer, start: number, end: number): string {
  if (isUtf8(bytes.subarray(start, end))) return bytes.toString('utf8', start, end);
  let text = '';
  for (let at = start; at < end; ) {
    const length = sequenceLength(bytes, at, end);
    text += length === 0 ? String.fromCharCode(ESCAPED + bytes[at]!) : bytes.toString('utf8', at, at + length);
    at += length || 1;
  }
  return text;
}

/** The bytes of a text, those that {@link readUtf8} could only escape among them. */
export function textBytes(text: string): Buffer {
  if (!HAS_ESCAPED.test(text)) return Buffer.from(text, 'utf8');
  const parts = Array.from(text, (character) =>
    HAS_ESCAPED.test(character) ? Buffer.of(character.charCodeAt(0) - ESCAPED) : Buffer.from(character, 'utf8'),
  );
  return Buffer.concat(parts);
}

/** The text of a `char[length]` at `start`: UTF-8 (bytes that are none: {@link ESCAPED}), cut at the first NUL. */
export function readString(bytes: Buffer, start: number, length: number): string {
  const limit = start + length;
  let end = start;
  let hash = 0;
  let all = 0;
  for (; end < limit; end++) {
    const byte = bytes[end]!;
    if (byte === 0) break;
    all |= byte;
    hash = (Math.imul(hash, 31) + byte) | 0;
  }
  if (end === start) return '';
  if (all > 0x7f) return readUtf8(bytes, start, end);
  const count = end - start;
  if (count > CACHED_LENGTH) return bytes.toString('latin1', start, end);
  const slot = (hash ^ (hash >>> 15)) & (CACHE_SLOTS - 1);
  const known = cache[slot]!;
  if (known.length === count) {
    let i = 0;
    while (i < count && known.charCodeAt(i) === bytes[start + i]) i++;
    if (i === count) return known;
  }
  const text = bytes.toString('latin1', start, end);
  cache[slot] = text;
  return text;
}

/** For `char[16]`, the kernel's `comm`: the same by whole words. */
const SLOTS_16 = 512;
const words16 = new Int32Array(SLOTS_16 * 4);
const texts16: string[] = new Array(SLOTS_16).fill('');

export function readString16(bytes: Buffer, view: DataView, start: number): string {
  const a = view.getInt32(start, true);
  const b = view.getInt32(start + 4, true);
  const c = view.getInt32(start + 8, true);
  const d = view.getInt32(start + 12, true);
  let hash = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b) ^ Math.imul(c, 0xc2b2ae35) ^ Math.imul(d, 0x27d4eb2f);
  hash ^= hash >>> 15;
  const slot = hash & (SLOTS_16 - 1);
  const at = slot << 2;
  if (words16[at] === a && words16[at + 1] === b && words16[at + 2] === c && words16[at + 3] === d)
    return texts16[slot]!;
  const text = readString(bytes, start, 16);
  words16[at] = a;
  words16[at + 1] = b;
  words16[at + 2] = c;
  words16[at + 3] = d;
  texts16[slot] = text;
  return text;
}

/** Writes text into a zeroed `char[length]`. A text of exactly `length` bytes fits: C has no NUL there either. */
export function writeString(bytes: Buffer, start: number, length: number, text: unknown): void {
  if (typeof text !== 'string') {
    if (!(text instanceof Uint8Array) || text.length !== length) throw REFUSED;
    bytes.set(text, start);
    return;
  }
  const count = text.length;
  if (count > length) throw REFUSED;
  for (let i = 0; i < count; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) {
      const encoded = textBytes(text);
      if (encoded.length > length) throw REFUSED;
      bytes.set(encoded, start);
      return;
    }
    bytes[start + i] = code;
  }
}

/** An integer within [min, max] given as a bigint; refuses everything else. */
export function narrow(value: unknown, min: number, max: number): number {
  if (typeof value !== 'bigint' || value < min || value > max) throw REFUSED;
  return Number(value);
}

/** A number for a 64-bit field. */
export function writeU64Number(view: DataView, at: number, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw REFUSED;
  view.setUint32(at, (value as number) % 0x100000000, true);
  view.setUint32(at + 4, (value as number) / 0x100000000, true);
}

export function writeI64Number(view: DataView, at: number, value: unknown): void {
  if (!Number.isSafeInteger(value)) throw REFUSED;
  view.setUint32(at, (value as number) >>> 0, true);
  view.setInt32(at + 4, Math.floor((value as number) / 0x100000000), true);
}

export function readU64Number(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true);
  if (high > 0x1fffff) throw new UnsafeInteger(at, view.getBigUint64(at, true));
  return high * 0x100000000 + view.getUint32(at, true);
}

export function readI64Number(view: DataView, at: number): number {
  const value = view.getInt32(at + 4, true) * 0x100000000 + view.getUint32(at, true);
  if (!Number.isSafeInteger(value)) throw new UnsafeInteger(at, view.getBigInt64(at, true));
  return value;
}

export function readU128(view: DataView, at: number): bigint {
  return (view.getBigUint64(at + 8, true) << 64n) | view.getBigUint64(at, true);
}

export function readI128(view: DataView, at: number): bigint {
  return (view.getBigInt64(at + 8, true) << 64n) | view.getBigUint64(at, true);
}

export function write128(view: DataView, at: number, value: unknown, signed: boolean): void {
  const wide = wideInteger(value, 128, signed);
  view.setBigUint64(at, wide & 0xffffffffffffffffn, true);
  view.setBigUint64(at + 8, (wide >> 64n) & 0xffffffffffffffffn, true);
}

/** An integer of `bits` bits as a bigint; refuses everything else. */
export function wideInteger(value: unknown, bits: number, signed: boolean): bigint {
  let wide: bigint;
  if (typeof value === 'bigint') wide = value;
  else if (Number.isSafeInteger(value)) wide = BigInt(value as number);
  else throw REFUSED;
  if ((signed ? BigInt.asIntN(bits, wide) : BigInt.asUintN(bits, wide)) !== wide) throw REFUSED;
  return wide;
}

/** A bitfield of more than 32 bits. */
export function readBits(bytes: Buffer, at: number, shift: number, width: number, signed: boolean): bigint {
  let value = 0n;
  for (let i = Math.ceil((shift + width) / 8) - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i]!);
  value >>= BigInt(shift);
  return signed ? BigInt.asIntN(width, value) : BigInt.asUintN(width, value);
}

export function readBitsNumber(bytes: Buffer, at: number, shift: number, width: number, signed: boolean): number {
  const value = readBits(bytes, at, shift, width, signed);
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new UnsafeInteger(at, value);
  return number;
}

/** Sets the bits of a bitfield; they must be zero before. */
export function writeBits(
  bytes: Buffer,
  at: number,
  shift: number,
  width: number,
  signed: boolean,
  value: unknown,
): void {
  if (width <= 32 && typeof value === 'number') {
    const low = signed ? -(2 ** (width - 1)) : 0;
    const high = signed ? 2 ** (width - 1) - 1 : 2 ** width - 1;
    if (!(value >= low && value <= high) || Math.floor(value) !== value) throw REFUSED;
    let rest = value < 0 ? value + 2 ** width : value;
    // At most 39 bits: exact in a double, beyond 32-bit operators.
    rest *= 1 << shift;
    for (; rest > 0; rest = Math.floor(rest / 256)) bytes[at++]! |= rest % 256;
    return;
  }
  let rest = BigInt.asUintN(width, wideInteger(value, width, signed)) << BigInt(shift);
  for (; rest > 0n; rest >>= 8n) bytes[at++]! |= Number(rest & 0xffn);
}

/** A `_Bool`: true, false, 1 or 0. */
export function toBit(value: unknown): number {
  if (value === true || value === 1 || value === 1n) return 1;
  if (value === false || value === 0 || value === 0n) return 0;
  throw REFUSED;
}

export function toFloat(value: unknown, size: number): number {
  if (typeof value !== 'number') throw REFUSED;
  if (size === 4 && Number.isFinite(value) && !Number.isFinite(Math.fround(value))) throw REFUSED;
  return value;
}

/** The raw bytes of a whole struct or array, given in place of its value. */
export function writeRaw(bytes: Buffer, at: number, size: number, value: Uint8Array): void {
  if (value.length !== size) throw REFUSED;
  bytes.set(value, at);
}
