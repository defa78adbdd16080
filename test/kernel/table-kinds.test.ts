import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import * as net from 'node:net';
import { inspect } from 'node:util';
import { BPFAttachType, BPFMapFlag, BPFMapType, BPFProgType } from '../../src/constants';
import { TableError, UnsupportedError } from '../../src/errors';
import { runtime } from '../../src/native';
import { itIf, requireRoot } from '../helpers';
import { call, exit, insn, loadInsns, loadMap, movImm, returns } from '../helpers/asm';
import { arrayOf, integerBtf, makeTable, S32, struct, U8, U32, U64 } from '../helpers/tables';

requireRoot();

const Helper = { tailCall: 12, getStackid: 27, currentTaskUnderCgroup: 37, getLocalStorage: 81, mapUpdate: 2 };

function testRun(fd: number, kind: 'packet' | 'context' = 'packet'): number {
  const [data, context] = kind === 'packet' ? [new Uint8Array(64), null] : [null, new Uint8Array(16)];
  const { errno, returnValue } = runtime().testRun(fd, data, context, kind === 'packet' ? 1 : 0);
  expect(errno).toBe(0);
  return returnValue;
}

describe('LPM trie', () => {
  const KEY = struct({ prefixlen: U32, address: arrayOf(U8, 4) });
  const make = () =>
    makeTable({ type: 'LPM_TRIE', name: 'routes', key: KEY, leaf: U32, flags: BPFMapFlag.NO_PREALLOC });
  const prefix = (prefixlen: number, ...address: number[]) => ({ prefixlen, address: Uint8Array.from(address) });

  test('finds the longest prefix that matches', () => {
    const table = make();
    table
      .set(prefix(0, 0, 0, 0, 0), 1)
      .set(prefix(8, 10, 0, 0, 0), 2)
      .set(prefix(24, 10, 1, 2, 0), 3);
    expect(table.get(prefix(32, 10, 1, 2, 3))).toBe(3);
    expect(table.get(prefix(32, 10, 9, 9, 9))).toBe(2);
    expect(table.get(prefix(32, 192, 168, 0, 1))).toBe(1);
    expect(table.size).toBe(3);
    expect(table.delete(prefix(24, 10, 1, 2, 0))).toBe(true);
    expect(table.delete(prefix(24, 10, 1, 2, 0))).toBe(false);
    expect(table.get(prefix(32, 10, 1, 2, 3))).toBe(2);
    expect(table.items().map(([key, leaf]) => [key.prefixlen, leaf])).toEqual(
      expect.arrayContaining([
        [8, 2],
        [0, 1],
      ]),
    );
    expect(table.itemsLookupAndDeleteBatch()).toHaveLength(2);
    table.clear();
    expect(table.size).toBe(0);
  });

  test('refuses a prefix longer than the data', () => {
    expect(() => make().set(prefix(33, 10, 0, 0, 0), 1)).toThrow(
      new RangeError("table 'routes', key: a prefix of 33 bits is longer than the data's 32 bits"),
    );
  });
});

describe('queue and stack', () => {
  test('a queue gives back in order, a stack in reverse', () => {
    for (const [type, order] of [
      ['QUEUE', [1n, 2n, 3n]],
      ['STACK', [3n, 2n, 1n]],
    ] as const) {
      const table = makeTable({ type, leaf: U64, maxEntries: 3 });
      expect(table.pop()).toBeUndefined();
      expect(table.peek()).toBeUndefined();
      for (const leaf of [1n, 2n, 3n]) table.push(leaf);
      expect(table.peek()).toBe(order[0]);
      expect(table.pop()).toBe(order[0]);
      expect([...table.values()]).toEqual(order.slice(1));
      expect([...table.values()]).toEqual([]);
    }
  });

  test('a full one refuses, or drops its oldest', () => {
    const table = makeTable({ type: 'QUEUE', name: 'line', leaf: U32, maxEntries: 2 });
    table.push(1).push(2);
    expect(() => table.push(3)).toThrow(expect.objectContaining({ code: 'ERR_BCC_TABLE_FULL' }));
    table.push(3, 'exist');
    expect([...table.values()]).toEqual([2, 3]);
    expect(() => table.push(-1)).toThrow(/^table 'line', leaf: /);
    expect(inspect(table)).toBe("QueueStackTable 'line' (QUEUE, 2 entries at most)");
  });
});

describe('prog array', () => {
  test('a program jumps to what is set, by fd or loaded function', () => {
    const table = makeTable({ type: 'PROG_ARRAY', name: 'jumps', key: U32, leaf: U32, maxEntries: 4 });
    const type = BPFProgType.SOCKET_FILTER;
    const jump = loadInsns(
      Buffer.concat([loadMap(2, table.getFd()), movImm(3, 1), call(Helper.tailCall), ...[movImm(0, 7), exit]]),
      { type, name: 'jump' },
    );
    const target = loadInsns(returns(42), { type, name: 'target' });
    expect(testRun(jump.fd)).toBe(7);
    table.set(1, target);
    expect(testRun(jump.fd)).toBe(42);
    expect(table.get(1)).toBe(runtime().programInfo(target.fd).id);
    expect(table.has(1)).toBe(true);
    expect(table.has(0)).toBe(false);
    expect(table.items()).toEqual([[1, table.get(1)]]);
    expect(table.delete(1)).toBe(true);
    expect(table.delete(1)).toBe(false);
    expect(testRun(jump.fd)).toBe(7);
    table.set(1, target.fd);
    table.clear();
    expect(testRun(jump.fd)).toBe(7);
    for (const wrong of [undefined, null, -1, 1.5, {}]) expect(() => table.set(1, wrong)).toThrow(TypeError);
    expect(() => table.set(1, table.getFd())).toThrow(expect.objectContaining({ code: 'ERR_BCC_TABLE_VALUE' }));
    expect(() => table.set(1, 'target')).toThrow(UnsupportedError);
    expect(() => table.set(4, target)).toThrow(RangeError);
    table.itemsUpdateBatch([0, 1], [target, target.fd]);
    expect(testRun(jump.fd)).toBe(42);
    expect(() => table.itemsUpdateBatch([0], [undefined])).toThrow(/^table 'jumps', leaf: expected a function's name/);
    jump.close();
    target.close();
  });

  test('a function given by name comes from the host', () => {
    const asked: unknown[] = [];
    const target = loadInsns(returns(1), { type: BPFProgType.SOCKET_FILTER, name: 'target' });
    const programFd = (...args: unknown[]) => asked.push(args) && target.fd;
    const host = { closed: false, onClose: () => () => {}, shared: <T>(_: string, make: () => T) => make(), programFd };
    const table = makeTable({ type: 'PROG_ARRAY', key: U32, leaf: U32, host });
    table.set(0, 'target', { progType: BPFProgType.SOCKET_FILTER });
    expect(asked).toEqual([['target', BPFProgType.SOCKET_FILTER]]);
    expect(table.get(0)).toBe(runtime().programInfo(target.fd).id);
    target.close();
  });
});

describe('stack trace', () => {
  function traced(flags: number, helperFlags: number, frameSize: number) {
    const leaf = arrayOf(U8, frameSize * 16);
    const table = makeTable({ type: 'STACK_TRACE', name: 'stacks', key: U32, leaf, flags, maxEntries: 64 });
    const program = loadInsns(
      Buffer.concat([loadMap(2, table.getFd()), movImm(3, helperFlags), call(Helper.getStackid), exit]),
      { type: BPFProgType.RAW_TRACEPOINT, name: 'traced' },
    );
    const id = testRun(program.fd, 'context');
    program.close();
    return { table, id };
  }

  test('walks the kernel addresses that a program collected', () => {
    const { table, id } = traced(0, 0, 8);
    const addresses = [...table.walk(id)];
    expect(addresses.length).toBeGreaterThan(1);
    expect(addresses.every((address) => address > 0xffff800000000000n)).toBe(true);
    expect(table.get(id)).toEqual(addresses);
    expect([...table.walk(id, (address) => address.toString(16))]).toEqual(
      addresses.map((address) => address.toString(16)),
    );
    expect([...table.keys()]).toEqual([id]);
    expect(table.size).toBe(1);
    expect(inspect(table)).toBe("StackTraceTable 'stacks' (1 traces, 16 frames at most)");
    expect(() => table.set(1, [])).toThrow(UnsupportedError);
    expect(() => table.next('1')).toThrow(TypeError);
    table.clear();
    expect(table.get(id)).toBeUndefined();
    expect(() => table.walk(id)).toThrow(expect.objectContaining({ code: 'ERR_BCC_TABLE_NO_KEY' }));
  });

  test('explains a negative id, however its bits arrive', () => {
    const { table } = traced(0, 0, 8);
    for (const id of [-14, 2 ** 32 - 14, 2n ** 64n - 14n, -14n]) {
      expect(table.get(id)).toBeUndefined();
      expect(table.has(id)).toBe(false);
      expect(() => table.walk(id)).toThrow(/-14 is not a trace but the error EFAULT/);
    }
  });

  test('with build ids gives places in files', () => {
    const BPF_F_USER_STACK = 256;
    const { table, id } = traced(BPFMapFlag.STACK_BUILD_ID, BPF_F_USER_STACK, 32);
    const frames = [...table.walk(id)] as unknown as { buildId?: string; offset?: bigint; ip?: bigint }[];
    expect(frames.length).toBeGreaterThan(0);
    for (const frame of frames)
      if (frame.buildId === undefined) expect(frame.ip).toBeGreaterThan(0n);
      else expect(frame).toEqual({ buildId: expect.stringMatching(/^[0-9a-f]{40}$/), offset: expect.any(BigInt) });
  });
});

describe('maps of maps', () => {
  const inner = { type: 'HASH', key: U32, leaf: struct({ n: U64 }), maxEntries: 8 } as const;

  test.each([
    ['ARRAY_OF_MAPS', U32, 1],
    ['HASH_OF_MAPS', struct({ a: U32, b: U32 }), { a: 1, b: 2 }],
  ] as const)('%s takes a table and gives it back, typed as its template', (type, key, at) => {
    const template = makeTable({ ...inner, name: 'template' });
    const outer = makeTable({
      type,
      key,
      leaf: U32,
      attributes: { innerMapFd: template.getFd() },
      inner: {
        ...{ name: 'template', type: BPFMapType.HASH, keySize: 4, leafSize: 8, maxEntries: 8, flags: 0 },
        ...{ keyLayout: inner.key, leafLayout: inner.leaf, events: [], int64: 'bigint' },
        host: { closed: false } as never,
      },
    });
    const one = makeTable({ ...inner, name: 'one' });
    expect(outer.get(at)).toBeUndefined();
    outer.set(at, one);
    one.set(5, { n: 6n });
    const again = outer.get(at);
    expect(again.name).toBe('one');
    expect(again.get(5)).toEqual({ n: 6n });
    again.set(6, { n: 7n });
    expect(one.get(6)).toEqual({ n: 7n });
    again.close();
    expect(one.size).toBe(2);
    expect(outer.getId(at)).toBe(runtime().mapInfo(one.getFd()).id);
    for (const [key, table] of outer) {
      expect([key, table.size]).toEqual([at, 2]);
      table.close();
    }
    const odd = makeTable({ type: 'HASH', key: U64, leaf: U64 });
    expect(() => outer.set(at, odd)).toThrow(expect.objectContaining({ code: 'ERR_BCC_TABLE_VALUE' }));
    expect(() => outer.set(at, 'one')).toThrow(TypeError);
    expect(outer.delete(at)).toBe(true);
    expect(outer.get(at)).toBeUndefined();
  });
});

describe('cgroup array', () => {
  itIf('cgroup2', 'a program asks whether it runs under a cgroup', () => {
    const root = readFileSync('/proc/mounts', 'utf8').match(/^\S+ (\S+) cgroup2 /m)![1]!;
    const child = `${root}/tsbcc-test-${process.pid}`;
    mkdirSync(child);
    try {
      const table = makeTable({ type: 'CGROUP_ARRAY', name: 'groups', key: U32, leaf: U32, maxEntries: 2 });
      const program = loadInsns(
        Buffer.concat([loadMap(1, table.getFd()), movImm(2, 0), call(Helper.currentTaskUnderCgroup), exit]),
        { type: BPFProgType.RAW_TRACEPOINT, name: 'under' },
      );
      table.set(0, root);
      expect(testRun(program.fd, 'context')).toBe(1);
      table.set(0, child);
      expect(testRun(program.fd, 'context')).toBe(0);
      const fd = openSync(root, 'r');
      table.set(0, fd);
      closeSync(fd);
      expect(testRun(program.fd, 'context')).toBe(1);
      expect(table.delete(0)).toBe(true);
      expect(table.delete(0)).toBe(false);
      expect(() => table.set(0, '/tmp')).toThrow(expect.objectContaining({ code: 'ERR_BCC_TABLE_VALUE' }));
      expect(() => table.set(0, '/no/such/place')).toThrow(/^table 'groups': the cgroup cannot be opened: ENOENT/);
      expect(() => table.get(0)).toThrow(UnsupportedError);
      program.close();
    } finally {
      rmdirSync(child);
    }
  });
});

describe('maps of devices and CPUs', () => {
  const lo = Number(readFileSync('/sys/class/net/lo/ifindex', 'utf8'));

  test.each(['DEVMAP', 'DEVMAP_HASH'] as const)('%s takes an interface by index or name', (type) => {
    const table = makeTable({ type, name: 'devices', key: U32, leaf: U32, maxEntries: 4 });
    expect(table.get(1)).toBeUndefined();
    table.set(1, 'lo').set(2, lo);
    expect(table.items().sort()).toEqual([
      [1, lo],
      [2, lo],
    ]);
    expect(table.delete(2)).toBe(true);
    expect(table.get(2)).toBeUndefined();
    expect(() => table.set(1, 'nosuch0')).toThrow("table 'devices', leaf: there is no network interface 'nosuch0'");
    expect(() => table.set(1, 99_999)).toThrow(TableError);
    expect(table.get(1)).toBe(lo);
  });

  test('CPUMAP takes the length of a queue', () => {
    const table = makeTable({ type: 'CPUMAP', key: U32, leaf: struct({ qsize: U32, fd: S32 }), maxEntries: 2 });
    table.set(0, { qsize: 192, fd: 0 });
    expect(table.get(0)).toEqual({ qsize: 192, fd: 0 });
    expect(table.get(1)).toBeUndefined();
    expect(table.size).toBe(2);
    table.clear();
    expect(table.has(0)).toBe(false);
  });

  test('XSKMAP refuses what is no AF_XDP socket, and does not pretend to be read', () => {
    const table = makeTable({ type: 'XSKMAP', key: U32, leaf: U32 });
    expect(() => table.set(0, 0)).toThrow(
      expect.objectContaining({ name: expect.stringMatching(/Error$/), code: expect.any(String) }),
    );
    expect(() => table.get(0)).toThrow(UnsupportedError);
    expect(() => table.has(0)).toThrow(UnsupportedError);
    table.clear();
  });
});

describe('maps of sockets', () => {
  let server: net.Server;
  let client: net.Socket;
  let accepted: net.Socket;

  beforeAll(async () => {
    server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    client = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
    [[accepted]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as [
      [net.Socket],
      unknown,
    ];
  });

  afterAll(() => {
    client.destroy();
    accepted.destroy();
    server.close();
  });

  test('SOCKMAP and SOCKHASH take sockets and tell their cookies', () => {
    const map = makeTable({ type: 'SOCKMAP', key: U32, leaf: U64, maxEntries: 2 });
    const hash = makeTable({ type: 'SOCKHASH', key: struct({ a: U32, b: U32 }), leaf: U64, maxEntries: 2 });
    map.set(1, client);
    hash.set({ a: 1, b: 2 }, client);
    hash.set({ a: 3, b: 4 }, accepted);
    const cookie = map.get(1);
    expect(cookie).toBeGreaterThan(0n);
    expect(hash.get({ a: 1, b: 2 })).toBe(cookie);
    expect(hash.get({ a: 3, b: 4 })).not.toBe(cookie);
    expect(hash.size).toBe(2);
    expect([...hash.keys()].map(({ a }) => a).sort()).toEqual([1, 3]);
    expect(map.has(0)).toBe(false);
    expect(map.delete(1)).toBe(true);
    expect(map.get(1)).toBeUndefined();
    expect(() => map.set(0, {})).toThrow(TypeError);
    hash.clear();
    expect(hash.size).toBe(0);
  });

  test('with leaves of 4 bytes they can be written, not read', () => {
    const map = makeTable({ type: 'SOCKMAP', key: U32, leaf: S32, maxEntries: 2 });
    map.set(0, client);
    expect(() => map.get(0)).toThrow(/declare the table with a u64 leaf/);
    expect(() => map.items()).toThrow(/declare the table with a u64 leaf/);
    expect(map.delete(0)).toBe(true);
    expect(map.delete(0)).toBe(false);
  });

  test('REUSEPORT_SOCKARRAY refuses a socket that shares no port', () => {
    const table = makeTable({ type: 'REUSEPORT_SOCKARRAY', key: U32, leaf: U64 });
    expect(() => table.set(0, server)).toThrow(TableError);
    expect(table.get(0)).toBeUndefined();
  });

  test('SK_STORAGE keeps a leaf in a socket, found by its descriptor', () => {
    const table = makeTable({
      ...{ type: 'SK_STORAGE', name: 'notes', key: S32, leaf: U64, maxEntries: 0, flags: BPFMapFlag.NO_PREALLOC },
      attributes: { btfFd: integerBtf().fd, btfKeyTypeId: 1, btfValueTypeId: 2 },
    });
    expect(table.get(client)).toBeUndefined();
    table.set(client, 5n);
    expect(table.get(client)).toBe(5n);
    expect(table.has(accepted)).toBe(false);
    expect(table.delete(client)).toBe(true);
    expect(table.delete(client)).toBe(false);
    expect(() => table.size).toThrow(UnsupportedError);
    expect(() => [...table]).toThrow(UnsupportedError);
    expect(() => table.get(0)).toThrow(TableError);
    expect(inspect(table)).toBe("LocalStorageTable 'notes' (SK_STORAGE, keyed by descriptor)");
  });
});

describe('cgroup storage', () => {
  itIf('cgroup2', 'keeps a leaf for every cgroup a program is attached to', async () => {
    const root = readFileSync('/proc/mounts', 'utf8').match(/^\S+ (\S+) cgroup2 /m)![1]!;
    const KEY = struct({ cgroup_inode_id: U64, attach_type: U32 });
    for (const type of ['CGROUP_STORAGE', 'PERCPU_CGROUP_STORAGE'] as const) {
      const table = makeTable({ type, key: KEY, leaf: U64, maxEntries: 0 });
      const program = loadInsns(
        Buffer.concat([
          ...[loadMap(1, table.getFd()), movImm(2, 0), call(Helper.getLocalStorage), movImm(1, 1)],
          ...[insn(0xdb, 0, 1), movImm(0, 1), exit],
        ]),
        { type: BPFProgType.CGROUP_SKB, name: 'counted', expectedAttachType: BPFAttachType.CGROUP_INET_EGRESS },
      );
      const cgroup = openSync(root, 'r');
      const allowMulti = 2;
      runtime().programAttach(program.fd, cgroup, BPFAttachType.CGROUP_INET_EGRESS, allowMulti);
      try {
        const key = {
          cgroup_inode_id: statSync(root, { bigint: true }).ino,
          attach_type: BPFAttachType.CGROUP_INET_EGRESS,
        };
        await traffic();
        const keys = [...table.keys()];
        expect(keys).toEqual([key]);
        const total = () => [table.get(key)].flat().reduce((sum: bigint, leaf: bigint) => sum + leaf, 0n);
        expect(total()).toBeGreaterThan(0n);
        expect(() => table.set({ ...key, cgroup_inode_id: 999_999_999n }, table.get(key))).toThrow(TableError);
        expect(() => table.delete(key)).toThrow(TableError);
      } finally {
        runtime().programDetach(program.fd, cgroup, BPFAttachType.CGROUP_INET_EGRESS);
        closeSync(cgroup);
        program.close();
      }
    }
  });

  async function traffic(): Promise<void> {
    const server = net.createServer((socket) => socket.end('x')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
    client.resume();
    await once(client, 'close');
    server.close();
  }
});

test('STRUCT_OPS is refused by name', () => {
  expect(() =>
    makeTable({
      type: 'STRUCT_OPS',
      name: 'ops',
      key: U32,
      leaf: U64,
      maxEntries: 1,
      attributes: { type: BPFMapType.HASH },
    }),
  ).toThrow(
    expect.objectContaining({
      code: 'ERR_BCC_TABLE_TYPE',
      message: expect.stringContaining("table 'ops' is of type STRUCT_OPS"),
    }),
  );
});
