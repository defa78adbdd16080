import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCC, BPFProgType, type LoadError } from '../../src';
import { runtime } from '../../src/native';
import { requireRoot, runProcess } from '../helpers';

requireRoot();

/** One program for most tests below: compiling is what takes the time. */
const TEXT = `
#include <linux/sched.h>
struct point { s16 x; s16 y; };
enum shape { ROUND = 1, SQUARE = 7 };
typedef struct {
  u64 ts;
  u32 pid;
  char comm[TASK_COMM_LEN];
  int low : 3;
  unsigned high : 5;
  enum shape shape;
  struct point corners[2];
  union { u32 word; u8 bytes[4]; };
} event_t;
struct small { u32 only; };

BPF_PERF_OUTPUT(perf);
BPF_RINGBUF_OUTPUT(ring, 1 << 4);
BPF_RINGBUF_OUTPUT(mixed, 1 << 4);
BPF_RINGBUF_OUTPUT(bare, 1 << 4);
BPF_HASH(calls, u32, u64);

static void fill(event_t *e) {
  e->ts = bpf_ktime_get_ns();
  e->pid = bpf_get_current_pid_tgid() >> 32;
  bpf_get_current_comm(&e->comm, sizeof(e->comm));
  e->low = -3;
  e->high = 21;
  e->shape = SQUARE;
  e->corners[0].x = -1;
  e->corners[0].y = 2;
  e->corners[1].x = 300;
  e->corners[1].y = -400;
  e->word = 0x04030201;
}

int send(void *ctx) {
  event_t e = {};
  fill(&e);
  perf.perf_submit(ctx, &e, sizeof(e));
  event_t *r = ring.ringbuf_reserve(sizeof(event_t));
  if (r) {
    __builtin_memcpy(r, &e, sizeof(e));
    ring.ringbuf_submit(r, 0);
  }
  struct small s = { .only = e.pid };
  if (mixed.ringbuf_output(&s, sizeof(s), 0) == 0) mixed.ringbuf_output(&e, sizeof(e), 0);
  u64 now = e.ts;
  bare.ringbuf_output(&now, sizeof(now), 0);
  calls.increment(e.pid);
  return 0;
}

int unbounded(void *ctx) {
  u64 *p = (u64 *)ctx;
  return *(int *)(p + bpf_get_prandom_u32());
}

int unchecked(void *ctx) {
  u64 *call = calls.lookup((u32 *)8);
  return call != 0;
}
`;

const tp = 'syscalls:sys_enter_sync';

const expectedEvent = (pid: number) => ({
  ts: expect.any(BigInt),
  pid,
  comm: 'sync',
  low: -3,
  high: 21,
  shape: 7,
  corners: [
    { x: -1, y: 2 },
    { x: 300, y: -400 },
  ],
  word: 0x04030201,
  bytes: Uint8Array.of(1, 2, 3, 4),
});

describe.each([
  ['compiled afresh', { cache: false }],
  ['from the cache', { cache: path.join(tmpdir(), `tsbcc-test-${process.pid}`) }],
])('a program %s', (_how, options) => {
  const cached = options.cache !== false;
  let b: BCC;
  beforeAll(() => {
    if (cached) new BCC({ text: TEXT, ...options }).close();
    b = new BCC({ text: TEXT, ...options });
    b.attachTracepoint({ tp, fnName: 'send' });
  });
  afterAll(() => {
    b.close();
    if (cached) rmSync(options.cache as string, { recursive: true });
  });

  it('tells how it came about', () => {
    expect(b.compiledBy).toBe(cached ? 'cache' : 'process');
    expect(b.functions).toEqual(['send', 'unbounded', 'unchecked']);
    expect(Object.keys(b.tables)).toEqual(['bare', 'calls', 'mixed', 'perf', 'ring']);
  });

  it('sends typed structs through perf and ring buffers, as the compiler laid them out', () => {
    const perf = b.table('perf');
    const ring = b.table('ring');
    const events: unknown[] = [];
    perf.openPerfBuffer((_cpu: number, data: Buffer) => events.push(perf.event(data)));
    ring.openRingBuffer((_ctx: unknown, data: Buffer) => void events.push(ring.event(data)));
    const pid = runProcess('/bin/sync');
    b.perfBufferPoll(1000);
    b.ringBufferPoll(1000);
    const own = events.filter((event) => (event as { pid: number }).pid === pid);
    expect(own).toEqual([expectedEvent(pid), expectedEvent(pid)]);
  });

  it('tells two structs on one table apart by their size, and reads a bare u64', () => {
    const mixed = b.table('mixed');
    const bare = b.table('bare');
    const seen: unknown[] = [];
    mixed.openRingBuffer((_ctx: unknown, data: Buffer) => void seen.push(mixed.event(data)));
    bare.openRingBuffer((_ctx: unknown, data: Buffer) => void seen.push(bare.event(data)));
    b.ringBufferConsume();
    seen.length = 0;
    const pid = runProcess('/bin/sync');
    b.ringBufferPoll(1000);
    expect(seen).toEqual([{ only: pid }, expectedEvent(pid), expect.any(BigInt)]);
  });

  it('counts in a table that reads as a Map', () => {
    const pid = runProcess('/bin/sync');
    expect(b.table('calls').get(pid)).toBe(1n);
    expect(new Map(b.table('calls')).get(pid)).toBe(1n);
  });

  it('explains what the verifier refuses, in the words and lines of the program', () => {
    expect(() => b.loadFunc('unbounded', BPFProgType.TRACEPOINT)).toThrow(
      expect.objectContaining({ name: 'LoadError', errno: 13, log: expect.stringContaining('processed') }),
    );
    try {
      b.loadFunc('unbounded', BPFProgType.TRACEPOINT);
    } catch (error) {
      expect((error as LoadError).message).toContain('return *(int *)(p + bpf_get_prandom_u32());');
    }
  });

  it('names the line that the verifier refuses where libbcc wrote another in its place', () => {
    const line = TEXT.split('\n').findIndex((text) => text.includes('calls.lookup')) + 1;
    expect(() => b.loadFunc('unchecked', BPFProgType.TRACEPOINT)).toThrow(
      `line ${line}: u64 *call = calls.lookup((u32 *)8);`,
    );
  });

  it("answers to BCC's static names as well, as Python's objects do", () => {
    const address = b.ksymname('vfs_read');
    expect(address).toBeGreaterThan(0n);
    expect(b.ksym(address)).toBe('vfs_read');
    expect(b.sym(address, -1)).toBe('vfs_read');
    expect(b.findLibrary('c')).toBe(BCC.findLibrary('c'));
    expect(b.getTracepoints(tp)).toContain(tp);
    const fn = b.loadFunc('send', BPFProgType.TRACEPOINT);
    expect(() => b.attachFunc(fn, '/nowhere', 0)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_CGROUP_NOT_FOUND' }),
    );
  });

  it('is names and links as JSON, and a table what it is', () => {
    const link = { kind: 'tracepoint', target: tp, fnName: 'send' };
    expect(JSON.parse(JSON.stringify(b))).toEqual({
      closed: false,
      tables: ['bare', 'calls', 'mixed', 'perf', 'ring'],
      functions: ['send', 'unbounded', 'unchecked'],
      links: [link],
    });
    expect(JSON.stringify(b.table('calls'))).toBe('{"name":"calls","type":"HASH","maxEntries":10240}');
  });

  it('names the nearest function or table for one that does not exist', () => {
    expect(() => b.attachTracepoint({ tp, fnName: 'sent' })).toThrow(
      /has no function "sent"[\s\S]*did you mean send\?/,
    );
    expect(() => b.table('cals')).toThrow(/has no table "cals"[\s\S]*did you mean calls\?/);
  });
});

it('decodes 64-bit integers as numbers on request', () => {
  using b = new BCC({ text: 'BPF_HASH(h, u64, s64);', int64: 'number' });
  const h = b.table('h');
  h.set(5, -7);
  expect([...h]).toEqual([[5, -7]]);
  expect(() => h.set(2 ** 53, 1)).toThrow(RangeError);
});

it('attaches functions by their names alone', () => {
  using b = new BCC(`
    BPF_HASH(seen, u32, u64);
    int tracepoint__syscalls__sys_enter_sync(void *ctx) { seen.increment(bpf_get_current_pid_tgid() >> 32); return 0; }
    int raw_tracepoint__sys_exit(void *ctx) { return 0; }`);
  expect(b.links.map(({ kind, target }) => `${kind} ${target}`)).toEqual([
    'raw_tracepoint sys_exit',
    'tracepoint syscalls:sys_enter_sync',
  ]);
  const pid = runProcess('/bin/sync');
  expect(b.table('seen').get(pid)).toBe(1n);
});

it('leaves nothing in the kernel when it is closed', () => {
  const b = new BCC(`BPF_ARRAY(a, u64, 1); int f(void *ctx) { return 0; }`);
  b.attachTracepoint({ tp, fnName: 'f' });
  const program = b.loadFunc('f', BPFProgType.TRACEPOINT).id;
  const map = runtime().mapInfo(b.table('a').getFd()).id;
  expect(runtime().ids('program')).toContain(program);
  expect(runtime().ids('map')).toContain(map);
  b.close();
  b.close();
  expect(b.closed).toBe(true);
  expect(() => b.table('a')).toThrow(expect.objectContaining({ code: 'ERR_BCC_CLOSED' }));
  // Programs and their maps are freed after a grace period.
  const deadline = Date.now() + 5000;
  while (Date.now() < deadline && runtime().ids('map').includes(map)) spawnSync('sleep', ['0.05']);
  expect(runtime().ids('program')).not.toContain(program);
  expect(runtime().ids('map')).not.toContain(map);
});

it('asks the kernel once for each lookup and for nothing else, which programs that watch bpf(2) see', () => {
  using b = new BCC({
    text: `BPF_ARRAY(returned, u64, 1);
      BPF_ARRAY(owner, u32, 1);
      int f(void *ctx) {
        int first = 0;
        u32 *pid = owner.lookup(&first);
        if (pid && bpf_get_current_pid_tgid() >> 32 == *pid) returned.atomic_increment(first);
        return 0;
      }`,
  });
  b.table('owner').set(0, process.pid);
  b.attachTracepoint({ tp: 'syscalls:sys_exit_bpf', fnName: 'f' });
  const returned = b.table('returned');
  expect([returned.get(0), returned.get(0), returned.get(0)]).toEqual([0n, 1n, 2n]);
});

it('loads every function at once, and frees what it has of the compiler, which is nothing', () => {
  using b = new BCC('int one(void *ctx) { return 0; }\nint two(void *ctx) { return 0; }');
  expect(b.loadFuncs(BPFProgType.TRACEPOINT).map(({ name }) => name)).toEqual(['one', 'two']);
  expect(b.loadFunc('one', BCC.KPROBE).type).toBe(BPFProgType.KPROBE);
  expect(() => b.loadFunc('one', undefined as never)).toThrow(TypeError);
  expect(b.freeBccMemory()).toBe(0);
  expect(readFileSync('/proc/self/maps', 'latin1')).not.toMatch(/libLLVM/);
});

it('polls perf buffers by its older name as well', () => {
  using b = new BCC(`BPF_PERF_OUTPUT(e);
    int f(void *ctx) { u32 pid = bpf_get_current_pid_tgid() >> 32; e.perf_submit(ctx, &pid, sizeof(pid)); return 0; }`);
  b.attachTracepoint({ tp, fnName: 'f' });
  const e = b.table('e');
  const pids: number[] = [];
  e.openPerfBuffer((_cpu: number, data: Buffer) => pids.push(e.event(data)));
  const pid = runProcess('/bin/sync');
  b.kprobePoll(1000);
  expect(pids).toContain(pid);
});

it('tells on stderr what debug flags ask for, and compiles afresh for it', () => {
  const script = `
    const { BCC, BPFProgType, Debug } = require(${JSON.stringify(path.join(__dirname, '..', '..', 'lib'))});
    const b = new BCC({ text: 'int f(void *ctx) { return 0; }', debug: Debug.PREPROCESSOR | Debug.BPF });
    b.loadFunc('f', BPFProgType.TRACEPOINT);
    console.log(b.compiledBy);`;
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
  expect(stdout).toMatch(/process\n$/);
  expect(stderr).toContain('int f(void *ctx)');
  expect(stderr).toMatch(/processed \d+ insns/);
});

describe('options of calls', () => {
  it("are refused where they are unknown, Python's spellings among them, and the one that was meant is named", () => {
    using b = new BCC('BPF_HISTOGRAM(dist); BPF_PERF_OUTPUT(events); int f(void *ctx) { return 0; }');
    const calls: [() => unknown, RegExp][] = [
      [
        () => b.attachKprobe({ event: 'x', fn_name: 'f' } as never),
        /^attachKprobe: .*'fn_name': did you mean fnName\?/,
      ],
      [() => b.detachKretprobe({ event: 'x', fn_name: 'f' } as never), /did you mean fnName\?/],
      [() => b.attachUretprobe({ name: 'c', sym_re: 'x', fnName: 'f' } as never), /attachUretprobe: .*symRe/],
      [() => b.attachTracepoint({ tp_re: 'x', fnName: 'f' } as never), /tpRe/],
      [() => b.attachRawTracepoint({ tp, function: 'f' } as never), /unknown option 'function': .*fnName/],
      [() => b.attachPerfEvent({ evType: 1, evConfig: 0, fnName: 'f', sample_freq: 9 } as never), /sampleFreq\?/],
      [() => b.loadFunc('f', BCC.KPROBE, { attach_type: 1 } as never), /attachType\?/],
      [() => b.getTable('dist', { leaf_type: 1 } as never), /leafType\?/],
      [() => b.table('events').openPerfBuffer(() => {}, { page_cnt: 64 } as never), /did you mean pageCnt\?/],
      [() => b.table('dist').printLog2Hist('x', { section_header: 'y' } as never), /sectionHeader\?/],
      [() => BCC.ksym(1n, { show_module: true } as never), /showModule\?/],
      [() => BCC.sym(1n, process.pid, { show_offset: true } as never), /showOffset\?/],
      [() => b.attachKprobe('vfs_read' as never), /^attachKprobe takes an object of options \(event, .*not 'vfs_read'/],
      [() => b.attachTracepoint(undefined as never), /^attachTracepoint takes an object of options/],
    ];
    for (const [call, message] of calls) {
      expect(call).toThrow(TypeError);
      expect(call).toThrow(message);
    }
    expect(b.links).toEqual([]);
  });
});

it('reads per-CPU pointers of tracepoints as numbers', () => {
  using b = new BCC(`
    BPF_HASH(places, u64, u32, 1024);
    TRACEPOINT_PROBE(percpu, percpu_alloc_percpu) {
      if (bpf_get_current_pid_tgid() >> 32 != ${process.pid}) return 0;
      u64 place = (u64)(void *)args->ptr;
      u32 bytes = args->size;
      places.update(&place, &bytes);
      return 0;
    }`);
  using _allocates = new BCC('struct leaf { u64 words[20]; }; BPF_PERCPU_ARRAY(slots, struct leaf, 8);');
  const allocations = [...b.table('places')].filter(([place, bytes]) => place !== 0n && bytes === 160);
  expect(allocations).toHaveLength(8);
});

describe('tables of another program', () => {
  it('are found by name where they are exported', () => {
    using first = new BCC('BPF_TABLE_PUBLIC("hash", u32, u64, shared_counts, 64);');
    using second = new BCC(`BPF_TABLE("extern", u32, u64, shared_counts, 64);
      int f(void *ctx) { u32 k = 3; u64 v = 4; shared_counts.update(&k, &v); return 0; }`);
    second.attachTracepoint({ tp, fnName: 'f' });
    runProcess('/bin/sync');
    expect(first.table('shared_counts').get(3)).toBe(4n);
  });

  it('are missed by name where they are not', () => {
    expect(() => new BCC('BPF_TABLE("extern", u32, u64, nobody_has_this, 64);')).toThrow(/nobody_has_this/);
  });
});
