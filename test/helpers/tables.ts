import { BPFMapType } from '../../src/constants';
import type { FieldLayout, IntLayout, Layout, StructLayout } from '../../src/layout/layout';
import { type NativeFd, type NativeMapAttributes, runtime } from '../../src/native';
import { type AnyTable, createTable, type TableOptions } from '../../src/table/factory';
import { StandaloneHost } from '../../src/table/host';
import type { TableSpec } from '../../src/table/spec';

/* Tables made without a compiler: a map and layouts written down by hand. */

const int = (size: number, signed: boolean): IntLayout => ({ kind: 'int', size, signed });

export const U8 = int(1, false);
export const U16 = int(2, false);
export const U32 = int(4, false);
export const S32 = int(4, true);
export const U64 = int(8, false);
export const S64 = int(8, true);

export function arrayOf(element: Layout, length: number): Layout {
  return { kind: 'array', element, length, size: element.size * length };
}

export function chars(length: number): Layout {
  return arrayOf({ kind: 'int', size: 1, signed: true, char: true }, length);
}

/** A struct as C lays it out: each field aligned to its own size (8 at most), the whole to the largest. */
export function struct(types: Record<string, Layout>): StructLayout {
  const fields: FieldLayout[] = [];
  let end = 0;
  let largest = 1;
  for (const [name, type] of Object.entries(types)) {
    const alignment = alignmentOf(type);
    largest = Math.max(largest, alignment);
    end = Math.ceil(end / alignment) * alignment;
    fields.push({ name, offset: end, type });
    end += type.size;
  }
  return { kind: 'struct', size: Math.ceil(end / largest) * largest, fields };
}

function alignmentOf(type: Layout): number {
  if (type.kind === 'array') return alignmentOf(type.element);
  if (type.kind === 'struct' || type.kind === 'union')
    return Math.max(...type.fields.map((field) => alignmentOf(field.type)));
  return Math.min(type.size, 8);
}

export interface TestTable extends TableOptions, Partial<Pick<TableSpec, 'int64' | 'inner' | 'host' | 'name'>> {
  type: keyof typeof BPFMapType;
  key?: Layout;
  leaf?: Layout;
  maxEntries?: number;
  flags?: number;
  /** What the kernel shall know besides: an inner map, BTF. */
  attributes?: Partial<NativeMapAttributes>;
}

const opened: AnyTable[] = [];

/** A table over a new map, closed after the test file. */
export function makeTable({ type, key, leaf, ...options }: TestTable): AnyTable {
  const keyLayout = key ?? arrayOf(U8, 0);
  const leafLayout = leaf ?? arrayOf(U8, 0);
  const facts = {
    type: BPFMapType[type],
    name: options.name ?? 'tested',
    keySize: keyLayout.size,
    maxEntries: options.maxEntries ?? 16,
    flags: options.flags ?? 0,
  };
  const fd = runtime().createMap({ ...facts, valueSize: leafLayout.size, ...options.attributes });
  const table = createTable(
    {
      ...facts,
      leafSize: leafLayout.size,
      fd,
      keyLayout,
      leafLayout,
      events: [],
      inner: options.inner,
      int64: options.int64 ?? 'bigint',
      host: options.host ?? new StandaloneHost(fd),
    },
    options,
  );
  opened.push(table);
  return table;
}

afterAll(() => {
  for (const table of opened.splice(0)) table.close();
});

/** BTF of an int (type 1) and a u64 (type 2), which storage maps must have. */
export function integerBtf(): NativeFd {
  const strings = Buffer.from('\0int\0u64\0');
  const INT_KIND = 1 << 24;
  const SIGNED = 1 << 24;
  const types = Buffer.from(Uint32Array.of(1, INT_KIND, 4, SIGNED | 32, 5, INT_KIND, 8, 64).buffer);
  const header = Buffer.alloc(24);
  header.writeUInt16LE(0xeb9f, 0);
  header.writeUInt8(1, 2);
  header.writeUInt32LE(24, 4);
  header.writeUInt32LE(types.length, 12);
  header.writeUInt32LE(types.length, 16);
  header.writeUInt32LE(strings.length, 20);
  return runtime().loadBtf(Buffer.concat([header, types, strings]));
}
