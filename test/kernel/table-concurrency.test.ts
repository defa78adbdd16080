import * as path from 'node:path';
import { Worker } from 'node:worker_threads';
import { BPFProgType } from '../../src/constants';
import { runtime } from '../../src/native';
import { requireRoot } from '../helpers';
import { call, exit, insn, loadInsns, loadMap, movImm } from '../helpers/asm';
import { makeTable, struct, U32, U64 } from '../helpers/tables';

/* What tables promise while others write: programs run in a thread of their own, as fast as they can. */

requireRoot();

const Helper = { mapLookup: 1, mapUpdate: 2 };
const FP = 10;

/** A table that a program fills: number n is written under the key n, once; and the numbers that did not fit. */
function produced(type: 'HASH' | 'PERCPU_HASH', maxEntries: number) {
  const table = makeTable({ type, key: U32, leaf: U64, maxEntries });
  const counters = makeTable({ type: 'ARRAY', key: U32, leaf: struct({ next: U64, refused: U64 }), maxEntries: 1 });
  const program = loadInsns(
    Buffer.concat([
      insn(0x62, FP, 0, -4, 0),
      ...[loadMap(1, counters.getFd()), insn(0xbf, 2, FP), insn(0x07, 2, 0, 0, -4), call(Helper.mapLookup)],
      ...[insn(0x55, 0, 0, 1, 0), exit, insn(0xbf, 7, 0)],
      // r1 = fetch_add(next, 1); the key and the leaf are that number.
      ...[movImm(1, 1), insn(0xdb, 7, 1, 0, 1), insn(0x63, FP, 1, -4), insn(0x7b, FP, 1, -16)],
      ...[loadMap(1, table.getFd()), insn(0xbf, 2, FP), insn(0x07, 2, 0, 0, -4)],
      ...[insn(0xbf, 3, FP), insn(0x07, 3, 0, 0, -16), movImm(4, 1), call(Helper.mapUpdate)],
      ...[insn(0x15, 0, 0, 2, 0), movImm(1, 1), insn(0xdb, 7, 1, 8, 0), movImm(0, 0), exit],
    ]),
    { type: BPFProgType.SOCKET_FILTER, name: 'producer' },
  );
  return { table, counters, program };
}

/** Runs a program on another thread until stop(). */
function running(fd: number) {
  const state = new Int32Array(new SharedArrayBuffer(8));
  const addon = process.env.TSBCC_RUNTIME_ADDON ?? path.join(__dirname, '../../build/Release/runtime.node');
  const worker = new Worker(
    `const { workerData: { addon, fd, state } } = require('node:worker_threads');
     const runtime = require(addon);
     while (Atomics.load(state, 0) === 0) { runtime.testRun(fd, new Uint8Array(64), null, 200); Atomics.add(state, 1, 1); }`,
    { eval: true, workerData: { addon, fd, state } },
  );
  return {
    async started() {
      while (Atomics.load(state, 1) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    },
    async stop() {
      Atomics.store(state, 0, 1);
      await new Promise((resolve) => worker.once('exit', resolve));
    },
  };
}

/** Whether the leaf (all CPUs' together) is the one written with the key. */
function isWhole(key: number, leaf: bigint | bigint[]): boolean {
  return [leaf].flat().reduce((a, b) => a + b) === BigInt(key);
}

describe.each(['HASH', 'PERCPU_HASH'] as const)('%s', (type) => {
  test('taking all out while a program writes loses nothing and tells nothing twice', async () => {
    const { table, counters, program } = produced(type, 4096);
    const producer = running(program.fd);
    await producer.started();
    const seen = new Set<number>();
    let taken = 0;
    let torn = 0;
    const take = () => {
      for (const [key, leaf] of table.itemsLookupAndDeleteBatch()) {
        if (!isWhole(key, leaf)) torn++;
        seen.add(key);
        taken++;
      }
    };
    for (let round = 0; round < 50 || taken < 10_000; round++) take();
    await producer.stop();
    take();
    const { next, refused } = counters.get(0);
    expect(taken).toBe(Number(next - refused));
    expect(seen.size).toBe(taken);
    expect(torn).toBe(0);
    expect(table.size).toBe(0);
    program.close();
  });

  test('iterating ends, and tells whole elements, while a program writes and we delete', async () => {
    const { table, program } = produced(type, 2048);
    const producer = running(program.fd);
    await producer.started();
    let torn = 0;
    for (let round = 0; round < 30; round++) {
      const keys = new Set<number>();
      for (const [key, leaf] of table) {
        if (!isWhole(key, leaf) || keys.has(key)) torn++;
        keys.add(key);
        if (key % 2 === 0) table.delete(key);
      }
      table.clear();
    }
    await producer.stop();
    expect(torn).toBe(0);
    program.close();
  });
});

test('two iterators over one table do not disturb each other', () => {
  const table = makeTable({ type: 'HASH', key: U32, leaf: U64, maxEntries: 20_000 });
  const keys = Array.from({ length: 20_000 }, (_, i) => i);
  table.itemsUpdateBatch(keys, keys.map(BigInt));
  expect(table.size).toBe(20_000);
  const first = table.entries();
  const second = table.values();
  const started = [first.next().value, second.next().value];
  expect(table.items()).toHaveLength(20_000);
  table.clear();
  table.set(1, 99n);
  expect(table.items()).toEqual([[1, 99n]]);
  const firstRest = [...first];
  const secondRest = [...second];
  expect(new Set([started[0], ...firstRest].map(([key, leaf]) => (leaf === BigInt(key) ? key : -1))).size).toBe(20_000);
  expect(new Set([started[1], ...secondRest]).size).toBe(20_000);
});

describe('kernels without batch commands', () => {
  const ENOTSUP = 95;
  const EINVAL = 22;

  /** The addon as it answers there. */
  function withoutBatches(errno: number, lookupAndDelete: boolean): void {
    const native = runtime();
    const { scanMap, MapAccess } = native;
    jest.spyOn(native, 'scanMap').mockImplementation((fd, keySize, valueSize, maxEntries, remove, ...scratch) => {
      if (remove) throw Object.assign(new Error('no batches'), { errno, syscall: 'bpf' });
      return { ...scanMap(fd, keySize, valueSize, maxEntries, remove, ...scratch), method: 'walk' };
    });
    jest.spyOn(native, 'updateMapBatch').mockImplementation((_fd, _keys, _values, count) => ({ errno, count }));
    jest.spyOn(native, 'deleteMapBatch').mockImplementation((_fd, _keys, count) => ({ errno, count }));
    if (lookupAndDelete) return;
    jest.spyOn(native, 'MapAccess').mockImplementation((fd, key, value) => {
      const access = new MapAccess(fd, key, value);
      access.lookupAndDelete = () => EINVAL;
      return access;
    });
  }

  afterEach(() => jest.restoreAllMocks());

  test.each([
    ['5.5', EINVAL, false],
    ['a type that has none', ENOTSUP, true],
  ])('%s: the same, one by one', (_, errno, lookupAndDelete) => {
    withoutBatches(errno, lookupAndDelete);
    const table = makeTable({ type: 'HASH', name: 'old', key: U32, leaf: U64, maxEntries: 8 });
    table.itemsUpdateBatch([1, 2, 3, 4], [1n, 2n, 3n, 4n]);
    expect([...table.itemsLookupBatch()].sort(([a], [b]) => a - b)).toEqual(
      [1, 2, 3, 4].map((key) => [key, BigInt(key)]),
    );
    expect(table.itemsDeleteBatch([4, 5])).toBe(1);
    expect(() => table.itemsUpdateBatch([10, 11, 12, 13, 14, 15, 16], Array(7).fill(1n))).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_TABLE_FULL', message: expect.stringContaining('5 of 7') }),
    );
    expect(table.itemsLookupAndDeleteBatch()).toHaveLength(8);
    expect(table.size).toBe(0);
    table.itemsUpdateBatch([1, 2], [1n, 2n]);
    table.zero();
    expect([...table.values()]).toEqual([0n, 0n]);
    table.clear();
    expect(table.size).toBe(0);
  });

  test('a walk that begins anew tells each key once', () => {
    const native = runtime();
    const table = makeTable({ type: 'HASH', key: U32, leaf: U64 });
    jest.spyOn(native, 'scanMap').mockImplementation(() => ({
      count: 3,
      keys: Uint8Array.of(1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0),
      values: Uint8Array.of(...[7, 8, 9].flatMap((n) => [n, 0, 0, 0, 0, 0, 0, 0])),
      method: 'walk',
    }));
    expect(table.items()).toEqual([
      [1, 9n],
      [2, 8n],
    ]);
  });
});
