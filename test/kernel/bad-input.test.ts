import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCC, BCCError, BPFAttachType, BPFProgType, PerfSWConfig, PerfType, XDPFlags } from '../../src';
import { BPFMapFlag } from '../../src/constants';
import { findTracefs } from '../../src/kernel/tracefs';
import { runtime } from '../../src/native';
import { callKill, describeIf, itIf, kernelHas, requireRoot } from '../helpers';

/* What goes wrong names itself, and changes nothing: what was attached stays attached, what was in a table stays in it. */

requireRoot();

const GONE_PID = 2 ** 22 - 1;

describeIf('syscallTracepoints', 'an attachment that fails', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-bad-input-'));
  const noElf = path.join(folder, 'no-elf');
  let b: BCC;

  beforeAll(() => {
    writeFileSync(noElf, 'plain text');
    b = new BCC({
      int64: 'number',
      text: `
BPF_ARRAY(calls, u64, 1);
int count(void *ctx) {
  u32 zero = 0;
  if (bpf_get_current_pid_tgid() >> 32 == ${process.pid}) calls.increment(zero);
  return 0;
}
int other(void *ctx) { return 0; }
int packet(struct xdp_md *ctx) { return XDP_PASS; }
`,
    });
    b.attachTracepoint({ tp: 'syscalls:sys_enter_kill', fnName: 'count' });
  });
  afterAll(() => {
    b.close();
    rmSync(folder, { recursive: true });
  });

  const events = () => ['kprobe_events', 'uprobe_events'].map((name) => readIfThere(`${findTracefs()}/${name}`));
  const readIfThere = (file: string) => {
    try {
      return readFileSync(file, 'utf8');
    } catch {
      return '';
    }
  };

  const probes = kernelHas('kprobes');
  const cases: [string, () => unknown, { code: string; errno?: number; hint?: RegExp }, boolean?][] = [
    [
      'a tracepoint that does not exist',
      () => b.attachTracepoint({ tp: 'syscalls:sys_enter_kil', fnName: 'other' }),
      { code: 'ERR_BCC_TRACEPOINT_NOT_FOUND', errno: 2, hint: /sys_enter_kill/ },
    ],
    [
      'a kprobe on an unknown function',
      () => b.attachKprobe({ event: 'vfs_reed', fnName: 'other' }),
      { code: 'ERR_BCC_ATTACH_KPROBE_UNKNOWN_SYMBOL', errno: 2, hint: /vfs_read/ },
      probes,
    ],
    [
      'an uprobe on an unknown function',
      () => b.attachUprobe({ name: 'c', sym: 'mallok', fnName: 'other' }),
      { code: 'ERR_BCC_SYMBOL', hint: /malloc/ },
    ],
    [
      'an uprobe on a file that is no ELF',
      () => b.attachUprobe({ name: noElf, sym: 'main', fnName: 'other' }),
      { code: 'ERR_BCC_NOT_ELF' },
    ],
    [
      'an uprobe in a process that has gone',
      () => b.attachUprobe({ name: 'c', sym: 'malloc', pid: GONE_PID, fnName: 'other' }),
      { code: 'ERR_BCC_PROCESS', errno: 3 },
    ],
    [
      'a perf event of a process that has gone',
      () => {
        const event = { evType: PerfType.SOFTWARE, evConfig: PerfSWConfig.CPU_CLOCK, sampleFreq: 99 };
        b.attachPerfEvent({ ...event, pid: GONE_PID, fnName: 'other' });
      },
      { code: 'ERR_BCC_PROCESS', errno: 3 },
    ],
    [
      'XDP on an interface that does not exist',
      () => BCC.attachXdp('loo', b.loadFunc('packet', BPFProgType.XDP)),
      { code: 'ERR_BCC_INTERFACE_NOT_FOUND', errno: 19, hint: /did you mean lo/ },
    ],
    [
      'a function that was loaded as another type',
      () => BCC.attachXdp('lo', b.loadFunc('count', BPFProgType.TRACEPOINT), XDPFlags.SKB_MODE),
      { code: 'ERR_BCC_PROGRAM_TYPE', hint: /XDP/ },
    ],
    [
      'a function of another type on a cgroup',
      () => BCC.attachFunc(b.loadFunc('packet', BPFProgType.XDP), '/proc', BPFAttachType.CGROUP_DEVICE),
      { code: 'ERR_BCC_ATTACH', errno: 22 },
    ],
    [
      'tc on an interface that does not exist',
      () => b.attachTc({ fn: 'other', dev: 'loo', direction: 'ingress' }),
      { code: 'ERR_BCC_INTERFACE_NOT_FOUND', errno: 19, hint: /did you mean lo/ },
    ],
    [
      'detaching what is not attached',
      () => b.detachTracepoint({ tp: 'syscalls:sys_enter_sync' }),
      { code: 'ERR_BCC_NOT_ATTACHED', hint: /sys_enter_kill/ },
    ],
  ];

  for (const [what, attach, expected, possible = true] of cases) {
    itIf({ when: possible, reason: 'this kernel has no kprobes' }, what, () => {
      const links = b.links;
      const before = events();
      const calls = () => b.table<number, number>('calls').get(0)!;
      const error = caught(attach);
      expect(error).toMatchObject({ code: expected.code });
      if (expected.errno !== undefined) expect(error.errno).toBe(expected.errno);
      expect(error.hint ?? '').toMatch(expected.hint ?? /./);
      expect(b.links).toEqual(links);
      expect(events()).toEqual(before);
      const count = calls();
      callKill();
      expect(calls()).toBe(count + 1);
    });
  }

  it('any after close()', () => {
    const closed = new BCC('int f(void *ctx) { return 0; }');
    closed.close();
    for (const attach of [
      () => closed.attachTracepoint({ tp: 'syscalls:sys_enter_kill', fnName: 'f' }),
      () => closed.attachKprobe({ event: 'vfs_read', fnName: 'f' }),
      () => closed.attachUprobe({ name: 'c', sym: 'malloc', fnName: 'f' }),
      () => closed.attachTc({ fn: 'f', dev: 'lo', direction: 'ingress' }),
      () => closed.attachPerfEvent({ evType: 1, evConfig: 0, sampleFreq: 99, fnName: 'f' }),
      () => closed.table('t'),
    ]) {
      expect(caught(attach)).toMatchObject({ code: 'ERR_BCC_CLOSED' });
    }
    expect(closed.links).toEqual([]);
  });

  const noKfunc = { when: kernelHas('btf') && !kernelHas('kfunc'), reason: 'this kernel loads fentry programs' };
  itIf(noKfunc, 'a kfunc on a kernel that refuses it', () => {
    const error = caught(() => new BCC('KFUNC_PROBE(vfs_read) { return 0; }').close());
    expect(error).toBeInstanceOf(BCCError);
    expect(error.errno).toBeGreaterThan(0);
    expect(error.hint).toMatch(/./);
  });
});

describe('an operation on a table that fails', () => {
  let b: BCC;
  const pins: string[] = [];

  beforeAll(() => {
    b = new BCC(`
struct key { u32 pid; u8 op; };
BPF_HASH(counts, u32, u64, 2);
BPF_HASH(structs, struct key, u32, 4);
BPF_ARRAY(cells, u32, 2);
BPF_F_TABLE("hash", u32, u64, closed, 2, ${BPFMapFlag.RDONLY});
int f(void *ctx) { u32 k = 1; u64 v = 9; closed.update(&k, &v); return 0; }`);
    b.table('counts').set(1, 10n).set(2, 20n);
    b.table('structs').set({ pid: 1, op: 2 }, 3);
    b.table('cells').set(0, 5);
    // The one table that only the program may write.
    const program = b.loadFunc('f', BPFProgType.RAW_TRACEPOINT);
    runtime().testRun(program.fd, null, new Uint8Array(16), 0);
  });
  afterAll(() => {
    b.close();
    for (const pin of pins) rmSync(pin, { force: true });
  });

  const cases: [string, string, (table: ReturnType<BCC['table']>) => unknown, object][] = [
    ['a key of the wrong shape', 'structs', (t) => t.set({ pid: 1, opp: 2 }, 4), { name: 'TypeError' }],
    ['a key that is no object', 'structs', (t) => t.set(1, 4), { name: 'TypeError' }],
    ['a field out of range', 'structs', (t) => t.set({ pid: 1, op: 300 }, 4), { name: 'RangeError' }],
    ['a number out of range', 'counts', (t) => t.set(-1, 1n), { name: 'RangeError' }],
    ['a bigint that does not fit', 'counts', (t) => t.set(1, 2n ** 64n), { name: 'RangeError' }],
    ['a full table', 'counts', (t) => t.set(3, 30n), { code: 'ERR_BCC_TABLE_FULL', errno: 7 }],
    [
      'a batch with one key that is wrong',
      'counts',
      (t) => t.itemsUpdateBatch([1, -1], [11n, 12n]),
      { name: 'RangeError' },
    ],
    [
      'a batch with fewer leaves than keys',
      'counts',
      (t) => t.itemsUpdateBatch([1, 2], [11n]),
      { name: 'RangeError', message: expect.stringContaining("table 'counts'") },
    ],
    ['a key that exists, as a new one', 'counts', (t) => t.set(1, 2n, { flags: 'noexist' }), { errno: 17 }],
    ['a key that was deleted, as a present one', 'counts', (t) => t.set(7, 2n, { flags: 'exist' }), { errno: 2 }],
    ['an index behind the end', 'cells', (t) => t.set(2, 1), { name: 'RangeError' }],
    ['`set` on a read-only table', 'closed', (t) => t.set(1, 1n), { code: 'ERR_BCC_TABLE_READ_ONLY', errno: 1 }],
    ['`delete` on a read-only table', 'closed', (t) => t.delete(1), { code: 'ERR_BCC_TABLE_READ_ONLY', errno: 1 }],
    ['`clear` on a read-only table', 'closed', (t) => t.clear(), { code: 'ERR_BCC_TABLE_READ_ONLY', errno: 1 }],
  ];

  it.each(cases)('%s', (_what, name, provoke, expected) => {
    const table = b.table(name);
    const before = table.items();
    expect(before.length).toBeGreaterThan(0);
    const error = caught(() => provoke(table));
    expect({ ...error, name: error.name, message: error.message }).toMatchObject(expected);
    expect(error.message).toContain(`table '${name}'`);
    expect(table.items()).toEqual(before);
  });

  it('a deleted key is gone, and deleting it again says so', () => {
    const table = b.table('structs');
    table.set({ pid: 9, op: 9 }, 9);
    expect(table.delete({ pid: 9, op: 9 })).toBe(true);
    expect(table.delete({ pid: 9, op: 9 })).toBe(false);
    expect(table.get({ pid: 9, op: 9 })).toBeUndefined();
    expect(table.items()).toEqual([[{ pid: 1, op: 2 }, 3]]);
  });

  describeIf('bpffs', 'at a pinned path', () => {
    const pin = `/sys/fs/bpf/tsbcc-bad-input-${process.pid}`;
    beforeAll(() => {
      pins.push(pin);
      BCC.pin(b.table('counts'), pin);
    });

    it.each([
      ['a table of another type', `BPF_TABLE_PINNED("array", u32, u64, taken, 2, "${pin}");`],
      ['a leaf of another size', `BPF_TABLE_PINNED("hash", u32, u32, taken, 2, "${pin}");`],
      ['a key of another size', `BPF_TABLE_PINNED("hash", u64, u64, taken, 2, "${pin}");`],
    ])('%s', (_what, text) => {
      const before = b.table('counts').items();
      const error = caught(() => new BCC({ text: `${text}\nint f(void *ctx) { return 0; }`, cache: false }).close());
      expect(error).toBeInstanceOf(BCCError);
      expect(error.code).toMatch(/^ERR_BCC_/);
      expect(error.message).toContain('taken');
      expect(b.table('counts').items()).toEqual(before);
    });
  });
});

function caught(provoke: () => unknown): BCCError {
  try {
    provoke();
  } catch (error) {
    return error as BCCError;
  }
  throw new Error('nothing was thrown');
}
