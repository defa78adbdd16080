import { inspect } from 'node:util';
import { ByteSource, codecFor } from '../../src/layout/codec';
import type { FieldLayout, Layout, StructLayout } from '../../src/layout/layout';

const int = (size: number, signed = false, name?: string): Layout => ({ kind: 'int', size, signed, name });
const char: Layout = { kind: 'int', size: 1, signed: true, char: true, name: 'char' };
const array = (element: Layout, length: number): Layout => ({
  kind: 'array',
  element,
  length,
  size: element.size * length,
});
const struct = (
  name: string,
  size: number,
  fields: FieldLayout[],
  kind: 'struct' | 'union' = 'struct',
): StructLayout => ({
  kind,
  size,
  fields,
  name,
});

function decode(layout: Layout, bytes: Uint8Array | number[], available?: number, int64?: 'number'): unknown {
  return codecFor(layout, { int64 }).decode(new ByteSource(Uint8Array.from(bytes)), 0, available);
}

/** The bytes of a value, written over 0xff so that padding must be zeroed. */
function encode(layout: Layout, value: unknown): number[] {
  const target = new ByteSource(new Uint8Array(layout.size + 2).fill(0xff));
  codecFor(layout).encode(value, target, 1);
  expect(target.raw[0]).toBe(0xff);
  expect(target.raw[layout.size + 1]).toBe(0xff);
  return [...target.raw.subarray(1, layout.size + 1)];
}

const comm = array(char, 16);
const data = struct('data_t', 48, [
  { name: 'pid', offset: 0, type: int(4, false, 'u32') },
  { name: 'ts', offset: 8, type: int(8, false, 'u64') },
  { name: 'delta', offset: 16, type: int(8, true, 's64') },
  { name: 'comm', offset: 24, type: comm },
  { name: 'ok', offset: 40, type: { kind: 'bool', size: 1 } },
  { name: 'low', offset: 41, type: int(4), bits: { offset: 0, width: 3 } },
  { name: 'high', offset: 41, type: int(4, true), bits: { offset: 3, width: 7 } },
]);
const value = { pid: 7, ts: 2n ** 63n, delta: -5n, comm: 'node', ok: true, low: 5, high: -64 };

describe('scalars', () => {
  test.each([
    [int(1), 255, [255]],
    [int(1, true), -128, [128]],
    [int(2), 0xfffe, [0xfe, 0xff]],
    [int(2, true), -2, [0xfe, 0xff]],
    [int(4), 0xffffffff, [255, 255, 255, 255]],
    [int(4, true), -(2 ** 31), [0, 0, 0, 128]],
    [int(8), 2n ** 64n - 1n, Array(8).fill(255)],
    [int(8, true), -1n, Array(8).fill(255)],
    [int(16), 2n ** 127n, [...Array(15).fill(0), 128]],
    [int(16, true), -(2n ** 127n), [...Array(15).fill(0), 128]],
    [{ kind: 'float', size: 4 } as Layout, 1.5, [0, 0, 0xc0, 0x3f]],
    [{ kind: 'float', size: 8 } as Layout, -2, [0, 0, 0, 0, 0, 0, 0, 0xc0]],
    [{ kind: 'bool', size: 1 } as Layout, true, [1]],
    [{ kind: 'pointer', size: 8 } as Layout, 0xffff888000000001n, [1, 0, 0, 0, 0x80, 0x88, 0xff, 0xff]],
    [{ kind: 'enum', size: 4, signed: true, values: {} } as Layout, -1, [255, 255, 255, 255]],
    [array(int(1), 3), Uint8Array.of(1, 2, 3), [1, 2, 3]],
    [
      array(array(int(2), 2), 2),
      [
        [1, 2],
        [3, 4],
      ],
      [1, 0, 2, 0, 3, 0, 4, 0],
    ],
    [array(char, 4), 'abcd', [97, 98, 99, 100]],
    [array(char, 6), 'äö', [0xc3, 0xa4, 0xc3, 0xb6, 0, 0]],
    // what is no UTF-8: a lone byte, a sequence cut short, an overlong one, half of a surrogate pair
    [array(char, 4), 'a\udcffz', [97, 0xff, 122, 0]],
    [array(char, 4), '\udce2\udc82', [0xe2, 0x82, 0, 0]],
    [array(char, 4), '\udcc0\udcaf', [0xc0, 0xaf, 0, 0]],
    [array(char, 7), 'é\udced\udca0\udc80', [0xc3, 0xa9, 0xed, 0xa0, 0x80, 0, 0]],
    [array(char, 16), '😀\udcfe', [0xf0, 0x9f, 0x98, 0x80, 0xfe, ...Array(11).fill(0)]],
    [
      array(int(4), 20),
      Array.from({ length: 20 }, (_, i) => i),
      Array.from({ length: 80 }, (_, i) => (i % 4 ? 0 : i / 4)),
    ],
  ])('%j holds %p', (layout, held, bytes) => {
    expect(decode(layout, bytes as number[])).toEqual(held);
    expect(encode(layout, held)).toEqual(bytes);
  });

  test('numbers and bigints are taken for each other where nothing is lost', () => {
    expect(encode(int(4), 5n)).toEqual([5, 0, 0, 0]);
    expect(encode(int(8), 2 ** 52 + 1)).toEqual([1, 0, 0, 0, 0, 0, 0x10, 0]);
    expect(encode(int(8, true), -2)).toEqual([0xfe, 255, 255, 255, 255, 255, 255, 255]);
    expect(encode(int(8, true), -(2 ** 40) - 1)).toEqual([255, 255, 255, 255, 255, 0xfe, 255, 255]);
    expect(encode(int(16, true), -1)).toEqual(Array(16).fill(255));
  });

  test.each([
    [int(4, false, 'u32'), 2 ** 32, 'u32: 4294967296 is out of range for u32 (0 to 4294967295)'],
    [int(1, true), -129, 'int: -129 is out of range for s8 (-128 to 127)'],
    [int(4), 1.5, 'int: 1.5 is not an integer'],
    [int(4), Number.NaN, 'int: NaN is not an integer'],
    [int(8), -1n, 'int: -1 is out of range for u64 (0 to 18446744073709551615)'],
    [int(8), 2 ** 53, 'int: 9007199254740992 is not a safe integer (at most 2^53 - 1); give a bigint'],
    [{ kind: 'bool', size: 1 } as Layout, 2, 'bool: 2 is out of range for a bool (true, false, 1 or 0)'],
    [{ kind: 'float', size: 4 } as Layout, 1e39, 'float: 1e+39 is out of range for a float (±3.4028235e38)'],
    [array(char, 4), 'abcde', "array: 'abcde' has 5 bytes, and char[4] holds 4"],
    [array(char, 3), 'äö', "array: 'äö' has 4 bytes, and char[3] holds 3"],
    [array(char, 2), 'abc\udcff', "array: 'abc\\udcff' has 4 bytes, and char[2] holds 2"],
    [array(int(4), 2), [1], 'array: expected 2 elements, got 1'],
    [array(int(1), 4), Uint8Array.of(1), 'array: expected 4 bytes, got 1 bytes'],
  ])('%j refuses %p', (layout, wrong, message) => {
    expect(() => encode(layout, wrong)).toThrow(new RangeError(message));
  });

  test.each([
    [int(4), '5', "int: expected a number, got '5'"],
    [int(8), undefined, 'int: expected a bigint or a number, got undefined'],
    [{ kind: 'bool', size: 1 } as Layout, 'yes', "bool: expected true or false, got 'yes'"],
    [{ kind: 'float', size: 8 } as Layout, 1n, 'float: expected a number, got 1n'],
    [array(char, 4), 5, 'array: expected a string or 4 bytes, got 5'],
    [array(int(4), 2), 7, 'array: expected an array of 2, got 7'],
  ])('%j refuses %p as a type', (layout, wrong, message) => {
    expect(() => encode(layout, wrong)).toThrow(new TypeError(message));
  });
});

describe('structs', () => {
  test('a value and its bytes are two forms of one thing', () => {
    const bytes = encode(data, value);
    expect(decode(data, bytes)).toEqual(value);
    expect(bytes.slice(4, 8)).toEqual([0, 0, 0, 0]);
    expect(bytes.slice(43)).toEqual([0, 0, 0, 0, 0]);
  });

  test('raw bytes of the exact size stand for a struct', () => {
    const bytes = Uint8Array.from({ length: 48 }, (_, i) => i);
    expect(encode(data, bytes)).toEqual([...bytes]);
    expect(() => encode(data, bytes.subarray(1))).toThrow(
      new RangeError('data_t: expected the 48 bytes of the whole struct, got 47'),
    );
  });

  test('missing and unknown fields are named', () => {
    const { pid: _, ts: __, ...rest } = value;
    expect(() => encode(data, rest)).toThrow(new TypeError('data_t: pid, ts missing'));
    expect(() => encode(data, { ...value, com: 'x' })).toThrow(
      new TypeError("data_t: there is no field 'com'; did you mean comm?"),
    );
    expect(() => encode(data, null)).toThrow(TypeError);
    expect(() => encode(data, [1])).toThrow(/expected an object with the fields pid, ts/);
  });

  test('the path of a wrong field is named, through arrays and structs', () => {
    const outer = struct('data_t', 192, [
      { name: 'args', offset: 0, type: array(struct('arg', 48, [...data.fields]), 4) },
    ]);
    const args = Array.from({ length: 4 }, () => ({ ...value }));
    args[2]!.low = 8;
    expect(() => encode(outer, { args })).toThrow(
      new RangeError('data_t.args[2].low: 8 is out of range for a bitfield of 3 bits (0 to 7)'),
    );
  });

  test('fewer bytes than the struct has are refused, more are fine', () => {
    expect(() => decode(data, new Uint8Array(47))).toThrow(/data_t has 48 bytes, and 47 came/);
    expect(() => decode(data, new Uint8Array(64), 40)).toThrow(expect.objectContaining({ code: 'ERR_BCC_DATA_SIZE' }));
    expect(decode(data, new Uint8Array(64), 52)).toMatchObject({ pid: 0 });
  });

  test("int64: 'number' gives numbers, and names the field that no number can hold", () => {
    const fits = { ...value, ts: 2n ** 53n - 1n };
    expect(decode(data, encode(data, fits), undefined, 'number')).toEqual({ ...value, ts: 2 ** 53 - 1, delta: -5 });
    expect(() => decode(data, encode(data, value), undefined, 'number')).toThrow(
      new RangeError(
        "data_t.ts: 9223372036854775808 is not a safe integer (at most 2^53 - 1); read it with int64: 'bigint'",
      ),
    );
    const list = struct('list', 24, [{ name: 'items', offset: 0, type: array(int(8, true), 3) }]);
    const bytes = encode(list, { items: [1, 2, -(2n ** 60n)] });
    expect(() => decode(list, bytes, undefined, 'number')).toThrow(/^list\.items\[2\]: -1152921504606846976 is not/);
  });

  test('decoded values outlive the bytes', () => {
    const source = new ByteSource(Uint8Array.of(1, 2, 3));
    const bytes = codecFor<Uint8Array>(array(int(1), 3)).decode(source, 0);
    source.raw.fill(0);
    expect(bytes).toEqual(Uint8Array.of(1, 2, 3));
    expect(Object.getPrototypeOf(bytes)).toBe(Uint8Array.prototype);
  });

  test('bytes may begin anywhere', () => {
    const pair = struct('pair', 16, [
      { name: 'a', offset: 0, type: int(8) },
      { name: 'b', offset: 8, type: int(8, true) },
    ]);
    // The second of these packed structs has its integers where no 64-bit word begins.
    const packed = struct('packed', 12, [
      { name: 'n', offset: 0, type: int(8) },
      { name: 'm', offset: 8, type: int(4) },
    ]);
    const layout = struct('outer', 76, [
      { name: 'pairs', offset: 0, type: array(pair, 2) },
      { name: 'tail', offset: 32, type: array(packed, 2) },
      { name: 'last', offset: 56, type: { kind: 'pointer', size: 8 } },
      { name: 'odd', offset: 68, type: int(8) },
    ]);
    const outer = {
      pairs: [
        { a: 2n ** 64n - 1n, b: -1n },
        { a: 3n, b: -(2n ** 63n) },
      ],
      tail: [
        { n: 0x1122334455667788n, m: 5 },
        { n: 0x99aabbccddeeff00n, m: 6 },
      ],
      last: 0xffffffff81000000n,
      odd: 0x0102030405060708n,
    };
    const codec = codecFor<typeof outer>(layout);
    const bytes = encode(layout, outer);
    for (let base = 0; base < 9; base++) {
      for (let offset = 0; offset < 9; offset++) {
        const memory = new Uint8Array(base + offset + 76 + 8);
        memory.set(bytes, base + offset);
        const source = new ByteSource(memory.subarray(base));
        expect(codec.decode(source, offset)).toEqual(outer);
        expect(codec.lazy(source, offset).odd).toBe(outer.odd);
        expect(codec.lazy(source, offset).tail).toEqual(outer.tail);
        expect(codec.lazy(source, offset).last).toBe(outer.last);
      }
    }
    const flexible = struct('flexible', 8, [
      { name: 'n', offset: 0, type: int(8) },
      { name: 'words', offset: 8, type: array(int(8), 0) },
    ]);
    const source = new ByteSource(Uint8Array.from([0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 9]));
    expect(codecFor(flexible).decode(source, 1, 17)).toEqual({ n: 1n, words: [2n] });
    expect(codecFor(flexible).decode(source, 1)).toEqual({ n: 1n, words: [] });
  });

  test('names that mean something to JavaScript are only names', () => {
    const names = ['__proto__', 'constructor', 'toString', 'toJSON', '"];throw 1;//', 'a b', '`x`'];
    const odd = struct(
      'odd',
      names.length,
      names.map((name, i) => ({ name, offset: i, type: int(1) })),
    );
    const bytes = names.map((_, i) => i + 1);
    const read = decode(odd, bytes) as Record<string, number>;
    expect(Object.keys(read)).toEqual(names);
    expect(names.map((name) => Object.getOwnPropertyDescriptor(read, name)?.value)).toEqual(bytes);
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
    expect(encode(odd, read)).toEqual(bytes);
    const lazy = codecFor<Record<string, number>>(odd).lazy(new ByteSource(Uint8Array.from(bytes)), 0);
    expect(names.map((name) => lazy[name])).toEqual(bytes);
  });

  test('a field that only the prototype has is missing', () => {
    const odd = struct('odd', 1, [{ name: 'toString', offset: 0, type: int(1) }]);
    expect(() => encode(odd, {})).toThrow(TypeError);
  });

  test('a flexible array takes what is available beyond the struct', () => {
    const tail = (element: Layout) =>
      struct('tail', 4, [
        { name: 'n', offset: 0, type: int(1) },
        { name: 'items', offset: 2, type: array(element, 0) },
      ]);
    const bytes = [9, 0, 97, 98, 99, 100, 0, 0];
    expect(decode(tail(char), bytes, 8)).toEqual({ n: 9, items: 'abcd' });
    expect(decode(tail(int(1)), bytes, 7)).toEqual({ n: 9, items: Uint8Array.of(97, 98, 99, 100, 0) });
    expect(decode(tail(int(2)), bytes, 7)).toEqual({ n: 9, items: [0x6261, 0x6463] });
    expect(decode(tail(int(2)), bytes)).toEqual({ n: 9, items: [] });
    expect(codecFor(tail(char)).lazy(new ByteSource(Uint8Array.from(bytes)), 0, 8)).toHaveProperty('items', 'abcd');
    expect(encode(tail(int(2)), { n: 9 })).toEqual([9, 0, 0, 0]);
    expect(() => encode(tail(int(2)), { n: 9, items: [1] })).toThrow(/tail.items: expected 0 elements, got 1/);
  });
});

describe('unions', () => {
  const pair = struct('', 8, [
    { name: 'a', offset: 0, type: int(2) },
    { name: 'b', offset: 4, type: int(4) },
  ]);
  const either = struct(
    'either',
    8,
    [
      { name: 'raw', offset: 0, type: int(8) },
      { name: '', offset: 0, type: pair },
      { name: 'text', offset: 0, type: array(char, 8) },
    ],
    'union',
  );

  test('every member shows the same bytes', () => {
    expect(decode(either, [1, 0, 7, 0, 2, 0, 0, 0])).toEqual({ raw: 0x0000000200070001n, a: 1, b: 2, text: '\u0001' });
  });

  test('one member is enough', () => {
    expect(encode(either, { raw: 1n })).toEqual([1, 0, 0, 0, 0, 0, 0, 0]);
    expect(encode(either, { a: 1, b: 2 })).toEqual([1, 0, 0, 0, 2, 0, 0, 0]);
    expect(encode(either, { text: 'hi' })).toEqual([104, 105, 0, 0, 0, 0, 0, 0]);
  });

  test('what was decoded can be encoded, whatever its padding held', () => {
    const bytes = [1, 0, 7, 0, 2, 0, 0, 9];
    expect(encode(either, decode(either, bytes))).toEqual(bytes);
  });

  test('members that disagree, none, or half of one are refused', () => {
    expect(() => encode(either, { raw: 1n, text: 'hi' })).toThrow(
      new TypeError('either: raw, text share their bytes and disagree; give one of them'),
    );
    expect(() => encode(either, {})).toThrow(new TypeError('either: one of (raw, or a and b, or text) missing'));
    expect(() => encode(either, { a: 1 })).toThrow(new TypeError('either: b missing'));
    expect(() => encode(either, { raw: -1 })).toThrow(RangeError);
  });

  test('an anonymous union belongs to the struct around it', () => {
    const outer = struct('outer', 16, [
      { name: 'tag', offset: 0, type: int(4) },
      { name: '', offset: 8, type: either },
    ]);
    const bytes = encode(outer, { tag: 3, a: 1, b: 2 });
    expect(decode(outer, bytes)).toEqual({ tag: 3, raw: 0x200000001n, a: 1, b: 2, text: '\u0001' });
    expect(() => encode(outer, { tag: 3 })).toThrow('outer: one of (raw, or a and b, or text) missing');
  });
});

describe('lazy objects', () => {
  const source = new ByteSource(Uint8Array.from(encode(data, value)));
  const lazy = codecFor<typeof value>(data).lazy(source, 0);

  test('decode a field when it is read', () => {
    expect(lazy.comm).toBe('node');
    expect(lazy.high).toBe(-64);
    source.raw[0] = 8;
    expect(lazy.pid).toBe(8);
    source.raw[0] = 7;
  });

  test('print, serialise and encode as the whole value', () => {
    expect(inspect(lazy)).toBe(inspect(value));
    expect((lazy as unknown as { toJSON(): unknown }).toJSON()).toEqual(value);
    expect(encode(data, lazy)).toEqual([...source.raw]);
  });

  test('check the size at once', () => {
    expect(() => codecFor(data).lazy(source, 8)).toThrow(expect.objectContaining({ code: 'ERR_BCC_DATA_SIZE' }));
  });
});

test('a custom type decodes itself', () => {
  const custom: Layout = {
    kind: 'custom',
    size: 2,
    get: (buffer, offset) => buffer.readUInt16BE(offset),
    set: (buffer, offset, item) => buffer.writeUInt16BE(item as number, offset),
  };
  const outer = struct('outer', 4, [{ name: 'port', offset: 2, type: custom }]);
  expect(decode(outer, [0, 0, 1, 2])).toEqual({ port: 258 });
  expect(encode(outer, { port: 258 })).toEqual([0, 0, 1, 2]);
  expect(() => encode(outer, {})).toThrow(TypeError);
});

test('a layout has one codec for each kind of 64-bit integer', () => {
  expect(codecFor(data)).toBe(codecFor(data, { int64: 'bigint' }));
  expect(codecFor(data)).not.toBe(codecFor(data, { int64: 'number' }));
});
