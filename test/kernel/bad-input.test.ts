import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCC, BCCError, BPFAttachType, BPFProgType, PerfSWConfig, PerfType, USDT, XDPFlags } from '../../src';
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
  type Case = [string, () => unknown, { code: string; errno: number; hint?: RegExp }, boolean?];
  const cases: Case[] = [
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
      { code: 'ERR_BCC_SYMBOL', errno: 2, hint: /malloc/ },
    ],
    [
      'an uprobe on a file that is no ELF',
      () => b.attachUprobe({ name: noElf, sym: 'main', fnName: 'other' }),
      { code: 'ERR_BCC_NOT_ELF', errno: 8 },
    ],
    [
      'an uretprobe on an unknown function',
      () => b.attachUretprobe({ name: 'c', sym: 'mallok', fnName: 'other' }),
      { code: 'ERR_BCC_SYMBOL', errno: 2, hint: /malloc/ },
    ],
    [
      'an uprobe in a library that does not exist',
      () => b.attachUprobe({ name: 'libc', sym: 'malloc', fnName: 'other' }),
      { code: 'ERR_BCC_LIBRARY', errno: 2, hint: /did you mean c\?/ },
    ],
    [
      'an uprobe at an address that is no code',
      () => b.attachUprobe({ name: 'c', addr: 1n << 40n, fnName: 'other' }),
      { code: 'ERR_BCC_ADDRESS', errno: 22 },
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
      { code: 'ERR_BCC_PROGRAM_TYPE', errno: 22, hint: /XDP/ },
    ],
    [
      'a function of another type on a cgroup',
      () => BCC.attachFunc(b.loadFunc('packet', BPFProgType.XDP), '/proc', BPFAttachType.CGROUP_DEVICE),
      { code: 'ERR_BCC_PROGRAM_TYPE', errno: 22, hint: /CGROUP_DEVICE/ },
    ],
    [
      'tc on an interface that does not exist',
      () => b.attachTc({ fn: 'other', dev: 'loo', direction: 'ingress' }),
      { code: 'ERR_BCC_INTERFACE_NOT_FOUND', errno: 19, hint: /did you mean lo/ },
    ],
    [
      'a raw socket on an interface that does not exist',
      () => BCC.attachRawSocket(b.loadFunc('other', BPFProgType.SOCKET_FILTER), 'loo'),
      { code: 'ERR_BCC_INTERFACE_NOT_FOUND', errno: 19, hint: /did you mean lo/ },
    ],
    [
      'tracepoints that do not exist',
      () => b.attachTracepoint({ tpRe: 'syscalls:sys_enter_kil$', fnName: 'other' }),
      { code: 'ERR_BCC_TRACEPOINT_NOT_FOUND', errno: 2, hint: /sys_enter_kill/ },
    ],
    [
      'a raw tracepoint that does not exist',
      () => b.attachRawTracepoint({ tp: 'sched_swich', fnName: 'other' }),
      { code: 'ERR_BCC_TRACEPOINT_NOT_FOUND', errno: 2, hint: /sched_switch/ },
    ],
    [
      'a function that the program does not have',
      () => b.attachTracepoint({ tp: 'syscalls:sys_enter_kill', fnName: 'othre' }),
      { code: 'ERR_BCC_UNKNOWN_FUNCTION', errno: 2, hint: /other/ },
    ],
    [
      'a function on a cgroup that does not exist',
      () => BCC.attachFunc(b.loadFunc('packet', BPFProgType.XDP), `${folder}/none`, BPFAttachType.CGROUP_DEVICE),
      { code: 'ERR_BCC_CGROUP_NOT_FOUND', errno: 2 },
    ],
    [
      'a USDT probe of a process that has gone',
      () => new USDT({ pid: GONE_PID }),
      { code: 'ERR_BCC_PROCESS', errno: 3 },
    ],
    ['USDT probes of a file that is no ELF', () => new USDT({ path: noElf }), { code: 'ERR_BCC_NOT_ELF', errno: 8 }],
    [
      'a USDT probe that does not exist',
      () => new USDT({ path: process.execPath }).enableProbe({ probe: 'none', fnName: 'other' }),
      { code: 'ERR_BCC_USDT_PROBE', errno: 2 },
    ],
    ...(
      [
        ['a kfunc on an unknown function', 'KFUNC_PROBE(vfs_reed) { return 0; }', /vfs_read/],
        ['a kretfunc on an unknown function', 'KRETFUNC_PROBE(vfs_reed) { return 0; }', /vfs_read/],
        ['LSM on an unknown hook', 'LSM_PROBE(file_opem, struct file *file) { return 0; }', /file_open/],
      ] as const
    ).map(
      ([what, text, hint]): Case => [
        what,
        () => new BCC(text),
        { code: 'ERR_BCC_ATTACH_UNKNOWN_FUNCTION', errno: 2, hint },
        kernelHas('btf'),
      ],
    ),
  ];

  for (const [what, attach, expected, possible = true] of cases) {
    itIf({ when: possible, reason: 'this kernel has no kprobes' }, what, () => {
      const links = b.links;
      const before = events();
      const calls = () => b.table<number, number>('calls').get(0)!;
      const error = caught(attach);
      expect(error).toMatchObject({ code: expected.code, errno: expected.errno });
      expect(error.hint ?? '').toMatch(expected.hint ?? /./);
      expect(b.links).toEqual(links);
      expect(events()).toEqual(before);
      const count = calls();
      callKill();
      expect(calls()).toBe(count + 1);
    });
  }

  const detachments: [string, () => unknown, RegExp?][] = [
    ['tracepoint', () => b.detachTracepoint({ tp: 'syscalls:sys_enter_sync' }), /sys_enter_kill/],
    ['raw tracepoint', () => b.detachRawTracepoint({ tp: 'sys_enter' })],
    ['kprobe', () => b.detachKprobe({ event: 'vfs_read' })],
    ['kretprobe', () => b.detachKretprobe({ event: 'vfs_read' })],
    ["kprobe's event", () => b.detachKprobeEvent('p_vfs_read')],
    ["kprobe's event of a function", () => b.detachKprobeEventByFn('p_vfs_read', 'other')],
    ['uprobe', () => b.detachUprobe({ name: 'c', sym: 'malloc' })],
    ['uretprobe', () => b.detachUretprobe({ name: 'c', sym: 'malloc' })],
    ["uprobe's event", () => b.detachUprobeEvent('p__lib_x_so_0x10')],
    ['kfunc', () => b.detachKfunc({ fnName: 'vfs_read' })],
    ['kretfunc', () => b.detachKretfunc({ fnName: 'vfs_read' })],
    ['fmod_ret', () => b.detachFmodRet({ fnName: 'security_file_open' })],
    ['LSM', () => b.detachLsm({ fnName: 'file_open' })],
    ['perf event', () => b.detachPerfEvent({ evType: PerfType.SOFTWARE, evConfig: PerfSWConfig.CPU_CLOCK })],
    ['tc', () => b.detachTc({ dev: 'lo', direction: 'egress' })],
    [
      'function on a network namespace',
      () => BCC.detachFunc(b.loadFunc('packet', BPFProgType.XDP), 0, BPFAttachType.FLOW_DISSECTOR),
    ],
  ];

  it.each(detachments)('detaching what is not attached: a %s', (_what, detach, hint = /./) => {
    const links = b.links;
    const error = caught(detach);
    expect(error).toMatchObject({ code: 'ERR_BCC_NOT_ATTACHED', errno: expect.any(Number) });
    expect(error.hint).toMatch(hint);
    expect(b.links).toEqual(links);
  });

  it('on one of several tracepoints leaves nothing on the others', () => {
    const links = b.links;
    expect(BCC.getTracepoints('block:block_rq_issue$|ftrace:print$')).toHaveLength(2);
    // Of the two, in the order of their names, ftrace's own takes no program.
    const attach = () => b.attachTracepoint({ tpRe: 'block:block_rq_issue$|ftrace:print$', fnName: 'other' });
    expect(caught(attach)).toMatchObject({ name: 'AttachError', errno: expect.any(Number) });
    expect(b.links).toEqual(links);
  });

  describe('after close()', () => {
    const closed = new BCC({ text: 'int f(void *ctx) { return 0; }' });
    const f = closed.loadFunc('f', BPFProgType.XDP);
    closed.close();

    it.each<[string, () => unknown]>([
      ['attachTracepoint', () => closed.attachTracepoint({ tp: 'syscalls:sys_enter_kill', fnName: 'f' })],
      ['attachRawTracepoint', () => closed.attachRawTracepoint({ tp: 'sys_enter', fnName: 'f' })],
      ['attachKprobe', () => closed.attachKprobe({ event: 'vfs_read', fnName: 'f' })],
      ['attachKretprobe', () => closed.attachKretprobe({ event: 'vfs_read', fnName: 'f' })],
      ['attachUprobe', () => closed.attachUprobe({ name: 'c', sym: 'malloc', fnName: 'f' })],
      ['attachUretprobe', () => closed.attachUretprobe({ name: 'c', sym: 'malloc', fnName: 'f' })],
      ['attachKfunc', () => closed.attachKfunc({ fnName: 'vfs_read' })],
      ['attachKretfunc', () => closed.attachKretfunc({ fnName: 'vfs_read' })],
      ['attachFmodRet', () => closed.attachFmodRet({ fnName: 'security_file_open' })],
      ['attachLsm', () => closed.attachLsm({ fnName: 'file_open' })],
      ['attachIter', () => closed.attachIter({ fnName: 'task' })],
      ['attachPerfEvent', () => closed.attachPerfEvent({ evType: 1, evConfig: 0, sampleFreq: 99, fnName: 'f' })],
      ['attachPerfEventRaw', () => closed.attachPerfEventRaw({ attr: { type: 1, samplePeriod: 9 }, fnName: 'f' })],
      ['attachTc', () => closed.attachTc({ fn: 'f', dev: 'lo', direction: 'ingress' })],
      ['attachTc of a function', () => closed.attachTc({ fn: f, dev: 'lo', direction: 'ingress' })],
      ['attachRawSocket', () => BCC.attachRawSocket(f, 'lo')],
      ['attachXdp', () => BCC.attachXdp('lo', f)],
      ['attachFunc', () => BCC.attachFunc(f, 0, BPFAttachType.FLOW_DISSECTOR)],
      ['detachFunc', () => BCC.detachFunc(f, 0, BPFAttachType.FLOW_DISSECTOR)],
      ['loadFunc', () => closed.loadFunc('f', BPFProgType.KPROBE)],
      ['table', () => closed.table('t')],
    ])('%s', (_call, provoke) => {
      const error = caught(provoke);
      expect(error).toMatchObject({ code: 'ERR_BCC_CLOSED', errno: 9 });
      expect(error.hint).toMatch(/./);
      expect(closed.links).toEqual([]);
    });
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
