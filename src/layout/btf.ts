import { BCCError } from '../errors';
import type { EnumLayout, FieldLayout, IntLayout, Layout, StructLayout } from './layout';

/** The kinds of BTF types, as `include/uapi/linux/btf.h` numbers them; `void` is type 0 and has no record. */
export const BTF_KINDS = [
  'void',
  'int',
  'ptr',
  'array',
  'struct',
  'union',
  'enum',
  'fwd',
  'typedef',
  'volatile',
  'const',
  'restrict',
  'func',
  'func_proto',
  'var',
  'datasec',
  'float',
  'decl_tag',
  'type_tag',
  'enum64',
] as const;

/** One kind of BTF type. */
export type BtfKind = (typeof BTF_KINDS)[number];

/** One member of a struct or union; offsets in bits from its start. */
export interface BtfMember {
  /** '' for an anonymous struct or union. */
  name: string;
  type: number;
  bitOffset: number;
  /** The width of a bitfield; 0 for every other member. */
  bitSize: number;
}

/** One enumerator: a number up to 32 bits, a bigint in 64-bit enums. */
export interface BtfEnumerator {
  name: string;
  value: number | bigint;
}

/** One parameter of a function; a last one of type 0 without a name is `...`. */
export interface BtfParameter {
  name: string;
  type: number;
}

/** One variable of a section: its id, and its place in bytes. */
export interface BtfSectionVariable {
  type: number;
  offset: number;
  size: number;
}

/** One record, as it stands; see {@link Btf.members} and its kin for what follows it. */
export interface BtfType {
  id: number;
  kind: BtfKind;
  /** '' where the type has none. */
  name: string;
  /** In bytes: int, enum, struct, union, datasec, float; 0 for the others. */
  size: number;
  /** The type referred to: ptr, typedef, volatile, const, restrict, func, func_proto (its result), var, tags, array (its element). */
  type: number;
  /** How many members, enumerators, parameters or variables follow; func: its linkage. */
  length: number;
  /** BTF's kind_flag: fwd of a union, signed enum, bitfield offsets in a struct. */
  flag: boolean;
}

const HEADER_SIZE = 24;
const MAGIC = 0xeb9f;
/** The kernel's own bound on how deep types may nest is 32; modifiers and typedefs count here too. */
const MAX_DEPTH = 256;
/** How many fields one layout may have in all its nested structs: vmlinux's largest has some thousands. */
const MAX_FIELDS = 1 << 18;
/** BPF programs are 64-bit whatever the machine. */
const POINTER_SIZE = 8;

/** What stands after the 12 bytes of each kind's record: bytes per entry of `vlen`, and bytes once. */
const ENTRY_BYTES: Partial<Record<BtfKind, number>> = {
  struct: 12,
  union: 12,
  enum: 8,
  func_proto: 8,
  datasec: 12,
  enum64: 12,
};
const TAIL_BYTES: Partial<Record<BtfKind, number>> = { int: 4, array: 12, var: 4, decl_tag: 4 };

/** What an old compiler's enumerator below this is taken for: a flag such as 1U << 31, not a negative number. */
const NEAREST_FLAG = -0x10000;

const INT_SIGNED = 1;
const INT_BOOL = 4;

/** Typedefs of integers that stand for floating-point types, where the compiler's BTF could not hold those. */
export const FLOAT_TYPEDEFS = Object.freeze({ float: '__tsbcc_float', double: '__tsbcc_double' });

/**
 * A BTF blob (`/sys/kernel/btf/vmlinux`, a `.BTF` section, what the kernel gives back for a loaded program), read where
 * it lies. With `base`, split BTF: a module's types, numbered on from the base's.
 *
 * Every offset is checked: a truncated or hostile blob throws a `BCCError` with code `ERR_BCC_BTF`, at construction or
 * at the question whose answer is broken. Source of the format: the kernel's Documentation/bpf/btf.rst.
 */
export class Btf {
  readonly base: Btf | undefined;
  /** Ids run from 0 (void) to `typeCount - 1`, the base's first. */
  readonly typeCount: number;
  /** The blob itself. */
  readonly bytes: Uint8Array;
  readonly #bytes: Buffer;
  readonly #view: DataView;
  /** Where each of this blob's own types begins. */
  readonly #offsets: Uint32Array;
  readonly #firstId: number;
  readonly #stringsStart: number;
  readonly #stringsEnd: number;
  /** The offset of this blob's first string among base's and its own. */
  readonly #firstString: number;
  readonly #layouts = new Map<number, { layout: Layout; fields: number }>();
  #signedEnumsMarked: boolean | undefined;

  constructor(blob: Uint8Array, base?: Btf) {
    this.base = base;
    this.bytes = blob;
    this.#bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength);
    this.#view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
    if (blob.byteLength < HEADER_SIZE) throw broken(`${blob.byteLength} bytes are too few for its header`);
    const magic = this.#view.getUint16(0, true);
    if (magic !== MAGIC) {
      if (magic === 0x9feb) throw broken('it was made for a big-endian machine');
      throw broken(`it begins with 0x${magic.toString(16)}, not with BTF's 0xeb9f`);
    }
    const version = this.#view.getUint8(2);
    if (version !== 1) throw broken(`its version is ${version}, and only version 1 is known`);
    const headerSize = this.#view.getUint32(4, true);
    if (headerSize < HEADER_SIZE || headerSize > blob.byteLength) throw broken(`its header claims ${headerSize} bytes`);
    const [typesStart, typesEnd] = this.#section('types', headerSize, 8);
    [this.#stringsStart, this.#stringsEnd] = this.#section('strings', headerSize, 16);
    this.#firstString = base === undefined ? 0 : base.#firstString + (base.#stringsEnd - base.#stringsStart);
    this.#firstId = base === undefined ? 1 : base.typeCount;
    if (this.#stringsEnd > this.#stringsStart && this.#bytes[this.#stringsEnd - 1] !== 0) {
      throw broken('its last string has no end');
    }
    this.#offsets = this.#scan(typesStart, typesEnd);
    this.typeCount = this.#firstId + this.#offsets.length;
  }

  /** Where in {@link bytes} each of this blob's own types begins, in the order of their ids. */
  get ownOffsets(): Uint32Array {
    return this.#offsets;
  }

  /** The record of a type. */
  type(id: number): BtfType {
    if (id === 0) return { id: 0, kind: 'void', name: '', size: 0, type: 0, length: 0, flag: false };
    const owner = this.#owner(id);
    if (owner !== this) return owner.type(id);
    const at = this.#at(id);
    const info = this.#view.getUint32(at + 4, true);
    const kind = BTF_KINDS[(info >>> 24) & 0x1f]!;
    const word = this.#view.getUint32(at + 8, true);
    const sized = hasSize(kind);
    return {
      id,
      kind,
      name: this.string(this.#view.getUint32(at, true)),
      size: sized ? word : 0,
      type: kind === 'array' ? this.#view.getUint32(at + 12, true) : sized ? 0 : word,
      length: kind === 'array' ? this.#view.getUint32(at + 20, true) : info & 0xffff,
      flag: info >>> 31 === 1,
    };
  }

  /** All types in the order of their ids, the base's first, without void. */
  *types(): IterableIterator<BtfType> {
    if (this.base) yield* this.base.types();
    yield* this.ownTypes();
  }

  /** Those of this blob alone. */
  *ownTypes(): IterableIterator<BtfType> {
    for (let id = this.#firstId; id < this.typeCount; id++) yield this.type(id);
  }

  /** The members of a struct or union, [] of anything else. */
  members(id: number): BtfMember[] {
    return this.#entries(id, ['struct', 'union'], (view, at, flag) => {
      const offset = view.getUint32(at + 8, true);
      return {
        name: this.string(view.getUint32(at, true)),
        type: view.getUint32(at + 4, true),
        bitOffset: flag ? offset & 0xffffff : offset,
        bitSize: flag ? offset >>> 24 : 0,
      };
    });
  }

  /**
   * The enumerators of an enum, [] of anything else. LLVM before 15 cuts the values of a 64-bit enum to 32 bits; such
   * an enum (kind `enum`, size 8) has none here, because a name with a wrong value is worse than no name.
   */
  enumerators(id: number): BtfEnumerator[] {
    const type = this.type(id);
    if (type.kind === 'enum') {
      if (type.size > 4) return [];
      const signed = this.#enumSigned(type);
      return this.#entries(id, ['enum'], (view, at) => ({
        name: this.string(view.getUint32(at, true)),
        value: signed ? view.getInt32(at + 4, true) : view.getUint32(at + 4, true),
      }));
    }
    return this.#entries(id, ['enum64'], (view, at, signed) => {
      const bits = (BigInt(view.getUint32(at + 8, true)) << 32n) | BigInt(view.getUint32(at + 4, true));
      const value = signed ? BigInt.asIntN(64, bits) : bits;
      return { name: this.string(view.getUint32(at, true)), value: type.size > 4 ? value : Number(value) };
    });
  }

  /** The parameters of a func_proto, [] of anything else. */
  parameters(id: number): BtfParameter[] {
    return this.#entries(id, ['func_proto'], (view, at) => ({
      name: this.string(view.getUint32(at, true)),
      type: view.getUint32(at + 4, true),
    }));
  }

  /** The variables of a datasec, [] of anything else. */
  sectionVariables(id: number): BtfSectionVariable[] {
    return this.#entries(id, ['datasec'], (view, at) => ({
      type: view.getUint32(at, true),
      offset: view.getUint32(at + 4, true),
      size: view.getUint32(at + 8, true),
    }));
  }

  /** The id of the first type with this name (of this kind, where one is given); 0 where there is none. */
  find(name: string, kind?: BtfKind): number {
    return this.base?.find(name, kind) || this.findOwn(name, kind);
  }

  /** As {@link find}, without the base's types: a module's function may bear the name of one of the kernel's. */
  findOwn(name: string, kind?: BtfKind): number {
    const wanted = kind === undefined ? -1 : BTF_KINDS.indexOf(kind);
    const bytes = Buffer.from(`${name}\0`);
    for (let i = 0; i < this.#offsets.length; i++) {
      const at = this.#offsets[i]!;
      if (wanted !== -1 && ((this.#view.getUint32(at + 4, true) >>> 24) & 0x1f) !== wanted) continue;
      if (this.#stringIs(this.#view.getUint32(at, true), bytes)) return this.#firstId + i;
    }
    return 0;
  }

  /** The id behind typedefs, const, volatile, restrict and type tags. */
  resolve(id: number): number {
    for (let depth = 0; depth <= MAX_DEPTH; depth++) {
      const type = this.type(id);
      if (!isModifier(type.kind)) return id;
      id = type.type;
    }
    throw broken(`type ${id} refers to itself, or through more than ${MAX_DEPTH} others`);
  }

  /** A type's name as C writes it, for messages: `struct task_struct *`, `u8 [16]`. */
  typeName(id: number, depth = 0): string {
    if (depth > MAX_DEPTH) return '…';
    const type = this.type(id);
    switch (type.kind) {
      case 'void':
        return 'void';
      case 'ptr': {
        const target = this.typeName(type.type, depth + 1);
        return target.endsWith('*') ? `${target}*` : `${target} *`;
      }
      case 'array':
        return `${this.typeName(type.type, depth + 1)}[${type.length}]`;
      case 'struct':
      case 'union':
      case 'enum':
        return `${type.kind} ${type.name || '(anonymous)'}`;
      case 'enum64':
        return `enum ${type.name || '(anonymous)'}`;
      case 'fwd':
        return `${type.flag ? 'union' : 'struct'} ${type.name}`;
      case 'const':
      case 'volatile':
      case 'restrict':
        return `${type.kind} ${this.typeName(type.type, depth + 1)}`;
      case 'type_tag':
        return this.typeName(type.type, depth + 1);
      case 'func_proto':
        return `${this.typeName(type.type, depth + 1)} (…)`;
      default:
        return type.name || type.kind;
    }
  }

  /**
   * How a type lies in memory. A struct known by a typedef has the typedef's name; a variable's layout is its type's.
   * @throws BCCError (`ERR_BCC_BTF`) where the type has no layout: void, a function, a struct that is only declared.
   */
  layout(id: number): Layout {
    return this.#layout(id, []).layout;
  }

  #layout(id: number, path: number[]): { layout: Layout; fields: number } {
    const known = this.#layouts.get(id);
    if (known !== undefined) return known;
    if (path.length > MAX_DEPTH) throw broken(`type ${path[0]} nests deeper than ${MAX_DEPTH} types`);
    if (path.includes(id)) throw broken(`type ${id} (${this.typeName(id)}) contains itself`);
    path.push(id);
    const made = this.#makeLayout(this.type(id), path);
    path.pop();
    if (made.fields > MAX_FIELDS) throw broken(`type ${id} (${this.typeName(id)}) has more than ${MAX_FIELDS} fields`);
    this.#layouts.set(id, made);
    return made;
  }

  #makeLayout(type: BtfType, path: number[]): { layout: Layout; fields: number } {
    switch (type.kind) {
      case 'int':
        return { layout: this.#intLayout(type), fields: 1 };
      case 'float':
        return { layout: floatLayout(type), fields: 1 };
      case 'ptr':
        return { layout: { kind: 'pointer', size: POINTER_SIZE, name: this.typeName(type.id) }, fields: 1 };
      case 'enum':
      case 'enum64':
        return { layout: this.#enumLayout(type), fields: 1 };
      case 'array': {
        const { layout: element, fields } = this.#layout(type.type, path);
        const size = element.size * type.length;
        if (size > 0xffffffff) throw broken(`array type ${type.id} is larger than 4 GiB`);
        // An array of things without size holds nothing that could be told apart, whatever its length.
        return { layout: { kind: 'array', element, length: element.size === 0 ? 0 : type.length, size }, fields };
      }
      case 'struct':
      case 'union':
        return this.#structLayout(type, path);
      case 'typedef': {
        const { layout, fields } = this.#layout(type.type, path);
        const float = Object.entries(FLOAT_TYPEDEFS).find(([, name]) => name === type.name)?.[0];
        if (float) return { layout: { kind: 'float', size: layout.size as 4 | 8, name: float }, fields };
        return { layout: { ...layout, name: type.name }, fields };
      }
      case 'const':
      case 'volatile':
      case 'restrict':
      case 'type_tag':
      case 'var':
        return this.#layout(type.type, path);
      case 'fwd':
        throw new BCCError('ERR_BCC_BTF', `${this.typeName(type.id)} is declared in the program but not defined`, {
          hint: 'include the header that defines it, or write its definition',
        });
      default:
        throw new BCCError(
          'ERR_BCC_BTF',
          `type ${type.id} (${this.typeName(type.id)}) is a ${type.kind}: it has no layout`,
        );
    }
  }

  #intLayout(type: BtfType): Layout {
    const { name, size } = type;
    if (![1, 2, 4, 8, 16].includes(size)) throw broken(`int type ${type.id} (${name}) has ${size} bytes`);
    const encoding = (this.#intWord(type.id) >>> 24) & 0x0f;
    if ((encoding & INT_BOOL) !== 0 || name === '_Bool') return { kind: 'bool', size, name };
    const layout: IntLayout = { kind: 'int', size, signed: (encoding & INT_SIGNED) !== 0, name };
    // Compilers never set BTF's own mark for characters, so that C's name must tell.
    if (name === 'char' && size === 1) layout.char = true;
    return layout;
  }

  #intWord(id: number): number {
    const owner = this.#owner(id);
    return owner.#view.getUint32(owner.#at(id) + 12, true);
  }

  #enumLayout(type: BtfType): EnumLayout {
    if (![1, 2, 4, 8].includes(type.size)) throw broken(`enum type ${type.id} (${type.name}) has ${type.size} bytes`);
    const values: Record<string, number | bigint> = Object.create(null);
    for (const { name, value } of this.enumerators(type.id)) values[name] = value;
    const signed = type.kind === 'enum64' ? type.flag : this.#enumSigned(type);
    return { kind: 'enum', size: type.size, signed, ...(type.name && { name: type.name }), values };
  }

  /**
   * LLVM 15 and pahole 1.24 began to mark signed enums. Where nothing in the blob bears that mark, nor a 64-bit enum,
   * the compiler may be older and wrote `-1` and `0xffffffff` alike. Then a value near below zero means a signed enum;
   * one far below, an unsigned enum with a flag in its highest bit.
   */
  #enumSigned(type: BtfType): boolean {
    if (type.flag) return true;
    const owner = this.#owner(type.id);
    if (type.size <= 4 && owner.#marksSignedEnums()) return false;
    const at = owner.#at(type.id) + 12;
    for (let i = 0; i < type.length; i++) {
      const value = owner.#view.getInt32(at + 8 * i + 4, true);
      if (value < 0 && value >= NEAREST_FLAG) return true;
    }
    return false;
  }

  #marksSignedEnums(): boolean {
    if (this.#signedEnumsMarked === undefined) {
      this.#signedEnumsMarked = this.#offsets.some((at) => {
        const info = this.#view.getUint32(at + 4, true);
        const kind = BTF_KINDS[(info >>> 24) & 0x1f];
        return kind === 'enum64' || (kind === 'enum' && info >>> 31 === 1);
      });
    }
    return this.#signedEnumsMarked;
  }

  #structLayout(type: BtfType, path: number[]): { layout: StructLayout; fields: number } {
    const fields: FieldLayout[] = [];
    let count = 1;
    for (const member of this.members(type.id)) {
      const inner = this.#layout(member.type, path);
      count += inner.fields;
      if (count > MAX_FIELDS) break;
      const field = this.#field(type, member, inner.layout);
      if (field !== undefined) fields.push(field);
    }
    const layout: StructLayout = { kind: type.kind as 'struct' | 'union', size: type.size, fields };
    if (type.name !== '') layout.name = type.name;
    return { layout, fields: count };
  }

  /** Undefined for unnamed bits, which are padding. */
  #field(owner: BtfType, member: BtfMember, type: Layout): FieldLayout | undefined {
    let { bitOffset, bitSize } = member;
    const where = () => `member ${member.name || '(anonymous)'} of ${this.typeName(owner.id)}`;
    if (!owner.flag && (type.kind === 'int' || type.kind === 'bool')) {
      // Before kind_flag, a bitfield was an int type of its own with its width and place inside.
      const word = this.#intWord(this.resolve(member.type));
      const width = word & 0xff;
      const shift = (word >>> 16) & 0xff;
      if (width !== type.size * 8 || shift !== 0 || bitOffset % 8 !== 0) {
        bitOffset += shift;
        bitSize = width;
      }
    }
    if (bitSize > 0 && (bitSize !== type.size * 8 || bitOffset % 8 !== 0)) {
      if (type.kind !== 'int' && type.kind !== 'bool' && type.kind !== 'enum')
        throw broken(`${where()} is a bitfield of ${type.kind}`);
      if (bitSize > type.size * 8) throw broken(`${where()} has ${bitSize} bits of a type of ${type.size} bytes`);
      if (bitOffset + bitSize > owner.size * 8) throw broken(`${where()} ends beyond its ${owner.size} bytes`);
      if (member.name === '') return undefined;
      return {
        name: member.name,
        offset: bitOffset >>> 3,
        type,
        bits: { offset: bitOffset & 7, width: bitSize },
      };
    }
    if (bitOffset % 8 !== 0) throw broken(`${where()} begins within a byte and is no bitfield`);
    const offset = bitOffset / 8;
    if (offset + type.size > owner.size) throw broken(`${where()} ends beyond its ${owner.size} bytes`);
    if (member.name === '' && type.kind !== 'struct' && type.kind !== 'union') return undefined;
    return { name: member.name, offset, type };
  }

  #section(what: string, headerSize: number, at: number): [number, number] {
    const start = headerSize + this.#view.getUint32(at, true);
    const end = start + this.#view.getUint32(at + 4, true);
    if (end > this.#bytes.length) throw broken(`its ${what} end at byte ${end} of ${this.#bytes.length}`);
    return [start, end];
  }

  #scan(start: number, end: number): Uint32Array {
    const offsets: number[] = [];
    let at = start;
    while (at < end) {
      if (end - at < 12) throw broken(`type ${this.#firstId + offsets.length} is cut off`);
      const info = this.#view.getUint32(at + 4, true);
      const kind = BTF_KINDS[(info >>> 24) & 0x1f];
      if (kind === undefined || kind === 'void') {
        throw broken(`type ${this.#firstId + offsets.length} is of unknown kind ${(info >>> 24) & 0x1f}`);
      }
      offsets.push(at);
      at += 12 + (TAIL_BYTES[kind] ?? 0) + (ENTRY_BYTES[kind] ?? 0) * (info & 0xffff);
      if (at > end) throw broken(`type ${this.#firstId + offsets.length - 1} (${kind}) is cut off`);
    }
    return Uint32Array.from(offsets);
  }

  #entries<T>(id: number, kinds: readonly BtfKind[], read: (view: DataView, at: number, flag: boolean) => T): T[] {
    const type = this.type(id);
    if (!kinds.includes(type.kind)) return [];
    const owner = this.#owner(id);
    const at = owner.#at(id) + 12;
    const step = ENTRY_BYTES[type.kind]!;
    return Array.from({ length: type.length }, (_, i) => read(owner.#view, at + i * step, type.flag));
  }

  #owner(id: number): Btf {
    if (!Number.isInteger(id) || id < 0 || id >= this.typeCount) {
      throw broken(`there is no type ${id}: ids end at ${this.typeCount - 1}`);
    }
    let owner: Btf = this;
    while (id < owner.#firstId && owner.base !== undefined) owner = owner.base;
    return owner;
  }

  #at(id: number): number {
    return this.#offsets[id - this.#firstId]!;
  }

  /** The string that a name or a line refers to by its offset; '' at 0. */
  string(offset: number): string {
    if (offset === 0) return '';
    const [owner, start] = this.#stringPlace(offset);
    return owner.#bytes.toString('utf8', start, owner.#bytes.indexOf(0, start));
  }

  #stringIs(offset: number, wanted: Buffer): boolean {
    if (offset === 0) return wanted.length === 1;
    const [owner, start] = this.#stringPlace(offset);
    if (owner.#bytes[start] !== wanted[0] || start + wanted.length > owner.#stringsEnd) return false;
    return owner.#bytes.compare(wanted, 0, wanted.length, start, start + wanted.length) === 0;
  }

  #stringPlace(offset: number): [Btf, number] {
    let owner: Btf = this;
    while (offset < owner.#firstString && owner.base !== undefined) owner = owner.base;
    const start = owner.#stringsStart + offset - owner.#firstString;
    if (start >= owner.#stringsEnd) throw broken(`a name stands at ${offset}, beyond its strings`);
    return [owner, start];
  }
}

function hasSize(kind: BtfKind): boolean {
  return (
    kind === 'int' ||
    kind === 'enum' ||
    kind === 'struct' ||
    kind === 'union' ||
    kind === 'datasec' ||
    kind === 'float' ||
    kind === 'enum64'
  );
}

function isModifier(kind: BtfKind): boolean {
  return kind === 'typedef' || kind === 'const' || kind === 'volatile' || kind === 'restrict' || kind === 'type_tag';
}

/** `long double` and half floats have no number in JavaScript that holds them: they are bytes. */
function floatLayout(type: BtfType): Layout {
  const { name, size } = type;
  if (size === 4 || size === 8) return { kind: 'float', size, name };
  return { kind: 'array', element: { kind: 'int', size: 1, signed: false }, length: size, size, name };
}

function broken(what: string): BCCError {
  return new BCCError('ERR_BCC_BTF', `the BTF cannot be read: ${what}`);
}
