import { inspect } from 'node:util';
import { UnsupportedError } from '../../src/errors';
import { possibleCpus } from '../../src/kernel/cpus';
import { runtime } from '../../src/native';
import { requireRoot } from '../helpers';
import { call, exit, insn, loadInsns, loadMap, movImm } from '../helpers/asm';
import { chars, makeTable, struct, U8, U16, U32, U64 } from '../helpers/tables';

requireRoot();

const SOCKET_FILTER = 1;
const MAP_LOOKUP = 1;
const cpus = possibleCpus().length;

/** Adds `n` to the 4 or 8 bytes at the start of element 0, on the CPU that runs it. */
function adder(fd: number, n: number, size: 4 | 8) {
  return loadInsns(
    Buffer.concat([
      insn(0x62, 10, 0, -4, 0),
      loadMap(1, fd),
      insn(0xbf, 2, 10),
      insn(0x07, 2, 0, 0, -4),
      call(MAP_LOOKUP),
      insn(0x15, 0, 0, 2, 0),
      movImm(1, n),
      insn(size === 8 ? 0xdb : 0xc3, 0, 1),
      movImm(0, 0),
      exit,
    ]),
    { type: SOCKET_FILTER, name: 'adder' },
  );
}

function run(program: { fd: number; close(): void }, times: number): void {
  expect(runtime().testRun(program.fd, new Uint8Array(64), null, times).errno).toBe(0);
  program.close();
}

describe('an array', () => {
  const make = () =>
    makeTable({ type: 'ARRAY', name: 'slots', key: U32, leaf: struct({ n: U64, tag: chars(4) }), maxEntries: 3 });

  test('has all its elements from the start', () => {
    const table = make();
    expect(table.size).toBe(3);
    expect([...table.keys()]).toEqual([0, 1, 2]);
    expect(table.get(2)).toEqual({ n: 0n, tag: '' });
    table.set(1, { n: 7n, tag: 'one' });
    expect(table.items()).toEqual([
      [0, { n: 0n, tag: '' }],
      [1, { n: 7n, tag: 'one' }],
      [2, { n: 0n, tag: '' }],
    ]);
    expect(inspect(table, { breakLength: 60 })).toBe(
      [
        "ArrayTable 'slots' {",
        "  0 => { n: 0n, tag: '' },",
        "  1 => { n: 7n, tag: 'one' },",
        "  2 => { n: 0n, tag: '' }",
        '}',
      ].join('\n'),
    );
  });

  test('counts negative indices from its end, takes bigints, and refuses what is out of range', () => {
    const table = make();
    table.set(-1, { n: 1n, tag: '' });
    table.set(0n, { n: 2n, tag: '' });
    expect(table.get(2).n).toBe(1n);
    expect(table.get(-3).n).toBe(2n);
    expect(table.has(2)).toBe(true);
    expect(table.has(3)).toBe(false);
    for (const index of [3, -4, 2n ** 40n])
      expect(() => table.get(index)).toThrow(
        new RangeError(`table 'slots': index ${index} is out of range, the table has 3 elements`),
      );
    for (const index of [1.5, '1', undefined, Number.NaN])
      expect(() => table.set(index, { n: 1n, tag: '' })).toThrow(TypeError);
  });

  test('deleting, clearing and zeroing all zero', () => {
    const table = make();
    const fill = () => table.itemsUpdateBatch([0, 1, -1], Array(3).fill({ n: 9n, tag: 'x' }));
    const left = () => [...table.values()].filter(({ n }) => n !== 0n).length;
    fill();
    expect(left()).toBe(3);
    expect(table.delete(0)).toBe(true);
    expect(left()).toBe(2);
    expect(table.clearitem(-1)).toBe(true);
    expect(table.get(2)).toEqual({ n: 0n, tag: '' });
    expect(left()).toBe(1);
    fill();
    table.zero();
    expect(left()).toBe(0);
    fill();
    table.clear();
    expect(left()).toBe(0);
    fill();
    expect(table.itemsDeleteBatch([1])).toBe(1);
    expect(left()).toBe(2);
    expect(() => table.itemsLookupAndDeleteBatch()).toThrow(UnsupportedError);
    expect(left()).toBe(2);
  });

  test('shows what a program counted', () => {
    const table = makeTable({ type: 'ARRAY', key: U32, leaf: U64, maxEntries: 2 });
    run(adder(table.getFd(), 3, 8), 5);
    expect([...table.values()]).toEqual([15n, 0n]);
  });
});

describe.each([
  ['PERCPU_HASH', 'PerCpuHashTable'],
  ['LRU_PERCPU_HASH', 'LruPerCpuHashTable'],
  ['PERCPU_ARRAY', 'PerCpuArrayTable'],
] as const)('%s', (type, className) => {
  test('has a leaf for every possible CPU, and reads what a program wrote on one', () => {
    const table = makeTable({ type, key: U32, leaf: U64, maxEntries: 4 });
    table.set(0, Array(cpus).fill(100n));
    run(adder(table.getFd(), 1, 8), 7);
    expect(table.get(0)).toHaveLength(cpus);
    expect([...table.get(0)].sort()).toEqual([...Array(cpus - 1).fill(100n), 107n].sort());
    expect(table.sum(0)).toBe(BigInt(cpus) * 100n + 7n);
    expect(table.max(0)).toBe(107n);
    expect(table.average(0)).toBeCloseTo(100 + 7 / cpus);
    expect(inspect(table)).toMatch(new RegExp(`^${className} 'tested' \\{\\s+0 => \\[`));
  });

  test('takes leaves whose size is no multiple of 8', () => {
    const small = makeTable({ type, key: U32, leaf: U32, maxEntries: 4 });
    small.set(0, Array(cpus).fill(5));
    run(adder(small.getFd(), 1, 4), 2);
    expect(small.sum(0)).toBe(5 * cpus + 2);
    const leaf = struct({ a: U16, b: U8, text: chars(9) });
    const odd = makeTable({ type, key: U32, leaf, maxEntries: 4 });
    const leaves = Array.from({ length: cpus }, (_, cpu) => ({ a: cpu + 1, b: cpu, text: `cpu ${cpu}` }));
    odd.set(1, leaves);
    expect(odd.get(1)).toEqual(leaves);
    expect(new Map(odd).get(1)).toEqual(leaves);
    expect(() => odd.sum(1)).toThrow(/need leaves that are numbers, not \{ a: 1/);
  });

  test('a reducer makes one value of all', () => {
    const reducer = (a: bigint, b: bigint) => a + b;
    const table = makeTable({ type, key: U32, leaf: U64, maxEntries: 1, reducer });
    table.itemsUpdateBatch([0], [Array.from({ length: cpus }, (_, cpu) => BigInt(cpu))]);
    const sum = (BigInt(cpus) * BigInt(cpus - 1)) / 2n;
    expect(table.get(0)).toBe(sum);
    expect([...table.values()]).toEqual([sum]);
    expect(table.items()).toEqual([[0, sum]]);
    expect(table.getvalue(0)).toHaveLength(cpus);
  });

  test('refuses anything but one leaf for each CPU', () => {
    const table = makeTable({ type, name: 'each', key: U32, leaf: U64 });
    expect(() => table.set(0, 5n)).toThrow(/^table 'each', leaf: expected an array/);
    expect(() => table.set(0, Array(cpus + 1).fill(5n))).toThrow(RangeError);
    expect(() => table.set(0, Array(cpus).fill('5'))).toThrow(TypeError);
  });
});

test('per-CPU hashes lose nothing when all is taken out', () => {
  const table = makeTable({ type: 'PERCPU_HASH', key: U32, leaf: U64, maxEntries: 5000 });
  const keys = Array.from({ length: 5000 }, (_, key) => key);
  table.itemsUpdateBatch(
    keys,
    keys.map((key) => Array(cpus).fill(BigInt(key))),
  );
  const taken = table.itemsLookupAndDeleteBatch();
  expect(taken).toHaveLength(5000);
  expect(taken.every(([key, leaves]) => leaves.every((leaf: bigint) => leaf === BigInt(key)))).toBe(true);
  expect(table.size).toBe(0);
  expect(table.get(1)).toBeUndefined();
  expect(table.sum(1)).toBeUndefined();
});
