import { ByteSource, codecFor } from '../../src/layout/codec';
import { isRefType, layoutFromRef, type RefType } from '../../src/layout/ref';
import { itIf } from '../helpers';

interface Packages {
  ref: { types: Record<string, RefType>; refType(type: unknown): RefType };
  struct(fields: Record<string, unknown>): RefType;
  array(type: unknown, length: number): RefType;
}

/** The real packages; undefined, with the reason, where Node cannot load them. */
const [packages, reason] = ((): [Packages?, string?] => {
  try {
    const ref = require('ref-napi');
    return [{ ref, struct: require('ref-struct-di')(ref), array: require('ref-array-di')(ref) }];
  } catch (error) {
    return [undefined, `ref-napi cannot be loaded: ${(error as Error).message.split('\n')[0]}`];
  }
})();
const REF = { when: packages !== undefined, reason: reason ?? '' };

function roundTrip(type: unknown, value: unknown): { bytes: number[]; value: unknown } {
  const codec = codecFor(layoutFromRef(type));
  const target = new ByteSource(new Uint8Array(codec.size));
  codec.encode(value, target, 0);
  const decoded = codec.decode(target, 0);
  const bytes = [...target.raw];
  target.raw.fill(0xee);
  return { bytes, value: decoded };
}

describe('types of ref-napi', () => {
  itIf(REF, 'numbers', () => {
    const { types } = packages!.ref;
    expect(roundTrip(types['uint32'], 7)).toEqual({ bytes: [7, 0, 0, 0], value: 7 });
    expect(roundTrip(types['int16'], -2)).toEqual({ bytes: [254, 255], value: -2 });
    expect(roundTrip(types['double'], 1.5).value).toBe(1.5);
    // ref's own habit: a 64-bit integer that no number holds is a string.
    expect(roundTrip(types['uint64'], '18446744073709551615').value).toBe('18446744073709551615');
  });

  itIf(REF, 'structs and arrays outlive the bytes they came from', () => {
    const { struct, array } = packages!;
    const type = struct({ pid: 'uint32', count: 'uint64', mac: array('uint8', 6) });
    const { bytes, value } = roundTrip(type, { pid: 1, count: 2, mac: [1, 2, 3, 4, 5, 6] });
    expect(bytes).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0]);
    const read = value as { pid: number; count: number; mac: { toArray(): number[] } };
    expect([read.pid, read.count, read.mac.toArray()]).toEqual([1, 2, [1, 2, 3, 4, 5, 6]]);
    expect(roundTrip(type, value).bytes).toEqual(bytes);
  });

  itIf(REF, 'a pointer is an address, and what would follow one is refused', () => {
    const { ref } = packages!;
    expect(layoutFromRef(ref.refType('int'))).toMatchObject({ kind: 'pointer', size: 8 });
    expect(() => layoutFromRef(ref.types['CString'])).toThrow(
      new TypeError('the ref type CString is an address in this process: use a number, or an array of char'),
    );
    expect(() => layoutFromRef(ref.types['Object'])).toThrow(TypeError);
    expect(() => layoutFromRef(ref.types['void'])).toThrow(/has the size 0/);
  });
});

test("any object of ref's protocol will do", () => {
  const port: RefType = {
    size: 2,
    indirection: 1,
    alignment: 2,
    name: 'port',
    get: (buffer, offset) => buffer.readUInt16BE(offset),
    set: (buffer, offset, value) => void buffer.writeUInt16BE(Number(value), offset),
  };
  expect(isRefType(port)).toBe(true);
  expect(roundTrip(port, 443)).toEqual({ bytes: [1, 187], value: 443 });
});

test.each([undefined, null, 5, 'uint32', {}, { size: 4 }, { size: 4, get: 1, set: 2 }])('%p is no type', (type) => {
  expect(isRefType(type)).toBe(false);
  expect(() => layoutFromRef(type)).toThrow(/^expected a type of ref's protocol \(size, get, set\), got/);
});
