import { inspect } from 'node:util';
import { BCCError, didYouMean } from '../errors';
import { textBytes } from './bytes';
import type { ArrayLayout, FieldLayout, Layout, StructLayout } from './layout';

/** `0 to 255`: what an integer of so many bits holds. */
export function integerRange(bits: number, signed: boolean): [min: bigint, max: bigint] {
  return signed ? [-(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n] : [0n, (1n << BigInt(bits)) - 1n];
}

/** True for C's `char`: arrays of it are text. */
export function isChar(layout: Layout): boolean {
  return layout.kind === 'int' && layout.size === 1 && layout.char === true;
}

/** True for `unsigned char`: arrays of it are bytes. */
export function isByte(layout: Layout): boolean {
  return layout.kind === 'int' && layout.size === 1 && !layout.signed && !layout.char;
}

/** What a message calls a value that has no other name. */
export function layoutName(layout: Layout): string {
  return layout.name || layout.kind;
}

/** The names under which a struct's members are reached: those of anonymous members belong to it. */
export function memberNames(layout: StructLayout): string[] {
  return layout.fields.flatMap((field) => fieldNames(field));
}

/** A field's own name, or an anonymous member's fields'. */
export function fieldNames(field: FieldLayout): string[] {
  return isAnonymous(field) ? memberNames(field.type as StructLayout) : field.name === '' ? [] : [field.name];
}

export function isAnonymous(field: FieldLayout): boolean {
  return field.name === '' && (field.type.kind === 'struct' || field.type.kind === 'union');
}

/**
 * Throws the TypeError or RangeError that says why `value` cannot be encoded: the field's path, the value, and what is
 * allowed there. Returns where it finds nothing wrong.
 */
export function explain(layout: Layout, value: unknown, path = layoutName(layout)): void {
  switch (layout.kind) {
    case 'int':
    case 'enum':
      explainInteger(value, path, layout.size * 8, layout.signed, cName(layout));
      break;
    case 'pointer':
      explainInteger(value, path, 64, false, 'a pointer');
      break;
    case 'bool':
      explainBool(value, path);
      break;
    case 'float':
      if (typeof value !== 'number') throw wrongType(path, 'a number', value);
      if (layout.size === 4 && Number.isFinite(value) && !Number.isFinite(Math.fround(value))) {
        throw new RangeError(`${path}: ${value} is out of range for a float (±3.4028235e38)`);
      }
      break;
    case 'array':
      explainArray(layout, value, path);
      break;
    case 'struct':
    case 'union':
      explainStruct(layout, value, path);
      break;
    case 'custom':
      if (value === undefined) throw wrongType(path, `a value of ${layoutName(layout)}`, value);
  }
}

/** The BCCError for bytes that are fewer than their type needs. */
export function tooShort(layout: Layout, available: number): BCCError {
  return new BCCError(
    'ERR_BCC_DATA_SIZE',
    `${layoutName(layout)} has ${layout.size} bytes, and ${Math.max(0, available)} came`,
    {
      hint: 'check that the program sends this very struct, with its whole size: sizeof(it)',
    },
  );
}

/** The RangeError for a 64-bit integer that `int64: 'number'` cannot give; `position` counts from the layout's start. */
export function unsafe(layout: Layout, position: number, value: bigint): RangeError {
  return new RangeError(
    `${layoutName(layout)}${pathTo(layout, position) ?? ''}: ${value} is not a safe integer (at most 2^53 - 1); read it with int64: 'bigint'`,
  );
}

/** The path to the 64-bit integer at a byte; undefined where there is none. */
function pathTo(layout: Layout, position: number): string | undefined {
  switch (layout.kind) {
    case 'int':
    case 'enum':
      return layout.size === 8 && position === 0 ? '' : undefined;
    case 'array': {
      if (layout.element.size === 0) return undefined;
      const index = Math.floor(position / layout.element.size);
      if (layout.length > 0 && index >= layout.length) return undefined;
      const rest = pathTo(layout.element, position % layout.element.size);
      return rest === undefined ? undefined : `[${index}]${rest}`;
    }
    case 'struct':
    case 'union':
      for (const { name, offset, type, bits } of layout.fields) {
        if (position < offset) continue;
        const rest = bits === undefined ? pathTo(type, position - offset) : wideBits(bits.width, position - offset);
        if (rest !== undefined) return name === '' ? rest : `.${name}${rest}`;
      }
      return undefined;
    default:
      return undefined;
  }
}

function wideBits(width: number, position: number): string | undefined {
  return width > 53 && position === 0 ? '' : undefined;
}

/** An array without length takes what follows its struct; it may be missing from a value. */
function isFlexible(type: Layout): boolean {
  return type.kind === 'array' && type.length === 0;
}

function explainBool(value: unknown, path: string): void {
  if (typeof value === 'boolean' || value === 0 || value === 1 || value === 0n || value === 1n) return;
  if (typeof value === 'number' || typeof value === 'bigint') {
    throw new RangeError(`${path}: ${show(value)} is out of range for a bool (true, false, 1 or 0)`);
  }
  throw wrongType(path, 'true or false', value);
}

function explainInteger(value: unknown, path: string, bits: number, signed: boolean, type: string): void {
  if (typeof value === 'number') {
    if (!Number.isInteger(value)) throw new RangeError(`${path}: ${value} is not an integer`);
    if (bits > 53 && !Number.isSafeInteger(value)) {
      throw new RangeError(`${path}: ${value} is not a safe integer (at most 2^53 - 1); give a bigint`);
    }
  } else if (typeof value !== 'bigint') {
    throw wrongType(path, bits > 32 ? 'a bigint or a number' : 'a number', value);
  }
  const [min, max] = integerRange(bits, signed);
  if (value < min || value > max) {
    throw new RangeError(`${path}: ${value} is out of range for ${type} (${min} to ${max})`);
  }
}

function explainArray(layout: ArrayLayout, value: unknown, path: string): void {
  const { element, length, size } = layout;
  if (value instanceof Uint8Array) {
    if (value.length === size) return;
    const what = isByte(element) ? `${size} bytes` : `the ${size} bytes of the whole array, or its elements`;
    throw new RangeError(`${path}: expected ${what}, got ${value.length} bytes`);
  }
  if (isChar(element)) {
    if (typeof value !== 'string') throw wrongType(path, `a string or ${size} bytes`, value);
    const bytes = textBytes(value).length;
    if (bytes > length)
      throw new RangeError(`${path}: ${show(value)} has ${bytes} bytes, and char[${length}] holds ${length}`);
    return;
  }
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) throw wrongType(path, `an array of ${length}`, value);
  const list = value as unknown[];
  if (list.length !== length) throw new RangeError(`${path}: expected ${length} elements, got ${list.length}`);
  for (let i = 0; i < length; i++) explain(element, list[i], `${path}[${i}]`);
}

function explainStruct(layout: StructLayout, value: unknown, path: string): void {
  if (value instanceof Uint8Array) {
    if (value.length === layout.size) return;
    throw new RangeError(`${path}: expected the ${layout.size} bytes of the whole ${layout.kind}, got ${value.length}`);
  }
  const names = memberNames(layout);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrongType(path, `an object with the fields ${names.join(', ')}`, value);
  }
  const known = new Set(names);
  for (const name of Object.keys(value)) {
    if (known.has(name)) continue;
    const near = didYouMean(name, names);
    throw new TypeError(`${path}: there is no field ${show(name)}; ${near ?? `its fields are ${names.join(', ')}`}`);
  }
  const missing = missingFields(layout, value as Record<string, unknown>);
  if (missing.length > 0) throw new TypeError(`${path}: ${missing.join(', ')} missing`);
  explainFields(layout, value as Record<string, unknown>, path);
}

function explainFields(layout: StructLayout, value: Record<string, unknown>, path: string): void {
  const given = layout.kind === 'union' ? givenFields(layout, value) : layout.fields;
  for (const field of given) {
    if (isAnonymous(field)) {
      explainFields(field.type as StructLayout, value, path);
    } else if (field.name !== '') {
      const item = value[field.name];
      if (item === undefined && isFlexible(field.type)) continue;
      const at = `${path}.${field.name}`;
      if (field.bits === undefined || field.type.kind === 'bool') {
        explain(field.type, item, at);
      } else {
        const { width } = field.bits;
        const signed = 'signed' in field.type && field.type.signed;
        explainInteger(item, at, width, signed, `a bitfield of ${width} ${width === 1 ? 'bit' : 'bits'}`);
      }
    }
  }
  if (layout.kind === 'union' && given.length > 1) {
    const names = given.map((field) => fieldNames(field).join(' and '));
    throw new TypeError(`${path}: ${names.join(', ')} share their bytes and disagree; give one of them`);
  }
}

function givenFields(layout: StructLayout, value: Record<string, unknown>): readonly FieldLayout[] {
  return layout.fields.filter((field) => fieldNames(field).some((name) => value[name] !== undefined));
}

function missingFields(layout: StructLayout, value: Record<string, unknown>): string[] {
  if (layout.kind === 'union') {
    const given = givenFields(layout, value);
    const needed = layout.fields.filter((field) => !isFlexible(field.type) && fieldNames(field).length > 0);
    if (given.length === 0 && needed.length > 0) {
      return [`one of (${needed.map((field) => fieldNames(field).join(' and ')).join(', or ')})`];
    }
    return given.flatMap((field) => (isAnonymous(field) ? missingFields(field.type as StructLayout, value) : []));
  }
  return layout.fields.flatMap((field) => {
    if (isAnonymous(field)) return missingFields(field.type as StructLayout, value);
    return field.name === '' || value[field.name] !== undefined || isFlexible(field.type) ? [] : [field.name];
  });
}

function cName(layout: Layout): string {
  if (layout.kind === 'enum') return `enum ${layout.name ?? ''}`.trim();
  if (layout.name) return layout.name;
  return layout.kind === 'int' ? `${layout.signed ? 's' : 'u'}${layout.size * 8}` : layout.kind;
}

function wrongType(path: string, expected: string, value: unknown): TypeError {
  return new TypeError(`${path}: expected ${expected}, got ${show(value)}`);
}

function show(value: unknown): string {
  const text = inspect(value, {
    depth: 1,
    breakLength: Number.POSITIVE_INFINITY,
    maxStringLength: 60,
    maxArrayLength: 6,
  });
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}
