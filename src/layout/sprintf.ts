import { requireText } from '../arguments';
import { type ByteSource, readString, textBytes } from './bytes';
import type { FieldLayout, Layout, StructLayout } from './layout';

/**
 * BCC's text form of keys and leaves: `0x1f` for integers, `"…"` for arrays of one-byte elements, `[ … ]` for other
 * arrays, `{ … }` for structs. BCC derives it from LLVM's form of the type, and so does this: a union shows its member
 * with the strictest alignment, neighbouring bitfields are one integer, padding that LLVM spells out is `""`.
 *
 * Where BCC's text loses the value it is kept here: an address (BCC prints `0xlx`), a float (nothing), a 128-bit
 * integer (its lower half, and what follows is wrong).
 */
export function sprintf(layout: Layout, source: ByteSource, offset = 0): string {
  const out: string[] = [];
  print(shapeOf(layout), source, offset, out);
  return out.join('');
}

/**
 * Reads BCC's text form into zeroed bytes. Integers are read as C's `%i` does: decimal, `0x` hexadecimal, `0` octal.
 * @throws TypeError where the text has another form, saying what was expected and where
 * @throws RangeError where a number or a string does not fit
 */
export function sscanf(layout: Layout, text: string, target: ByteSource, offset = 0): void {
  requireText(text, 'text');
  target.raw.fill(0, offset, offset + layout.size);
  const scanner = new Scanner(text, layout.name ?? layout.kind);
  scan(shapeOf(layout), scanner, target, offset);
  scanner.end();
}

/** LLVM's view of a type; offsets from its own start. */
type Shape =
  | { kind: 'integer'; size: number }
  | { kind: 'float'; size: number }
  | { kind: 'text'; size: number }
  | { kind: 'list'; items: { shape: Shape; offset: number }[] }
  | { kind: 'record'; items: { shape: Shape; offset: number }[] };

interface Aligned {
  shape: Shape;
  size: number;
  alignment: number;
}

const shapes = new WeakMap<Layout, Shape>();

function shapeOf(layout: Layout): Shape {
  let shape = shapes.get(layout);
  if (shape === undefined) {
    shape = aligned(layout).shape;
    shapes.set(layout, shape);
  }
  return shape;
}

function aligned(layout: Layout): Aligned {
  const { size } = layout;
  switch (layout.kind) {
    case 'float':
      return { shape: { kind: 'float', size }, size, alignment: size };
    case 'array': {
      const element = aligned(layout.element);
      if (layout.element.size === 1 && element.shape.kind === 'integer') {
        return { shape: { kind: 'text', size }, size, alignment: 1 };
      }
      const items = Array.from({ length: layout.length }, (_, i) => ({
        shape: element.shape,
        offset: i * layout.element.size,
      }));
      return { shape: { kind: 'list', items }, size, alignment: element.alignment };
    }
    case 'struct':
      return structShape(layout);
    case 'union':
      return unionShape(layout);
    case 'custom':
      return { shape: { kind: 'text', size }, size, alignment: 1 };
    default:
      return { shape: { kind: 'integer', size }, size, alignment: size };
  }
}

function structShape(layout: StructLayout): Aligned {
  const parts = storage(layout);
  let alignment = Math.max(1, ...parts.map((part) => part.alignment));
  // Where natural alignment does not hold, LLVM's struct is packed and spells every gap out.
  if (layout.size % alignment !== 0 || parts.some((part) => part.offset % part.alignment !== 0)) alignment = 1;
  const items: { shape: Shape; offset: number }[] = [];
  let end = 0;
  for (const part of parts) {
    const own = alignment === 1 ? 1 : part.alignment;
    if (roundUp(end, own) !== part.offset)
      items.push({ shape: { kind: 'text', size: part.offset - end }, offset: end });
    items.push(part);
    end = part.offset + part.size;
  }
  if (roundUp(end, alignment) < layout.size)
    items.push({ shape: { kind: 'text', size: layout.size - end }, offset: end });
  return { shape: { kind: 'record', items }, size: layout.size, alignment };
}

function unionShape(layout: StructLayout): Aligned {
  let best: Aligned | undefined;
  for (const field of layout.fields) {
    const part = field.bits === undefined ? aligned(field.type) : integer(Math.ceil(field.bits.width / 8));
    if (
      best === undefined ||
      part.alignment > best.alignment ||
      (part.alignment === best.alignment && part.size > best.size)
    ) {
      best = part;
    }
  }
  if (best === undefined) return { shape: { kind: 'record', items: [] }, size: layout.size, alignment: 1 };
  const { shape, size, alignment } = best;
  const items = [{ shape, offset: 0 }];
  if (size < layout.size) items.push({ shape: { kind: 'text', size: layout.size - size }, offset: size });
  return { shape: { kind: 'record', items }, size: layout.size, alignment };
}

/** The fields in LLVM's units: a run of bitfields without a gap is one integer, or bytes where that would overlap. */
function storage(layout: StructLayout): (Aligned & { offset: number })[] {
  const parts: (Aligned & { offset: number })[] = [];
  const { fields } = layout;
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i]!;
    if (field.bits === undefined) {
      parts.push({ ...aligned(field.type), offset: field.offset });
      continue;
    }
    const start = firstBit(field);
    let end = start + field.bits.width;
    while (fields[i + 1]?.bits !== undefined && firstBit(fields[i + 1]!) === end) end += fields[++i]!.bits!.width;
    const offset = start >>> 3;
    const size = Math.ceil(end / 8) - offset;
    const next = fields[i + 1]?.offset ?? layout.size;
    const whole = integer(size);
    parts.push(whole.alignment + offset > next ? { ...text(size), offset } : { ...whole, offset });
  }
  return parts;
}

function firstBit(field: FieldLayout): number {
  return field.offset * 8 + field.bits!.offset;
}

/** An integer of any number of bytes is aligned to the next power of two, and takes as many. */
function integer(size: number): Aligned {
  const whole = 2 ** Math.ceil(Math.log2(size));
  return { shape: { kind: 'integer', size }, size: whole, alignment: whole };
}

function text(size: number): Aligned {
  return { shape: { kind: 'text', size }, size, alignment: 1 };
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

function print(shape: Shape, source: ByteSource, offset: number, out: string[]): void {
  const { bytes, view } = source;
  switch (shape.kind) {
    case 'integer': {
      const word = bytes
        .subarray(offset, offset + shape.size)
        .reduceRight((all, byte) => (all << 8n) | BigInt(byte), 0n);
      out.push(`0x${word.toString(16)}`);
      break;
    }
    case 'float':
      out.push(String(shape.size === 4 ? view.getFloat32(offset, true) : view.getFloat64(offset, true)));
      break;
    case 'text': {
      out.push(`"${readString(bytes, offset, shape.size)}"`);
      break;
    }
    case 'list':
    case 'record':
      out.push(shape.kind === 'list' ? '[ ' : '{ ');
      for (const item of shape.items) {
        print(item.shape, source, offset + item.offset, out);
        out.push(' ');
      }
      out.push(shape.kind === 'list' ? ']' : '}');
  }
}

function scan(shape: Shape, scanner: Scanner, target: ByteSource, offset: number): void {
  const { bytes, view } = target;
  switch (shape.kind) {
    case 'integer': {
      let word = scanner.integer(shape.size);
      for (let i = 0; i < shape.size; i++, word >>= 8n) bytes[offset + i] = Number(word & 0xffn);
      break;
    }
    case 'float': {
      const value = scanner.float();
      if (shape.size === 4) view.setFloat32(offset, value, true);
      else view.setFloat64(offset, value, true);
      break;
    }
    case 'text':
      bytes.set(scanner.text(shape.size), offset);
      break;
    case 'list':
    case 'record':
      scanner.mark(shape.kind === 'list' ? '[' : '{');
      for (const item of shape.items) scan(item.shape, scanner, target, offset + item.offset);
      scanner.mark(shape.kind === 'list' ? ']' : '}');
  }
}

/** Goes through the text; white space may stand anywhere between its parts, as in C's scanf. */
class Scanner {
  #at = 0;

  constructor(
    readonly input: string,
    readonly what: string,
  ) {}

  mark(wanted: string): void {
    this.#skip();
    if (this.input[this.#at] !== wanted) throw this.#expected(`'${wanted}'`);
    this.#at++;
  }

  /** Two's complement of `size` bytes: signed and unsigned texts are both taken. */
  integer(size: number): bigint {
    const word = this.#match(/[+-]?(0[xX][0-9a-fA-F]+|\d+)/y, 'a number');
    const digits = word.replace(/^[+-]/, '');
    const octal = /^0[0-7]+$/.test(digits);
    if (!octal && /^0\d/.test(digits)) throw this.#expected('an octal number');
    const magnitude = BigInt(octal ? `0o${digits.slice(1)}` : digits);
    const value = word.startsWith('-') ? -magnitude : magnitude;
    const bits = BigInt(size * 8);
    if (value >= 1n << bits || value < -(1n << (bits - 1n))) {
      throw new RangeError(`${this.what}: ${word} does not fit into ${size} ${size === 1 ? 'byte' : 'bytes'}`);
    }
    return BigInt.asUintN(size * 8, value);
  }

  float(): number {
    return Number(this.#match(/NaN|[+-]?Infinity|[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/y, 'a number'));
  }

  text(size: number): Buffer {
    this.mark('"');
    const end = this.input.indexOf('"', this.#at);
    if (end === -1) throw this.#expected(`a closing '"'`);
    const bytes = textBytes(this.input.slice(this.#at, end));
    if (bytes.length > size) {
      throw new RangeError(
        `${this.what}: "${bytes.toString()}" has ${bytes.length} bytes, and ${size} are there for it`,
      );
    }
    this.#at = end + 1;
    return bytes;
  }

  end(): void {
    this.#skip();
    if (this.#at < this.input.length) throw this.#expected('the end');
  }

  #match(pattern: RegExp, what: string): string {
    this.#skip();
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.input);
    if (match === null) throw this.#expected(what);
    this.#at += match[0].length;
    return match[0];
  }

  #skip(): void {
    while (/\s/.test(this.input[this.#at] ?? '')) this.#at++;
  }

  #expected(what: string): TypeError {
    const found = this.#at < this.input.length ? JSON.stringify(this.input.slice(this.#at, this.#at + 20)) : 'the end';
    return new TypeError(`${this.what}: expected ${what} at character ${this.#at + 1} of the text, found ${found}`);
  }
}
