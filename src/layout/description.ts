import { BCCError } from '../errors';
import type { ArrayLayout, FieldLayout, IntLayout, Layout, StructLayout } from './layout';

/**
 * C's type names as clang prints them in BCC's descriptions. BCC compiles for BPF, where `long` has 8 bytes and
 * `long double` is a double; pointers are described as `unsigned long long`.
 */
const C_TYPES: Readonly<Record<string, Layout>> = {
  _Bool: { kind: 'bool', size: 1 },
  bool: { kind: 'bool', size: 1 },
  char: { kind: 'int', size: 1, signed: true, char: true },
  'signed char': { kind: 'int', size: 1, signed: true },
  'unsigned char': { kind: 'int', size: 1, signed: false },
  short: { kind: 'int', size: 2, signed: true },
  'unsigned short': { kind: 'int', size: 2, signed: false },
  int: { kind: 'int', size: 4, signed: true },
  'unsigned int': { kind: 'int', size: 4, signed: false },
  long: { kind: 'int', size: 8, signed: true },
  'unsigned long': { kind: 'int', size: 8, signed: false },
  'long long': { kind: 'int', size: 8, signed: true },
  'unsigned long long': { kind: 'int', size: 8, signed: false },
  __int128: { kind: 'int', size: 16, signed: true },
  'unsigned __int128': { kind: 'int', size: 16, signed: false },
  wchar_t: { kind: 'int', size: 4, signed: true },
  char16_t: { kind: 'int', size: 2, signed: false },
  char32_t: { kind: 'int', size: 4, signed: false },
  float: { kind: 'float', size: 4 },
  double: { kind: 'float', size: 8 },
  'long double': { kind: 'float', size: 8 },
};

/** The typedefs that a kernel header brings, which event fields keep. */
const TYPEDEFS: Readonly<Record<string, string>> = {
  u8: 'unsigned char',
  s8: 'signed char',
  u16: 'unsigned short',
  s16: 'short',
  u32: 'unsigned int',
  s32: 'int',
  u64: 'unsigned long long',
  s64: 'long long',
  uint8_t: 'unsigned char',
  int8_t: 'signed char',
  uint16_t: 'unsigned short',
  int16_t: 'short',
  uint32_t: 'unsigned int',
  int32_t: 'int',
  uint64_t: 'unsigned long long',
  int64_t: 'long long',
  __be16: 'unsigned short',
  __be32: 'unsigned int',
  __be64: 'unsigned long long',
  pid_t: 'int',
  uid_t: 'unsigned int',
  gid_t: 'unsigned int',
  dev_t: 'unsigned int',
  size_t: 'unsigned long',
  ssize_t: 'long',
  uintptr_t: 'unsigned long',
  loff_t: 'long long',
  sector_t: 'unsigned long long',
  unsigned: 'unsigned int',
};

/** BCC's own padding in a described struct: bytes without a name in the program. */
const PADDING = /^__pad_(\d+|end)$/;

type Described = string | [name: string, fields: DescribedField[], kind?: string];
type DescribedField = [name: string, type: Described, extra?: [number] | number] | [string, DescribedField[], string];

/**
 * The layout of a table's key or leaf from BCC's JSON (`bpf_table_key_desc`), the fallback where there is no BTF.
 *
 * The description says less than C: enums are integers, only the first dimension of an array is told, a packed struct
 * with bitfields looks like any other. Where what it says does not come to `size` bytes the layout is the plain bytes
 * (`u8[size]`): whoever reads them sees that they are not decoded, and can give `keyType` or `leafType`.
 */
export function layoutFromDescription(json: string, size: number): Layout {
  let layout: Layout | undefined;
  try {
    layout = describedLayout(JSON.parse(json) as Described, 0).layout;
  } catch (error) {
    if (!(error instanceof SyntaxError) && !(error instanceof Undescribed)) throw error;
  }
  return layout !== undefined && layout.size === size ? layout : rawBytes(size);
}

/**
 * The layout of an event from the `name#type` texts of BCC (`bpf_perf_event_field`), the fallback where there is no
 * BTF; undefined where a type is not told by its text (a nested struct, a typedef of the program's own) or where it
 * does not come to `size` bytes. The texts do not tell a bitfield from a whole integer.
 */
export function layoutFromEventFields(fields: readonly string[], size?: number): Layout | undefined {
  const builder = new StructBuilder();
  for (const text of fields) {
    const cut = text.indexOf('#');
    const type = cut > 0 ? layoutFromText(text.slice(cut + 1)) : undefined;
    if (type === undefined) return undefined;
    builder.add(text.slice(0, cut), type.layout, type.alignment);
  }
  const layout = builder.finish();
  return fields.length === 0 || (size !== undefined && size !== layout.size) ? undefined : layout;
}

/** What the JSON says cannot be laid out. */
class Undescribed extends BCCError {
  constructor(what: string) {
    super('ERR_BCC_LAYOUT', `BCC's description cannot be laid out: ${what}`);
  }
}

interface Placed {
  layout: Layout;
  alignment: number;
}

const MAX_DEPTH = 64;

function describedLayout(described: Described, depth: number): Placed {
  if (depth > MAX_DEPTH) throw new Undescribed('it nests too deep');
  if (typeof described === 'string') return scalar(described);
  if (!Array.isArray(described) || !Array.isArray(described[1])) throw new Undescribed(JSON.stringify(described));
  const [name, fields, kind] = described;
  const builder = new StructBuilder(kind === 'union' ? 'union' : 'struct', kind === 'struct_packed');
  for (const field of fields) addField(builder, field, depth + 1);
  const layout = builder.finish();
  if (typeof name === 'string' && name !== '') layout.name = name;
  return { layout, alignment: builder.alignment };
}

function addField(builder: StructBuilder, field: DescribedField, depth: number): void {
  if (!Array.isArray(field) || typeof field[0] !== 'string') throw new Undescribed(JSON.stringify(field));
  const [name, type, extra] = field;
  if (typeof extra === 'string') {
    // A struct or union without a field name of its own: its members are the outer struct's.
    const { layout, alignment } = describedLayout(field as Described, depth);
    builder.add('', layout, alignment);
    return;
  }
  const { layout, alignment } = describedLayout(type as Described, depth);
  if (typeof extra === 'number') builder.addBits(name, layout, alignment, extra);
  else if (extra === undefined) builder.add(name, layout, alignment);
  else if (PADDING.test(name) && type === 'char') builder.skip(length(extra));
  else builder.add(name, arrayOf(layout, length(extra)), alignment);
}

function length(extra: [number]): number {
  const [count] = extra;
  if (!Number.isInteger(count) || count < 0) throw new Undescribed(`an array of ${count}`);
  return count;
}

function scalar(name: string): Placed {
  const layout = Object.hasOwn(C_TYPES, name) ? C_TYPES[name]! : undefined;
  if (layout === undefined) throw new Undescribed(`the type ${name}`);
  return { layout: { ...layout, name }, alignment: layout.size };
}

function layoutFromText(text: string): Placed | undefined {
  const dimensions: number[] = [];
  let rest = text.replace(/\b(const|volatile|restrict)\b/g, '').trim();
  for (let match = /^(.*)\[(\d+)\]$/.exec(rest); match !== null; match = /^(.*)\[(\d+)\]$/.exec(rest)) {
    dimensions.push(Number(match[2]));
    rest = match[1]!.trim();
  }
  const placed = scalarFromText(rest.replace(/\s+/g, ' '));
  if (placed === undefined) return undefined;
  return { ...placed, layout: dimensions.reduce<Layout>(arrayOf, placed.layout) };
}

function scalarFromText(name: string): Placed | undefined {
  if (name.endsWith('*')) return { layout: { kind: 'pointer', size: 8, name }, alignment: 8 };
  if (/^enum \w+$/.test(name)) {
    return { layout: { kind: 'enum', size: 4, signed: true, name: name.slice(5), values: {} }, alignment: 4 };
  }
  const plain = name.replace(/^__(?=[us]\d)/, '');
  const spelled = Object.hasOwn(TYPEDEFS, plain) ? TYPEDEFS[plain]! : name;
  if (!Object.hasOwn(C_TYPES, spelled)) return undefined;
  const { layout, alignment } = scalar(spelled);
  return { layout: { ...layout, name } as IntLayout, alignment };
}

function arrayOf(element: Layout, count: number): ArrayLayout {
  return { kind: 'array', element, length: count, size: element.size * count };
}

function rawBytes(size: number): ArrayLayout {
  return arrayOf({ kind: 'int', size: 1, signed: false, name: 'unsigned char' }, size);
}

/**
 * Places fields one after another as C does on every machine that runs BPF. A packed struct has its padding described;
 * its own alignment is that of its fields all the same, unless they are found where that could not be.
 */
class StructBuilder {
  readonly #fields: FieldLayout[] = [];
  #alignment = 1;
  #misplaced = false;
  #bit = 0;
  #bits = 0;

  constructor(
    readonly kind: 'struct' | 'union' = 'struct',
    readonly packed = false,
  ) {}

  get alignment(): number {
    return this.#misplaced || (this.#bits / 8) % this.#alignment !== 0 ? 1 : this.#alignment;
  }

  add(name: string, type: Layout, alignment: number): void {
    this.#align(alignment);
    this.#fields.push({ name, offset: this.#bit / 8, type });
    this.#advance(type.size * 8);
  }

  /** A bitfield lies within one unit of its type; without a name it pads, and with width 0 it ends the unit. */
  addBits(name: string, type: Layout, alignment: number, width: number): void {
    const unit = type.size * 8;
    if (!Number.isInteger(width) || width < 0 || width > unit) throw new Undescribed(`a bitfield of ${width} bits`);
    if (width === 0 || (this.#bit % unit) + width > unit) this.#bit = roundUp(this.#bit, unit);
    if (name !== '') {
      this.#alignment = Math.max(this.#alignment, alignment);
      this.#fields.push({ name, offset: this.#bit >>> 3, type, bits: { offset: this.#bit & 7, width } });
    }
    this.#advance(width);
  }

  skip(bytes: number): void {
    this.#bit = roundUp(this.#bit, 8);
    this.#advance(bytes * 8);
  }

  finish(): StructLayout {
    this.#bits = roundUp(this.#bits, this.packed ? 8 : this.#alignment * 8);
    return { kind: this.kind, size: this.#bits / 8, fields: this.#fields };
  }

  #align(alignment: number): void {
    this.#alignment = Math.max(this.#alignment, alignment);
    this.#bit = roundUp(this.#bit, this.packed ? 8 : alignment * 8);
    if (this.#bit % (alignment * 8) !== 0) this.#misplaced = true;
  }

  #advance(bits: number): void {
    this.#bits = Math.max(this.#bits, this.#bit + bits);
    this.#bit = this.kind === 'union' ? 0 : this.#bit + bits;
  }
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
