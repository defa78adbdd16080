import { inspect, isDeepStrictEqual } from 'node:util';
import * as bytes from './bytes';
import { ByteSource, REFUSED } from './bytes';
import { explain, fieldNames, isAnonymous, isByte, isChar, memberNames, tooShort, unsafe } from './explain';
import type { ArrayLayout, FieldLayout, Layout, StructLayout } from './layout';

export { ByteSource } from './bytes';

/** Turns bytes into values of one layout and back. Made once per layout; see {@link codecFor}. */
export interface Codec<T = unknown> {
  readonly layout: Layout;
  /** The layout's size in bytes. */
  readonly size: number;
  /**
   * The value at `offset`, in plain values that outlive the bytes. `available` says how many bytes belong to it where
   * that is known: a trailing flexible array takes what is beyond the layout's size.
   * @throws BCCError (`ERR_BCC_DATA_SIZE`) where there are fewer bytes than the layout has
   * @throws RangeError with `int64: 'number'`, naming the field whose value is no safe integer
   */
  decode(source: ByteSource, offset: number, available?: number): T;
  /**
   * Writes a value, its padding zeroed. Integers are taken as numbers or bigints, a `char` array also as its exact
   * bytes, and any struct, union or array as a Uint8Array of exactly its size. Of a union one member is enough; several
   * must agree. On an error the target's bytes are undefined.
   * @throws TypeError for a value of another shape: unknown, missing or mistyped fields, by name
   * @throws RangeError for a number, a length or a string that does not fit, with what would
   */
  encode(value: T, target: ByteSource, offset: number): void;
  /**
   * A struct or union whose fields are decoded when they are read: for programs that read few of many. It borrows the
   * bytes, and is wrong as soon as they are reused. Its fields are getters: copy it with `toJSON()`, not by spreading.
   */
  lazy(source: ByteSource, offset: number, available?: number): T;
}

/** How 64-bit integers are read; see `BCCOptions.int64`. Pointers are bigints in both, 128-bit integers too. */
export interface CodecOptions {
  int64?: 'bigint' | 'number';
}

const codecs = new WeakMap<Layout, Partial<Record<'bigint' | 'number', Codec>>>();

/** The codec of a layout, the same for the same layout object. */
export function codecFor<T = unknown>(layout: Layout, options: CodecOptions = {}): Codec<T> {
  const int64 = options.int64 ?? 'bigint';
  let known = codecs.get(layout);
  if (known === undefined) {
    known = {};
    codecs.set(layout, known);
  }
  known[int64] ??= compile(layout, int64);
  return known[int64] as Codec<T>;
}

/** What generated code calls besides the views' own methods. */
const helpers = { ...bytes, explainFailure, inspect, tooShort, unsafe, writeUnion, refuseUnknown };

function compile(layout: Layout, int64: 'bigint' | 'number'): Codec {
  const { source, constants } = new Generator(layout, int64).module();
  return new Function('helpers', 'constants', source)(helpers, constants) as Codec;
}

function explainFailure(layout: Layout, value: unknown, failure: unknown): unknown {
  if (failure !== REFUSED) return failure;
  explain(layout, value);
  return new TypeError(`${layout.name ?? layout.kind}: the value cannot be encoded`);
}

/** The exact look at an object that has another number of fields than its struct. */
function refuseUnknown(value: object, known: Set<string>): void {
  for (const name of Object.keys(value)) if (!known.has(name)) throw REFUSED;
}

/** One member of a union, as generated code offers it; `value` is the object that has the union's names. */
interface UnionMember {
  given(value: Record<string, unknown>): boolean;
  write(value: unknown, target: ByteSource, offset: number): void;
  read(source: ByteSource, offset: number): Record<string, unknown>;
}

/**
 * Writes a union into zeroed bytes. Where several members are given there must be bytes in which each reads as it was
 * given, so that what decoding gave can always be encoded again. Each contributes the bits it knows; where one knows
 * them badly (text that was no UTF-8, a NaN) another may know them all.
 */
function writeUnion(
  members: readonly UnionMember[],
  size: number,
  value: Record<string, unknown>,
  target: ByteSource,
  offset: number,
): void {
  const given = members.filter((member) => member.given(value));
  if (given.length === 0 && members.length > 0) throw REFUSED;
  if (given.length < 2) {
    given[0]?.write(value, target, offset);
    return;
  }
  const written = given.map((member) => writeAlone(member, value, size));
  const sum = new ByteSource(new Uint8Array(size));
  for (const own of written) for (let i = 0; i < size; i++) sum.raw[i]! |= own?.raw[i] ?? 0;
  const found = [sum, ...written].find(
    (bytes) => bytes !== undefined && given.every((member, i) => readsAs(member, bytes, value, written[i])),
  );
  if (found === undefined) throw REFUSED;
  target.raw.set(found.raw, offset);
}

/** Undefined where the member's value cannot be written. */
function writeAlone(member: UnionMember, value: unknown, size: number): ByteSource | undefined {
  const own = new ByteSource(new Uint8Array(size));
  try {
    member.write(value, own, 0);
    return own;
  } catch (failure) {
    if (failure !== REFUSED) throw failure;
    return undefined;
  }
}

/** A value may be given in several forms (a number for a bigint, raw bytes): equal bytes prove it equal, too. */
function readsAs(
  member: UnionMember,
  bytes: ByteSource,
  value: Record<string, unknown>,
  written: ByteSource | undefined,
): boolean {
  const read = member.read(bytes, 0);
  if (Object.keys(read).every((name) => isDeepStrictEqual(read[name], value[name]))) return true;
  return written !== undefined && writeAlone(member, read, bytes.raw.length)?.bytes.equals(written.bytes) === true;
}

/** Up to so many scalars are written out in place; beyond, a struct becomes a function of its own. */
const INLINE_FIELDS = 24;
const INLINE_ELEMENTS = 8;
const VIEWS = 'const v = s.view, b = s.bytes, u = s.raw, q = s.u64, z = s.i64;';
/** What functions of the module take to read or write through. */
const SOURCE = 's, v, b, u, q, z';

/**
 * Writes the JavaScript of one codec. In it `s` is the ByteSource, `v`, `b`, `u`, `q`, `z` its views, `o` the offset,
 * `n` the available bytes. Names that come from C or BTF enter it only as JSON strings.
 */
class Generator {
  readonly #root: Layout;
  readonly #int64: 'bigint' | 'number';
  readonly #constants: unknown[] = [];
  readonly #functions: string[] = [];
  readonly #shared = new Map<Layout, Map<string, string>>();
  /** A zero-length array that begins here or later holds what comes after the struct. */
  readonly #dataEnd: number;
  #variables = 0;
  /** Whether the base of what is being written lies at a multiple of 8: 64-bit integers are then read by index. */
  #aligned = true;
  /** Whether any is. */
  #readsByIndex = false;

  constructor(root: Layout, int64: 'bigint' | 'number') {
    this.#root = root;
    this.#int64 = int64;
    this.#dataEnd = dataEnd(root);
  }

  module(): { source: string; constants: unknown[] } {
    const root = this.#root;
    const { size } = root;
    const layout = this.#constant(root);
    const name = `const { ${Object.keys(helpers).join(', ')} } = helpers;`;
    const guard = `if (!(o >= 0) || n < ${size} || o + ${size} > b.length) throw tooShort(${layout}, Math.min(n ?? Infinity, b.length - o));`;
    const flexible = hasFlexible(root, 0, this.#dataEnd);
    const available = flexible ? `n = n === undefined ? 0 : Math.min(n, b.length - o);` : '';
    const decoded = this.#read(root, 'o', 0, this.#int64, true);
    const realign = this.#readsByIndex
      ? `if (((s.skew | o) & 7) !== 0) return NAME(s.aligned(o, n ?? ${size}), 0, n);`
      : '';
    const guarded = this.#int64 === 'number' && mayBeUnsafe(root);
    const attempt = (body: string) =>
      guarded
        ? `try { ${body} } catch (e) { throw e instanceof UnsafeInteger ? unsafe(${layout}, e.position - o, e.value) : e; }`
        : body;
    const lazy = this.#lazyClass(guard + realign.replace('NAME', 'lazy') + available, attempt);
    const encode = [
      `function encode(x, s, o) {`,
      VIEWS,
      `if (!(o >= 0) || o + ${size} > b.length) throw new RangeError('the target has ' + b.length + ' bytes: too few for ${size} at ' + o);`,
      coversAll(root) ? '' : zero(size),
      'try {',
      this.#write(root, 'x', 'o', 0, true),
      `} catch (e) { throw explainFailure(${layout}, x, e); }`,
      '}',
    ];
    const source = [
      `'use strict';`,
      name,
      `function decode(s, o, n) { ${VIEWS} ${guard} ${realign.replace('NAME', 'decode')} ${available} ${attempt(`return ${decoded};`)} }`,
      ...encode,
      lazy,
      `return { layout: ${layout}, size: ${size}, decode, encode, lazy };`,
      ...this.#functions,
    ].join('\n');
    return { source, constants: this.#constants };
  }

  /** An object whose getters decode; every layout but a struct or union is decoded at once. */
  #lazyClass(checks: string, attempt: (body: string) => string): string {
    const root = this.#root;
    if (root.kind !== 'struct' && root.kind !== 'union') return 'const lazy = decode;';
    const getters = flatten(root).map(({ field, offset }) => {
      const body = attempt(`return ${this.#readField(field, 'o', offset, this.#int64, true)};`);
      return `get [${JSON.stringify(field.name)}]() { const s = this.#s, o = this.#o, n = this.#n; ${VIEWS} ${body} }`;
    });
    return [
      'class Lazy {',
      '#s; #o; #n;',
      'constructor(s, o, n) { this.#s = s; this.#o = o; this.#n = n; }',
      'toJSON() { return decode(this.#s, this.#o, this.#n); }',
      '[inspect.custom](depth, options, show) { return show(decode(this.#s, this.#o, this.#n), options); }',
      ...getters,
      '}',
      `function lazy(s, o, n) { const b = s.bytes; ${checks} return new Lazy(s, o, n); }`,
    ].join('\n');
  }

  /** The expression that reads a layout at `base + offset`; `tail`: still in the root, where flexible arrays count. */
  #read(layout: Layout, base: string, offset: number, int64: 'bigint' | 'number', tail: boolean): string {
    const at = plus(base, offset);
    switch (layout.kind) {
      case 'int':
      case 'enum':
        return this.#readInteger(layout.size, layout.signed, base, offset, int64);
      case 'pointer':
        return this.#readInteger(layout.size, false, base, offset, 'bigint');
      case 'bool':
        return `${layout.size > 4 ? `v.getBigUint64(${at}, true) !== 0n` : `${readInteger(layout.size, false, at, int64)} !== 0`}`;
      case 'float':
        return `v.getFloat${layout.size * 8}(${at}, true)`;
      case 'array':
        return this.#readArray(layout, base, offset, int64, tail);
      case 'struct':
      case 'union':
        if (tail && hasFlexible(layout, offset, this.#dataEnd)) return this.#literal(layout, base, offset, int64, true);
        if (weight(layout) <= INLINE_FIELDS || (base === 'o' && layout === this.#root)) {
          return this.#literal(layout, base, offset, int64, false);
        }
        return `${this.#shareReader(layout, offset, int64)}(${SOURCE}, ${at})`;
      case 'custom':
        return `${this.#constant(layout)}.get(b, ${at})`;
    }
  }

  /** BigUint64Array's elements are read in a third of the time of DataView's getBigUint64. */
  #readInteger(size: number, signed: boolean, base: string, offset: number, int64: 'bigint' | 'number'): string {
    if (size !== 8 || int64 === 'number' || !this.#aligned || offset % 8 !== 0) {
      return readInteger(size, signed, plus(base, offset), int64);
    }
    this.#readsByIndex = true;
    return `${signed ? 'z' : 'q'}[(${plus(base, offset)}) >>> 3]`;
  }

  #readArray(layout: ArrayLayout, base: string, offset: number, int64: 'bigint' | 'number', tail: boolean): string {
    const { element, length } = layout;
    const at = plus(base, offset);
    const flexible = tail && length === 0 && element.size > 0 && offset >= this.#dataEnd;
    if (isChar(element)) {
      if (flexible) return `readString(b, ${at}, Math.max(0, n - ${offset}))`;
      return length === 16 ? `readString16(b, v, ${at})` : `readString(b, ${at}, ${length})`;
    }
    if (isByte(element)) return `u.slice(${at}, ${flexible ? `Math.max(${at}, o + n)` : plus(base, offset + length)})`;
    if (flexible) {
      return `${this.#shareArrayReader(element, offset, int64)}(${SOURCE}, ${at}, Math.max(0, Math.floor((n - ${offset}) / ${element.size})))`;
    }
    if (length <= INLINE_ELEMENTS && length * weight(element) <= INLINE_FIELDS) {
      const items = Array.from({ length }, (_, i) =>
        this.#read(element, base, offset + i * element.size, int64, false),
      );
      return `[${items.join(', ')}]`;
    }
    return `${this.#shareArrayReader(element, offset, int64)}(${SOURCE}, ${at}, ${length})`;
  }

  #literal(layout: StructLayout, base: string, offset: number, int64: 'bigint' | 'number', tail: boolean): string {
    const entries = flatten(layout).map(
      ({ field, offset: own }) => `${property(field.name)}: ${this.#readField(field, base, offset + own, int64, tail)}`,
    );
    return `{ ${entries.join(', ')} }`;
  }

  #readField(field: FieldLayout, base: string, offset: number, int64: 'bigint' | 'number', tail: boolean): string {
    if (field.bits === undefined) return this.#read(field.type, base, offset, int64, tail);
    return readBitfield(field, plus(base, offset), int64);
  }

  #shareReader(layout: StructLayout, offset: number, int64: 'bigint' | 'number'): string {
    const aligned = this.#aligned && offset % 8 === 0;
    return this.#share(layout, `read ${int64} ${aligned}`, (name) => {
      const body = this.#from(aligned, () => this.#literal(layout, 'o', 0, int64, false));
      return `function ${name}(${SOURCE}, o) { return ${body}; }`;
    });
  }

  #shareArrayReader(element: Layout, offset: number, int64: 'bigint' | 'number'): string {
    const aligned = this.#aligned && offset % 8 === 0 && element.size % 8 === 0;
    return this.#share(element, `array ${int64} ${aligned}`, (name) => {
      const item = this.#from(aligned, () => this.#read(element, 'o', 0, int64, false));
      return `function ${name}(${SOURCE}, o, n) { const r = []; for (; n > 0; n--, o += ${element.size}) r.push(${item}); return r; }`;
    });
  }

  /** Writes code whose base is known to be aligned, or not. */
  #from<T>(aligned: boolean, write: () => T): T {
    const outer = this.#aligned;
    this.#aligned = aligned;
    try {
      return write();
    } finally {
      this.#aligned = outer;
    }
  }

  /** Statements that write the expression `x`. */
  #write(layout: Layout, x: string, base: string, offset: number, inline = false): string {
    const at = plus(base, offset);
    switch (layout.kind) {
      case 'int':
      case 'enum':
        return this.#writeInteger(layout.size, layout.signed, x, at);
      case 'pointer':
        return this.#writeInteger(layout.size, false, x, at);
      case 'bool':
        return `v.setUint8(${at}, toBit(${x}));`;
      case 'float':
        return `v.setFloat${layout.size * 8}(${at}, toFloat(${x}, ${layout.size}), true);`;
      case 'array':
        return this.#writeArray(layout, x, base, offset);
      case 'struct':
      case 'union':
        if (inline) return this.#writeStruct(layout, x, base, offset);
        return `${this.#shareWriter(layout)}(${x}, ${SOURCE}, ${at});`;
      case 'custom': {
        const item = this.#variable();
        return `const ${item} = ${x}; if (${item} === undefined) throw REFUSED; ${this.#constant(layout)}.set(b, ${at}, ${item});`;
      }
    }
  }

  #writeInteger(size: number, signed: boolean, x: string, at: string): string {
    if (size === 16) return `write128(v, ${at}, ${x}, ${signed});`;
    const item = this.#variable();
    if (size === 8) {
      const kind = signed ? 'Int' : 'Uint';
      return (
        `const ${item} = ${x}; if (typeof ${item} === 'bigint') { ` +
        `if (BigInt.as${kind}N(64, ${item}) !== ${item}) throw REFUSED; v.setBig${kind}64(${at}, ${item}, true); ` +
        `} else write${signed ? 'I' : 'U'}64Number(v, ${at}, ${item});`
      );
    }
    const bits = size * 8;
    const low = signed ? -(2 ** (bits - 1)) : 0;
    const high = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
    const same = signed
      ? bits === 32
        ? `(${item} | 0)`
        : `(${item} << ${32 - bits} >> ${32 - bits})`
      : bits === 32
        ? `(${item} >>> 0)`
        : `(${item} & ${high})`;
    const set = `v.set${signed ? 'Int' : 'Uint'}${bits}`;
    const order = size === 1 ? '' : ', true';
    return (
      `const ${item} = ${x}; if (typeof ${item} === 'number') { ` +
      `if (${same} !== ${item}) throw REFUSED; ${set}(${at}, ${item}${order}); ` +
      `} else ${set}(${at}, narrow(${item}, ${low}, ${high})${order});`
    );
  }

  #writeArray(layout: ArrayLayout, x: string, base: string, offset: number): string {
    const { element, length, size } = layout;
    const at = plus(base, offset);
    if (isChar(element)) return `writeString(b, ${at}, ${length}, ${x});`;
    const item = this.#variable();
    const i = this.#variable();
    const p = this.#variable();
    return [
      `const ${item} = ${x};`,
      `if (${item} instanceof Uint8Array) writeRaw(b, ${at}, ${size}, ${item});`,
      `else { if (!(Array.isArray(${item}) || ArrayBuffer.isView(${item})) || ${item}.length !== ${length}) throw REFUSED;`,
      length === 0
        ? ''
        : `for (let ${i} = 0, ${p} = ${at}; ${i} < ${length}; ${i}++, ${p} += ${element.size}) { ${this.#write(element, `${item}[${i}]`, p, 0)} }`,
      '}',
    ].join(' ');
  }

  #writeStruct(layout: StructLayout, x: string, base: string, offset: number): string {
    const names = memberNames(layout);
    const known = this.#constant(new Set(names));
    const count = this.#variable();
    return [
      `if (${x} instanceof Uint8Array) writeRaw(b, ${plus(base, offset)}, ${layout.size}, ${x});`,
      `else { if (typeof ${x} !== 'object' || ${x} === null) throw REFUSED;`,
      `let ${count} = 0; for (const _ in ${x}) ${count}++;`,
      `if (${count} !== ${names.length}) refuseUnknown(${x}, ${known});`,
      this.#writeMembers(layout, x, base, offset),
      '}',
    ].join('\n');
  }

  #writeMembers(layout: StructLayout, x: string, base: string, offset: number): string {
    if (layout.kind === 'union') return this.#writeUnion(layout, x, base, offset);
    return layout.fields.map((field) => this.#writeField(field, x, base, offset + field.offset)).join('\n');
  }

  #writeField(field: FieldLayout, x: string, base: string, offset: number): string {
    if (isAnonymous(field)) return this.#writeMembers(field.type as StructLayout, x, base, offset);
    if (field.name === '') return '';
    const item = `${x}[${JSON.stringify(field.name)}]`;
    if (field.bits !== undefined) {
      const { offset: shift, width } = field.bits;
      const { type } = field;
      const value = type.kind === 'bool' ? `toBit(${item})` : item;
      const signed = 'signed' in type && type.signed;
      return `writeBits(b, ${plus(base, offset)}, ${shift}, ${width}, ${signed}, ${value});`;
    }
    if (field.type.kind === 'array' && field.type.length === 0) {
      const given = this.#variable();
      return `const ${given} = ${item}; if (${given} !== undefined && ${given}.length !== 0) throw REFUSED;`;
    }
    if (field.type.kind === 'struct' || field.type.kind === 'union') {
      return `${this.#shareWriter(field.type)}(${item}, ${SOURCE}, ${plus(base, offset)});`;
    }
    return this.#write(field.type, item, base, offset);
  }

  #writeUnion(layout: StructLayout, x: string, base: string, offset: number): string {
    const members = this.#share(layout, 'members', (name) => {
      const items = layout.fields
        .filter((field) => fieldNames(field).length > 0)
        .map((field) => {
          const given = fieldNames(field).map((own) => `x[${JSON.stringify(own)}] !== undefined`);
          const entries = this.#from(false, () =>
            isAnonymous(field)
              ? this.#literal(field.type as StructLayout, 'o', field.offset, 'bigint', false)
              : `{ ${property(field.name)}: ${this.#readField(field, 'o', field.offset, 'bigint', false)} }`,
          );
          return [
            `{ given(x) { return ${given.join(' || ')}; },`,
            `write(x, s, o) { ${VIEWS} ${this.#writeField(field, 'x', 'o', field.offset)} },`,
            `read(s, o) { ${VIEWS} return ${entries}; } }`,
          ].join('\n');
        });
      return `var ${name}; function ${name}_() { return ${name} ??= [${items.join(', ')}]; }`;
    });
    return `writeUnion(${members}_(), ${layout.size}, ${x}, s, ${plus(base, offset)});`;
  }

  #shareWriter(layout: StructLayout): string {
    return this.#share(
      layout,
      'write',
      (name) => `function ${name}(x, ${SOURCE}, o) { ${this.#writeStruct(layout, 'x', 'o', 0)} }`,
    );
  }

  /** A function of the module made once for each layout and purpose; it may be called before it is complete. */
  #share(layout: Layout, purpose: string, make: (name: string) => string): string {
    let known = this.#shared.get(layout);
    if (known === undefined) {
      known = new Map();
      this.#shared.set(layout, known);
    }
    let name = known.get(purpose);
    if (name === undefined) {
      name = `f${this.#variables++}`;
      known.set(purpose, name);
      this.#functions.push(make(name));
    }
    return name;
  }

  #constant(value: unknown): string {
    let index = this.#constants.indexOf(value);
    if (index === -1) index = this.#constants.push(value) - 1;
    return `constants[${index}]`;
  }

  #variable(): string {
    return `x${this.#variables++}`;
  }
}

/** A field with its offset from the struct that has its name: anonymous members dissolved. */
function flatten(layout: StructLayout, offset = 0): { field: FieldLayout; offset: number }[] {
  return layout.fields.flatMap((field) => {
    if (isAnonymous(field)) return flatten(field.type as StructLayout, offset + field.offset);
    return field.name === '' ? [] : [{ field, offset: offset + field.offset }];
  });
}

/** In an object literal `"__proto__": x` would set the prototype; `["__proto__"]: x` is a property. */
function property(name: string): string {
  return name === '__proto__' ? '["__proto__"]' : JSON.stringify(name);
}

function plus(base: string, offset: number): string {
  return offset === 0 ? base : `${base} + ${offset}`;
}

function readInteger(size: number, signed: boolean, at: string, int64: 'bigint' | 'number'): string {
  const kind = signed ? 'Int' : 'Uint';
  if (size === 16) return `read${signed ? 'I' : 'U'}128(v, ${at})`;
  if (size === 8) return int64 === 'number' ? `read${kind[0]}64Number(v, ${at})` : `v.getBig${kind}64(${at}, true)`;
  return size === 1 ? `v.get${kind}8(${at})` : `v.get${kind}${size * 8}(${at}, true)`;
}

/** Reads no byte but those that hold its bits: the next may lie beyond the struct. */
function readBitfield(field: FieldLayout, at: string, int64: 'bigint' | 'number'): string {
  const { offset: shift, width } = field.bits!;
  const { type } = field;
  const signed = 'signed' in type && type.signed;
  if (width > 32) {
    return `readBits${int64 === 'number' && width <= 64 ? 'Number' : ''}(b, ${at}, ${shift}, ${width}, ${signed})`;
  }
  const count = Math.ceil((shift + width) / 8);
  let bits: string;
  if (count === 1) bits = `v.getUint8(${at})`;
  else if (count === 2) bits = `v.getUint16(${at}, true)`;
  else if (count === 3) bits = `(v.getUint16(${at}, true) | v.getUint8(${at} + 2) << 16)`;
  else bits = `v.getUint32(${at}, true)`;
  if (shift > 0) bits = `(${bits} >>> ${shift})`;
  if (count === 5) bits = `(${bits} | v.getUint8(${at} + 4) << ${32 - shift})`;
  const unused = 32 - width;
  if (signed) bits = `(${bits} << ${unused} >> ${unused})`;
  else bits = unused === 0 ? `(${bits} >>> 0)` : `(${bits} & ${2 ** width - 1})`;
  return type.kind === 'bool' ? `${bits} !== 0` : bits;
}

/** Statements that zero the root's bytes; a double 0 is eight of them. */
function zero(size: number): string {
  if (size > 128) return `u.fill(0, o, o + ${size});`;
  let text = '';
  let at = 0;
  for (; at + 8 <= size; at += 8) text += `v.setFloat64(${plus('o', at)}, 0, true);`;
  for (; at + 4 <= size; at += 4) text += `v.setUint32(${plus('o', at)}, 0, true);`;
  for (; at < size; at++) text += `v.setUint8(${plus('o', at)}, 0);`;
  return text;
}

/** True where encoding writes every byte by itself. */
function coversAll(layout: Layout): boolean {
  switch (layout.kind) {
    case 'int':
    case 'enum':
    case 'float':
    case 'pointer':
      return true;
    case 'bool':
      return layout.size === 1;
    case 'array':
      return layout.length > 0 && !isChar(layout.element) && coversAll(layout.element);
    case 'struct': {
      let end = 0;
      for (const field of layout.fields) {
        if (field.bits !== undefined || field.offset !== end || !coversAll(field.type)) return false;
        end += field.type.size;
      }
      return end === layout.size;
    }
    default:
      return false;
  }
}

/** Where the last byte of a layout's values ends: beyond it a struct has only padding and flexible arrays. */
function dataEnd(layout: Layout): number {
  if (layout.kind !== 'struct' && layout.kind !== 'union') return layout.size;
  let end = 0;
  for (const { offset, type, bits } of layout.fields) {
    const own = bits === undefined ? dataEnd(type) : Math.ceil((bits.offset + bits.width) / 8);
    end = Math.max(end, own === 0 ? 0 : offset + own);
  }
  return end;
}

function hasFlexible(layout: Layout, offset: number, end: number): boolean {
  if (layout.kind === 'array') return layout.length === 0 && layout.element.size > 0 && offset >= end;
  if (layout.kind !== 'struct' && layout.kind !== 'union') return false;
  return layout.fields.some((field) => hasFlexible(field.type, offset + field.offset, end));
}

const weights = new WeakMap<Layout, number>();

/** How much code reading a layout takes, in scalars; at most a little more than what is ever inlined. */
function weight(layout: Layout): number {
  let known = weights.get(layout);
  if (known === undefined) {
    known = 1;
    if (layout.kind === 'array' && !isChar(layout.element) && !isByte(layout.element)) {
      known = Math.min(layout.length, INLINE_FIELDS + 1) * weight(layout.element);
    } else if (layout.kind === 'struct' || layout.kind === 'union') {
      for (const { type } of layout.fields) known += weight(type);
    }
    known = Math.min(known, INLINE_FIELDS + 1);
    weights.set(layout, known);
  }
  return known;
}

function mayBeUnsafe(layout: Layout): boolean {
  if (layout.kind === 'int' || layout.kind === 'enum') return layout.size === 8;
  if (layout.kind === 'array') return mayBeUnsafe(layout.element);
  if (layout.kind !== 'struct' && layout.kind !== 'union') return false;
  return layout.fields.some(({ type }) => mayBeUnsafe(type));
}
