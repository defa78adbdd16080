import { inspect } from 'node:util';
import type { CustomLayout, PointerLayout } from './layout';

/** A type of ref's protocol: ref-napi's own, ref-struct-di's structs and unions, ref-array-di's arrays, or one's own. */
export interface RefType {
  /** In bytes. */
  size: number;
  /** 1 for a value, more for pointers to it. */
  indirection: number;
  alignment?: number;
  name?: string;
  get(buffer: Buffer, offset: number): unknown;
  set(buffer: Buffer, offset: number, value: unknown): void;
}

/** What these types hold are addresses in this very process: nothing that the kernel sends may be read so. */
const ADDRESSES = new Set(['CString', 'Object', 'Utf8String']);

export function isRefType(type: unknown): type is RefType {
  if ((typeof type !== 'object' && typeof type !== 'function') || type === null) return false;
  const { size, get, set } = type as Partial<RefType>;
  return typeof size === 'number' && typeof get === 'function' && typeof set === 'function';
}

/**
 * The layout of a type of ref's protocol. Values are decoded from a copy of their bytes, because ref's structs and
 * arrays are views: what a table or an event gives outlives its buffer. A pointer type is an address (a bigint), never
 * followed.
 * @throws TypeError for an object that is no such type, and for types that would follow an address
 */
export function layoutFromRef(type: unknown): CustomLayout | PointerLayout {
  if (!isRefType(type)) {
    throw new TypeError(
      `expected a type of ref's protocol (size, get, set), got ${inspect(type, { depth: 0, breakLength: 80 })}`,
    );
  }
  const { name, size, indirection } = type;
  const label = typeof name === 'string' && name !== '' ? name : undefined;
  if (indirection > 1) return { kind: 'pointer', size: 8, name: label };
  if (label !== undefined && ADDRESSES.has(label)) {
    throw new TypeError(`the ref type ${label} is an address in this process: use a number, or an array of char`);
  }
  if (!Number.isInteger(size) || size < 1) throw new TypeError(`the ref type ${label ?? ''} has the size ${size}`);
  return {
    kind: 'custom',
    size,
    name: label,
    get(buffer, offset) {
      return type.get(Buffer.from(buffer.subarray(offset, offset + size)), 0);
    },
    set(buffer, offset, value) {
      type.set(buffer, offset, value);
    },
  };
}
