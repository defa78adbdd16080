import { BPFMapType } from '../constants';
import type { FieldLayout, Layout } from '../layout/layout';
import { runtime } from '../native';
import type { TableSpec } from './spec';

/**
 * How a table's keys and leaves are laid out, as text in C's manner; with sizes, `[offset +size]` in bytes before each
 * field of the outer structs. The form is that of BCC's Python module, whose bitfields tell `[offset,width +bit bit]`.
 */
export function decodeTable(
  spec: Pick<TableSpec, 'name' | 'type' | 'fd' | 'keyLayout' | 'leafLayout'>,
  sizeinfo: boolean,
): string {
  const type = Object.entries(BPFMapType).find(([, number]) => number === spec.type)?.[0] ?? String(spec.type);
  const { id } = runtime().mapInfo(spec.fd.fd);
  return [
    `Layout of BPF map ${spec.name} (type ${type}, FD ${spec.fd.fd}, ID ${id}):`,
    ...typeLines(spec.keyLayout, 'key', sizeinfo),
    ...typeLines(spec.leafLayout, 'value', sizeinfo),
  ].join('\n');
}

function typeLines(layout: Layout, name: string, sizeinfo: boolean): string[] {
  if (layout.kind !== 'struct' && layout.kind !== 'union') return [`  ${cName(layout)} ${name};`];
  return [`  ${layout.kind} {`, ...fieldLines(layout.fields, '    ', sizeinfo), `  } ${name};`];
}

function fieldLines(fields: readonly FieldLayout[], indent: string, sizeinfo: boolean): string[] {
  let anonymous = 0;
  return fields.flatMap(({ name: given, offset, type, bits }) => {
    const name = given === '' ? `__anon${anonymous++}` : given;
    if (bits) {
      const size = sizeinfo ? `[${offset},${bits.width} +${bits.offset} bit]` : '';
      return [`${indent}${size}${cName(type)} ${name}:${bits.width};`];
    }
    const size = sizeinfo ? `[${offset} +${type.size}] ` : '';
    if (type.kind !== 'struct' && type.kind !== 'union') return [`${indent}${size}${cName(type)} ${name};`];
    return [`${indent}${size}${type.kind} {`, ...fieldLines(type.fields, `${indent}  `, false), `${indent}} ${name};`];
  });
}

const INTEGERS: Readonly<Record<number, string>> = { 1: 'char', 2: 'short', 4: 'int', 8: 'long long', 16: '__int128' };

/** The type as C's own types name it: typedefs and enums are what they stand for. */
function cName(layout: Layout): string {
  switch (layout.kind) {
    case 'int':
      return `${layout.signed || layout.char ? '' : 'unsigned '}${INTEGERS[layout.size]}`;
    case 'enum':
      return `${layout.signed ? '' : 'unsigned '}${INTEGERS[layout.size]}`;
    case 'bool':
      return '_Bool';
    case 'float':
      return layout.size === 4 ? 'float' : 'double';
    case 'pointer':
      return 'unsigned long long';
    case 'array':
      return `${cName(layout.element)}[${layout.length}]`;
    default:
      return layout.name ?? layout.kind;
  }
}
