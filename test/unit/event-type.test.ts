import type { Layout, StructLayout } from '../../src/layout/layout';
import { EventReader } from '../../src/table/event-type';
import { perfRecordSize } from '../../src/table/perf-event-array';

const u32: Layout = { kind: 'int', size: 4, signed: false, name: 'u32' };
const char: Layout = { kind: 'int', size: 1, signed: true, char: true, name: 'char' };

function struct(name: string, ...fields: string[]): StructLayout {
  return {
    kind: 'struct',
    name,
    size: 4 * fields.length,
    fields: fields.map((field, i) => ({ name: field, offset: 4 * i, type: u32 })),
  };
}

function reader(events: Layout[], recordSize = (size: number) => size): EventReader {
  return new EventReader({ name: 'events', events, int64: 'bigint', recordSize });
}

const ONE_TWO = new Uint8Array(Uint32Array.of(1, 2).buffer);
const ONE_TWO_THREE = new Uint8Array(Uint32Array.of(1, 2, 3).buffer);

describe('the type of an event', () => {
  it('is the one struct that the program sends', () => {
    expect(reader([struct('a', 'x', 'y')]).read(ONE_TWO, undefined)).toEqual({ x: 1, y: 2 });
  });

  it('is told by the size where structs differ in it, from event to event', () => {
    const events = reader([struct('a', 'x', 'y'), struct('b', 'p', 'q', 'r')]);
    expect(events.read(ONE_TWO, undefined)).toEqual({ x: 1, y: 2 });
    expect(events.read(ONE_TWO_THREE, undefined)).toEqual({ p: 1, q: 2, r: 3 });
    expect(events.read(ONE_TWO, undefined)).toEqual({ x: 1, y: 2 });
  });

  it('is told by the size to which a perf buffer rounds up', () => {
    const events = reader([struct('a', 'x', 'y'), struct('b', 'p', 'q', 'r', 's')], perfRecordSize);
    const padded = new Uint8Array(12);
    padded.set(ONE_TWO);
    expect(events.read(padded, undefined)).toEqual({ x: 1, y: 2 });
    expect([8, 12, 16, 48].map(perfRecordSize)).toEqual([12, 12, 20, 52]);
  });

  it('must be named where the size does not tell, and can be', () => {
    const events = reader([struct('a', 'x', 'y'), struct('struct b', 'p', 'q')]);
    expect(() => events.read(ONE_TWO, undefined)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_EVENT_AMBIGUOUS', hint: expect.stringContaining("{ type: 'a' }") }),
    );
    expect(events.read(ONE_TWO, 'b')).toEqual({ p: 1, q: 2 });
    expect(events.read(ONE_TWO, 'struct b')).toEqual({ p: 1, q: 2 });
    expect(() => events.read(ONE_TWO, 'bb')).toThrow(expect.objectContaining({ code: 'ERR_BCC_EVENT_UNKNOWN' }));
  });

  it('is an array where a scalar was sent through a pointer', () => {
    expect(reader([char]).read(Buffer.from('hello\0\0\0'), undefined)).toBe('hello');
    expect(reader([u32]).read(ONE_TWO_THREE, undefined)).toEqual([1, 2, 3]);
    expect(reader([u32]).read(ONE_TWO.subarray(0, 4), undefined)).toBe(1);
  });

  it('is one scalar where a perf buffer rounded it up, unless it is text', () => {
    const bool: Layout = { kind: 'bool', size: 1, name: 'bool' };
    expect(reader([bool], perfRecordSize).read(Uint8Array.of(1, 0, 0, 0), undefined)).toBe(true);
    expect(reader([char], perfRecordSize).read(Buffer.from('abc\0'), undefined)).toBe('abc');
    expect(reader([u32], perfRecordSize).read(ONE_TWO_THREE, undefined)).toEqual([1, 2, 3]);
  });

  it('is unknown where the program tells none', () => {
    expect(() => reader([]).read(ONE_TWO, undefined)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_EVENT_UNKNOWN' }),
    );
  });

  it('is decoded from any bytes at any offset', () => {
    const bytes = Buffer.concat([Buffer.alloc(3), ONE_TWO]);
    expect(reader([struct('a', 'x', 'y')]).read(bytes.subarray(3), undefined)).toEqual({ x: 1, y: 2 });
    expect(() => reader([u32]).read([1] as never, undefined)).toThrow(TypeError);
  });

  it('refuses to order by what is no number', () => {
    expect(() =>
      reader([struct('a', 'ts', 'y')])
        .decoder()
        .field('tss'),
    ).toThrow(expect.objectContaining({ code: 'ERR_BCC_EVENT_ORDER', hint: 'did you mean ts?' }));
  });
});
