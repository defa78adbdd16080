import { inspect } from 'node:util';
import { BPFMapFlag } from '../../src/constants';
import { ClosedError, TableError, UnsupportedError } from '../../src/errors';
import { requireRoot } from '../helpers';
import { chars, makeTable, S32, struct, U8, U32, U64 } from '../helpers/tables';

requireRoot();

const KEY = struct({ pid: U32, op: U8 });
const LEAF = struct({ count: U64, comm: chars(8) });

function counts() {
  return makeTable({ type: 'HASH', name: 'counts', key: KEY, leaf: LEAF, maxEntries: 4 });
}

describe('a hash reads as a Map', () => {
  test('what is set is got, had, counted and deleted', () => {
    const table = counts();
    expect(table.get({ pid: 1, op: 2 })).toBeUndefined();
    expect(table.set({ pid: 1, op: 2 }, { count: 5n, comm: 'init' })).toBe(table);
    expect(table.get({ pid: 1, op: 2 })).toEqual({ count: 5n, comm: 'init' });
    expect(table.has({ pid: 1, op: 2 })).toBe(true);
    expect(table.has({ pid: 1, op: 3 })).toBe(false);
    expect(table.size).toBe(1);
    expect(table.delete({ pid: 1, op: 2 })).toBe(true);
    expect(table.delete({ pid: 1, op: 2 })).toBe(false);
    expect(table.size).toBe(0);
  });

  test('keys, values, entries, items, forEach and for..of tell the same', () => {
    const table = makeTable({ type: 'HASH', key: U32, leaf: U64 });
    for (const key of [3, 1, 2]) table.set(key, BigInt(key) * 10n);
    const sorted = (items: Iterable<[number, bigint]>) => [...items].sort((a, b) => a[0] - b[0]);
    const all = [1, 2, 3].map((key) => [key, BigInt(key) * 10n]);
    expect([...table.keys()].sort()).toEqual([1, 2, 3]);
    expect([...table.values()].sort()).toEqual([10n, 20n, 30n]);
    expect(sorted(table.entries())).toEqual(all);
    expect(sorted(table.items())).toEqual(all);
    expect(sorted(table)).toEqual(all);
    expect(sorted(table.itemsLookupBatch())).toEqual(all);
    const seen: [number, bigint][] = [];
    table.forEach((leaf, key, itself) => {
      expect(itself).toBe(table);
      seen.push([key, leaf]);
    });
    expect(sorted(seen)).toEqual(all);
    expect(new Map(table).get(2)).toBe(20n);
  });

  test('next() walks all keys and ends', () => {
    const table = makeTable({ type: 'HASH', key: U32, leaf: U64 });
    for (const key of [7, 8, 9]) table.set(key, 0n);
    const walked: number[] = [];
    for (let key = table.next(); key !== undefined; key = table.next(key)) walked.push(key);
    expect(walked.sort()).toEqual([7, 8, 9]);
  });

  test('iterating goes on while elements are deleted', () => {
    const table = makeTable({ type: 'HASH', key: U32, leaf: U64, maxEntries: 100 });
    for (let key = 0; key < 100; key++) table.set(key, 1n);
    let seen = 0;
    for (const [key] of table) {
      seen++;
      table.delete(key);
    }
    expect(seen).toBe(100);
    expect(table.size).toBe(0);
  });

  test('a key that the table gave finds its element, whatever the program left in padding and behind a NUL', () => {
    const key = struct({ pid: U32, op: U8, comm: chars(8), id: U64 });
    const table = makeTable({ type: 'HASH', key, leaf: U64, maxEntries: 8 });
    const bytes = Buffer.alloc(key.size, 0xee);
    bytes.writeUInt32LE(7, 0);
    bytes.write('\x02sh\0', 4);
    const raw = bytes as never;
    table.set(raw, 1n);
    table.set({ pid: 7, op: 2, comm: 'sh', id: 0xeeeeeeeeeeeeeeeen }, 2n);
    const [first, second] = [...table].sort((a, b) => Number(a[1]) - Number(b[1])).map(([given]) => given);
    expect(first).toEqual(second);
    expect([table.get(first!), table.get(second!)]).toEqual([1n, 2n]);
    let walked = 0;
    for (let at = table.next(); at !== undefined; at = table.next(at)) walked++;
    expect(walked).toBe(2);
    const [clone] = [structuredClone(first!)];
    expect(table.get(clone!)).toBe(2n);
    expect(table.delete(first!)).toBe(true);
    expect(table.has(raw)).toBe(false);
    const left = [...table.keys()][0]!;
    expect(table.itemsDeleteBatch([left])).toBe(1);
    table.set(raw, 3n);
    const changed = [...table.keys()][0] as { pid: number };
    changed.pid = 8;
    expect(table.has(changed as never)).toBe(false);
    expect(table.size).toBe(1);
  });

  test('zero and clearitem zero leaves, clear deletes', () => {
    const table = counts();
    table.set({ pid: 1, op: 0 }, { count: 1n, comm: 'a' });
    table.set({ pid: 2, op: 0 }, { count: 2n, comm: 'b' });
    expect(table.clearitem({ pid: 1, op: 0 })).toBe(true);
    expect(table.clearitem({ pid: 9, op: 0 })).toBe(false);
    expect(table.get({ pid: 1, op: 0 })).toEqual({ count: 0n, comm: '' });
    expect(table.get({ pid: 2, op: 0 })).toEqual({ count: 2n, comm: 'b' });
    table.zero();
    expect([...table.values()]).toEqual(Array(2).fill({ count: 0n, comm: '' }));
    table.clear();
    expect(table.size).toBe(0);
  });

  test('a leaf of 64 bits without a sign keeps its bits; int64: number refuses to round', () => {
    const table = makeTable({ type: 'HASH', key: S32, leaf: U64 });
    table.set(-1, 2n ** 64n - 1n);
    expect(table.get(-1)).toBe(2n ** 64n - 1n);
    const numbers = makeTable({ type: 'HASH', name: 'numbers', key: S32, leaf: U64, int64: 'number' });
    numbers.set(1, 2 ** 53 - 1);
    expect(numbers.get(1)).toBe(2 ** 53 - 1);
    numbers.set(2, 2n ** 53n);
    expect(() => numbers.get(2)).toThrow(/^table 'numbers', leaf: .*9007199254740992/);
    expect(() => numbers.itemsLookupAndDeleteBatch()).toThrow(RangeError);
    expect(numbers.size).toBe(2);
  });
});

describe('update modes', () => {
  test('noexist writes new keys alone, exist present ones alone', () => {
    const table = makeTable({ type: 'HASH', name: 'modes', key: U32, leaf: U64 });
    table.set(1, 1n, { flags: 'noexist' });
    expect(() => table.set(1, 2n, { flags: 'noexist' })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_TABLE_EXISTS', errno: 17, message: expect.stringContaining("'modes'") }),
    );
    table.set(1, 3n, { flags: 'exist' });
    expect(() => table.set(2, 1n, { flags: 'exist' })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_TABLE_NO_KEY' }),
    );
    expect(table.items()).toEqual([[1, 3n]]);
    expect(() => table.set(1, 1n, { flags: 'sometimes' as 'any' })).toThrow(TypeError);
  });

  test('an lru hash takes more keys than it holds', () => {
    const table = makeTable({ type: 'LRU_HASH', key: U32, leaf: U64, maxEntries: 64 });
    for (let key = 0; key < 1000; key++) table.set(key, 1n);
    expect(table.size).toBeLessThanOrEqual(64);
    expect(table.get(999)).toBe(1n);
  });
});

describe('batches', () => {
  test('write, read and delete many at once', () => {
    const table = makeTable({ type: 'HASH', key: KEY, leaf: U64, maxEntries: 20_000 });
    const keys = Array.from({ length: 20_000 }, (_, pid) => ({ pid, op: pid % 7 }));
    table.itemsUpdateBatch(
      keys,
      keys.map(({ pid }) => BigInt(pid)),
    );
    const items = [...table.itemsLookupBatch()];
    expect(items).toHaveLength(20_000);
    expect(items.every(([key, leaf]) => key.op === key.pid % 7 && leaf === BigInt(key.pid))).toBe(true);
    expect(table.itemsDeleteBatch(keys.slice(0, 5000))).toBe(5000);
    expect(table.itemsDeleteBatch(keys.slice(4990, 5010))).toBe(10);
    const taken = table.itemsLookupAndDeleteBatch();
    expect(new Set(taken.map(([key]) => key.pid)).size).toBe(14_990);
    expect(table.size).toBe(0);
    table.itemsUpdateBatch(keys.slice(0, 3), [1n, 2n, 3n]);
    expect(table.itemsDeleteBatch()).toBe(3);
    expect(table.itemsLookupAndDeleteBatch()).toEqual([]);
  });

  test('nothing is written where one key or leaf is wrong', () => {
    const table = makeTable({ type: 'HASH', name: 'strict', key: U32, leaf: U64 });
    expect(() => table.itemsUpdateBatch([1, 2], [1n, -1n])).toThrow(/^table 'strict', leaf: /);
    expect(() => table.itemsUpdateBatch([1, 2 ** 32], [1n, 1n])).toThrow(/^table 'strict', key: /);
    expect(() => table.itemsUpdateBatch([1, 2], [1n])).toThrow(RangeError);
    expect(() => table.itemsUpdateBatch(Array(17).fill(1), Array(17).fill(1n))).toThrow(/holds at most 16/);
    expect(table.size).toBe(0);
  });

  test('a batch that fills the table says how far it came', () => {
    const table = makeTable({ type: 'HASH', key: U32, leaf: U64, maxEntries: 4 });
    table.set(100, 0n);
    expect(() => table.itemsUpdateBatch([1, 2, 3, 4], [1n, 1n, 1n, 1n])).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_TABLE_FULL', message: expect.stringContaining('3 of 4') }),
    );
  });
});

describe('bad input', () => {
  test.each([
    [{ pid: 1 }, TypeError, /op/],
    [{ pid: 1, op: 2, cpu: 3 }, TypeError, /cpu/],
    [{ pid: 1, op: 256 }, RangeError, /op.*256/],
    [{ pid: 1.5, op: 0 }, Error, /pid.*1\.5/],
    [{ pid: '1', op: 0 }, TypeError, /pid.*'1'/],
    [7, TypeError, /7/],
  ])('the key %p is refused by table, field and value', (key, kind, message) => {
    const table = counts();
    for (const call of [() => table.get(key), () => table.set(key, { count: 1n, comm: '' }), () => table.delete(key)]) {
      expect(call).toThrow(kind);
      expect(call).toThrow(/^table 'counts', key: /);
      expect(call).toThrow(message);
    }
    expect(table.size).toBe(0);
  });

  test.each([
    [{ count: -1n, comm: '' }, /count.*-1/],
    [{ count: 2n ** 64n, comm: '' }, /count.*18446744073709551616/],
    [{ count: 1n, comm: 'nine chars' }, /comm/],
  ])('the leaf %p is refused by table, field and value', (leaf, message) => {
    const table = counts();
    const call = () => table.set({ pid: 1, op: 1 }, leaf);
    expect(call).toThrow(/^table 'counts', leaf: /);
    expect(call).toThrow(message);
    expect(table.size).toBe(0);
  });

  test('a full table refuses one more key and keeps what it has', () => {
    const table = makeTable({ type: 'HASH', name: 'small', key: U32, leaf: U64, maxEntries: 2 });
    table.set(1, 1n).set(2, 2n);
    expect(() => table.set(3, 3n)).toThrow(TableError);
    expect(() => table.set(3, 3n)).toThrow(
      expect.objectContaining({
        code: 'ERR_BCC_TABLE_FULL',
        errno: 7,
        message: expect.stringMatching(/^table 'small': set 3 failed: the table is full \(max_entries 2\)\n {2}hint: /),
      }),
    );
    expect([...table.keys()].sort()).toEqual([1, 2]);
  });

  test('a map that user space may not write is read-only, one it may not read unreadable', () => {
    const readOnly = makeTable({ type: 'HASH', name: 'ro', key: U32, leaf: U64, flags: BPFMapFlag.RDONLY });
    expect(() => readOnly.set(1, 1n)).toThrow(expect.objectContaining({ code: 'ERR_BCC_TABLE_READ_ONLY' }));
    expect(readOnly.get(1)).toBeUndefined();
    const writeOnly = makeTable({ type: 'HASH', name: 'wo', key: U32, leaf: U64, flags: BPFMapFlag.WRONLY });
    writeOnly.set(1, 1n);
    expect(() => writeOnly.get(1)).toThrow(TableError);
    expect(() => writeOnly.items()).toThrow(TableError);
  });

  test('types of another size than the map are refused at once', () => {
    expect(() => makeTable({ type: 'HASH', name: 'sized', key: U32, leaf: U64, leafType: U32 })).toThrow(
      expect.objectContaining({
        code: 'ERR_BCC_TABLE_SIZE',
        message: expect.stringContaining("'sized' (HASH): its leaf has 8 bytes, but the given leaf type has 4"),
      }),
    );
  });

  test('types with no table say so', () => {
    expect(() => makeTable({ type: 'BLOOM_FILTER', leaf: U64 })).toThrow(UnsupportedError);
  });

  test('a closed table says that it is closed', () => {
    const table = counts();
    table.get({ pid: 1, op: 1 });
    table.close();
    table.close();
    for (const call of [() => table.get({ pid: 1, op: 1 }), () => table.size, () => table.getFd(), () => [...table]])
      expect(call).toThrow(ClosedError);
    expect(inspect(table)).toBe("HashTable 'counts' (closed)");
  });
});

describe('in the REPL', () => {
  test('a table shows its elements', () => {
    const table = counts();
    expect(inspect(table)).toBe("HashTable 'counts' {}");
    table.set({ pid: 1, op: 2 }, { count: 3n, comm: 'sh' });
    expect(inspect(table)).toBe("HashTable 'counts' { { pid: 1, op: 2 } => { count: 3n, comm: 'sh' } }");
    expect(inspect({ table }, { depth: 0 })).toBe("{ table: HashTable 'counts' }");
  });

  test('a large one shows its beginning', () => {
    const table = makeTable({ type: 'HASH', key: U32, leaf: U64, maxEntries: 1000 });
    for (let key = 0; key < 1000; key++) table.set(key, 1n);
    const lines = inspect(table, { maxArrayLength: 10 }).split('\n');
    expect(lines).toHaveLength(13);
    expect(lines.at(-2)).toBe('  ... more');
  });
});
