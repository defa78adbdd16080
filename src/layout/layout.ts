/**
 * How a C type lies in memory. A layout says nothing about where it was learnt (BTF, BCC's descriptions, ref's types)
 * and everything that decoding needs: sizes and offsets in bytes, bit positions in bits, little-endian.
 */
export type Layout =
  | IntLayout
  | FloatLayout
  | BoolLayout
  | EnumLayout
  | PointerLayout
  | ArrayLayout
  | StructLayout
  | CustomLayout;

export interface IntLayout {
  kind: 'int';
  /** 1, 2, 4, 8 or 16. */
  size: number;
  signed: boolean;
  /** True for C's `char`: arrays of it are strings. */
  char?: boolean;
  /** The C name where known: `unsigned int`, `u32`, … */
  name?: string;
}

export interface FloatLayout {
  kind: 'float';
  /** 4 or 8 (16 is decoded as bytes). */
  size: number;
  name?: string;
}

export interface BoolLayout {
  kind: 'bool';
  size: number;
  name?: string;
}

export interface EnumLayout {
  kind: 'enum';
  size: number;
  signed: boolean;
  name?: string;
  /** Enumerator names to values; bigints where `size` is 8. */
  values: Readonly<Record<string, number | bigint>>;
}

/** Decoded as an address: a bigint. */
export interface PointerLayout {
  kind: 'pointer';
  size: number;
  name?: string;
}

/** `char` elements make a string, `u8` a Uint8Array, everything else an array; `length` 0 is a flexible array. */
export interface ArrayLayout {
  kind: 'array';
  element: Layout;
  length: number;
  size: number;
  name?: string;
}

export interface StructLayout {
  kind: 'struct' | 'union';
  size: number;
  fields: readonly FieldLayout[];
  name?: string;
}

export interface FieldLayout {
  /** '' for an anonymous struct or union, whose members belong to the struct around it. */
  name: string;
  /** In bytes from the start of the struct; for a bitfield, of the byte that holds its first bit. */
  offset: number;
  type: Layout;
  /** Bitfields only: the first bit counted from `offset`, and the width. */
  bits?: { offset: number; width: number };
}

/** A type that decodes itself: ref's protocol. */
export interface CustomLayout {
  kind: 'custom';
  size: number;
  name?: string;
  get(buffer: Buffer, offset: number): unknown;
  set(buffer: Buffer, offset: number, value: unknown): void;
}
