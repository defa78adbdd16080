import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCC, BCCError, BPFProgType, PerfSWConfig, PerfType, SymbolCache, Table, USDT } from '../../src';
import { requireRoot } from '../helpers';

/*
 * Ways to misuse the public functions, each with the error it gives. docs/errors.md is made from this list:
 *   UPDATE_DOCS=1 npx jest test/kernel/misuse
 */

requireRoot();

const TEXT = `
struct key { u32 pid; u8 op; };
struct one { u32 a; };
struct two { u32 a; u32 b; };
BPF_HASH(counts, u32, u64, 2);
BPF_HASH(structs, struct key, struct one, 8);
BPF_ARRAY(cells, u32, 4);
BPF_PERCPU_ARRAY(percpu, u64, 2);
BPF_QUEUE(queue, u64, 2);
BPF_LPM_TRIE(trie, struct key, u64);
BPF_PROG_ARRAY(progs, 2);
BPF_PERF_OUTPUT(perf);
BPF_RINGBUF_OUTPUT(ring, 4);
BPF_HISTOGRAM(hist);
int traced(void *ctx) {
  struct one o = { 1 };
  struct two t = { 1, 2 };
  ring.ringbuf_output(&o, sizeof(o), 0);
  ring.ringbuf_output(&t, sizeof(t), 0);
  return 0;
}
int wild(void *ctx) { return *(int *)((char *)ctx + bpf_get_prandom_u32()); }
int null_check(void *ctx) { u32 k = 1; u64 *v = counts.lookup(&k); return *v; }
`;

let b: BCC;
let closed: BCC;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-misuse-'));
  b = new BCC(TEXT);
  closed = new BCC('BPF_HASH(h);');
  closed.close();
});
afterAll(() => {
  b.close();
  rmSync(folder, { recursive: true, force: true });
});

const tp = 'syscalls:sys_enter_sync';
const make = (options: object) => new BCC(options as never).close();
const counts = () => b.table('counts');
const file = (name: string, content: string) => {
  const where = path.join(folder, name);
  writeFileSync(where, content);
  return where;
};

type Case = [misuse: string, provoke: () => unknown];

const CASES: Readonly<Record<string, readonly Case[]>> = {
  'Making a program': [
    ['`new BCC()` without a program', () => make({})],
    ['`new BCC(42)`', () => new BCC(42 as never)],
    ['an option that does not exist: `{ txt }`', () => make({ txt: '' })],
    ['`text` and `srcFile` together', () => make({ text: '', srcFile: 'x.c' })],
    ['`cflags` that are no array', () => make({ text: '', cflags: '-DX' })],
    ["`int64: 'string'`", () => make({ text: '', int64: 'string' })],
    ['`debug` that is no number', () => make({ text: '', debug: 'yes' })],
    ['a `srcFile` that does not exist', () => make({ srcFile: '/no/such/program.c' })],
    ['a `program` that does not exist', () => make({ program: '/no/such/program.tsbcc' })],
    ['a `program` that is no compiled program', () => make({ program: file('text.tsbcc', 'int f() {}') })],
    ['a `headers` path that is no kernel tree', () => make({ text: 'BPF_HASH(h);', headers: '/tmp' })],
    ["`headers: ''`", () => make({ text: 'BPF_HASH(h);', headers: '' })],
    [
      'modules’ types that the kernel does not have',
      () => make({ text: 'BPF_HASH(h);', headers: { modules: ['no_such_module'] } }),
    ],
    ['a network `device` that does not exist', () => make({ text: 'BPF_HASH(h);', device: 'nodev0' })],
  ],
  'C text': [
    ['C that does not parse', () => make({ text: 'int f(void *ctx) { return 0 }', cache: false })],
    ['an unknown name', () => make({ text: 'int f(void *ctx) { return nobody; }', cache: false })],
    ['a function that exists nowhere', () => make({ text: 'int f(void *ctx) { return nothing(); }', cache: false })],
    [
      'a header that no kernel has',
      () => make({ text: '#include <linux/no_such_thing.h>\nint f(void *ctx) { return 0; }', headers: 'btf' }),
    ],
    [
      'a stack of more than 512 bytes',
      () =>
        make({
          text: 'int f(void *ctx) { volatile char s[900]; s[bpf_get_prandom_u32() % 900] = 1; return s[7]; }',
          cache: false,
        }),
    ],
    [
      'a ring buffer whose size is no power of two',
      () => make({ text: 'BPF_RINGBUF_OUTPUT(r, 3); int f(void *ctx) { return 0; }' }),
    ],
    ['an "extern" table that nobody exports', () => make({ text: 'BPF_TABLE("extern", u32, u32, nobodys, 1);' })],
  ],
  'Loading and functions': [
    ['a function that does not exist', () => b.loadFunc('trased', BPFProgType.TRACEPOINT)],
    ['a program type that is none', () => b.loadFunc('traced', undefined as never)],
    ['memory that the verifier cannot bound', () => b.loadFunc('wild', BPFProgType.TRACEPOINT)],
    ['a lookup whose result is not checked', () => b.loadFunc('null_check', BPFProgType.TRACEPOINT)],
    ['instructions of a function that does not exist', () => b.dumpFunc('nobody')],
    ['any call after `close()`', () => closed.loadFunc('f', BPFProgType.TRACEPOINT)],
    ['`ringBufferPoll` after `close()`', () => closed.ringBufferPoll(0)],
  ],
  Attaching: [
    ['a tracepoint that does not exist', () => b.attachTracepoint({ tp: 'sched:sched_swich', fnName: 'traced' })],
    ['a tracepoint without a category', () => b.attachTracepoint({ tp: 'sched_switch', fnName: 'traced' })],
    ['a pattern that fits no tracepoint', () => b.attachTracepoint({ tpRe: 'nothing:.*', fnName: 'traced' })],
    ['no `fnName`', () => b.attachTracepoint({ tp })],
    ['a raw tracepoint that does not exist', () => b.attachRawTracepoint({ tp: 'no_such_point', fnName: 'traced' })],
    ['a kfunc function that does not exist', () => b.attachKfunc({ fnName: 'vfs_read' })],
    ['detaching what is not attached', () => b.detachTracepoint({ tp })],
    [
      'an uprobe on a library that does not exist',
      () => b.attachUprobe({ name: 'no_such_library', sym: 'f', fnName: 'traced' }),
    ],
    [
      'an uprobe on a function that does not exist',
      () => b.attachUprobe({ name: 'c', sym: 'mallok', fnName: 'traced' }),
    ],
    [
      'an uprobe on a file that is no ELF',
      () => b.attachUprobe({ name: file('text', 'plain'), sym: 'f', fnName: 'traced' }),
    ],
    [
      'an uprobe for a process that has gone',
      () => b.attachUprobe({ name: 'c', sym: 'malloc', pid: 2 ** 22 - 1, fnName: 'traced' }),
    ],
    [
      'a perf event of no type',
      () => b.attachPerfEvent({ evType: 99, evConfig: 0, samplePeriod: 1, fnName: 'traced' }),
    ],
    [
      'a perf event with both a period and a frequency',
      () =>
        b.attachPerfEvent({
          evType: PerfType.SOFTWARE,
          evConfig: PerfSWConfig.CPU_CLOCK,
          samplePeriod: 1,
          sampleFreq: 1,
          fnName: 'traced',
        }),
    ],
    ['XDP on an interface that does not exist', () => BCC.attachXdp('nodev0', b.loadFunc('traced', BPFProgType.XDP))],
    [
      'a raw socket on an interface that does not exist',
      () => BCC.attachRawSocket(b.loadFunc('traced', BPFProgType.SOCKET_FILTER), 'nodev0'),
    ],
    ['tc with a direction that is none', () => b.attachTc({ fn: 'traced', dev: 'lo', direction: 'sideways' as never })],
    [
      'a cgroup that does not exist',
      () => BCC.attachFunc(b.loadFunc('traced', BPFProgType.CGROUP_SKB), '/no/such/cgroup', 0),
    ],
    ['USDT of a process that has gone', () => new USDT({ pid: 2 ** 22 - 1 })],
    ['USDT without pid and path', () => new USDT({})],
  ],
  Tables: [
    ['a table that does not exist', () => b.table('cuonts')],
    ['a key that is no number', () => counts().set('one', 1n)],
    ['a key out of range', () => counts().set(2 ** 32, 1n)],
    ['a negative key for an unsigned type', () => counts().get(-1)],
    ['a leaf that is no integer', () => counts().set(1, 1.5)],
    ['a bigint that does not fit', () => counts().set(1, 2n ** 64n)],
    ['a struct key that lacks a field', () => b.table('structs').get({ pid: 1 })],
    ['a struct key with a field too many', () => b.table('structs').get({ pid: 1, op: 2, uid: 3 })],
    ['a struct key whose field is out of range', () => b.table('structs').get({ pid: 1, op: 256 })],
    ['a full table', () => [1, 2, 3].forEach((key) => void counts().set(key, 1n))],
    ['an index beyond an array', () => b.table('cells').get(4)],
    ['one number where each CPU has one', () => b.table('percpu').set(0, 1n)],
    ['a full queue', () => [1, 2, 3].forEach((value) => void b.table('queue').push(BigInt(value)))],
    [
      'a type of another size than the leaf',
      () => b.getTable('counts', { leafType: { kind: 'int', size: 4, signed: false } }),
    ],
    ['a type that is none', () => b.getTable('counts', { leafType: { some: 'thing' } })],
    ['a stream of a table that is no ring', () => b.table('counts').events()],
    [
      'a second consumer of one ring buffer',
      () => {
        b.table('ring').openRingBuffer(() => {});
        b.table('ring').events();
      },
    ],
    ['a callback that is none', () => b.table('ring').openRingBuffer('print' as never)],
    ['a perf buffer of three pages', () => b.table('perf').openPerfBuffer(() => {}, { pageCnt: 3 })],
    ['an event shorter than its struct', () => b.table('ring').event(Buffer.alloc(2))],
    ['an event of a table that sends none', () => b.table('perf').event(Buffer.alloc(8))],
    ['a poll for less than no time', () => b.ringBufferPoll(-2)],
    ['pinning outside of bpffs', () => BCC.pin(counts().getFd(), path.join(folder, 'pin'))],
    ['opening a pin that does not exist', () => Table.fromPin('/sys/fs/bpf/tsbcc-no-such-pin')],
  ],
  Symbols: [
    ['a symbol cache of a process that has gone', () => new SymbolCache(2 ** 22 - 1)],
    ['a pattern that is no regular expression', () => BCC.getUserFunctions('c', '(')],
    ['functions of a library that does not exist', () => BCC.getUserFunctions('no_such_library', 'f')],
  ],
};

const { codes }: { codes: Record<string, Record<string, string>> } = require('../../scripts/docs/error-codes.mjs');

const page = path.join(__dirname, '..', '..', 'docs', 'errors.md');
const seen = new Map<string, string>();

for (const [group, cases] of Object.entries(CASES)) {
  describe(group, () => {
    it.each(cases)('%s', (misuse, provoke) => {
      let error: unknown;
      try {
        provoke();
      } catch (thrown) {
        error = thrown;
      }
      // Another realm's Error, as jest has it, is one all the same.
      expect(Object.prototype.toString.call(error)).toBe('[object Error]');
      const { name, code, message, hint } = error as BCCError;
      const own = error instanceof BCCError;
      expect(own || name === 'TypeError' || name === 'RangeError').toBe(true);
      expect(message.length).toBeGreaterThan(10);
      if (own) expect(code).toMatch(/^ERR_BCC_[A-Z0-9_]+$/);
      seen.set(
        `${group}\n${misuse}`,
        `| ${misuse} | ${name} | ${own ? `\`${code}\`` : ''} | ${own && hint ? 'yes' : ''} |`,
      );
    });
  });
}

it('docs/errors.md says the same', () => {
  const lines = [
    '<!-- Generated by test/kernel/misuse.test.ts with UPDATE_DOCS=1. -->',
    '# Errors',
    '',
    'Wrong arguments throw a `TypeError` or a `RangeError` that names the value, before anything touches the kernel. Everything',
    'else that fails throws a subclass of `BCCError`:',
    '',
    '| class | what failed | besides `code`, `errno`, `hint` and `cause` |',
    '|---|---|---|',
    '| `CompileError` | the C text did not become a program | `diagnostics` (file, line, column, message, source line), `output` |',
    '| `LoadError` | the kernel refused a program or a map | `log`, the whole verifier log |',
    '| `AttachError` | a hook could not be attached or detached | |',
    '| `TableError` | an operation on a table; the table is as it was | |',
    '| `HeadersError` | the kernel’s types could not be had | |',
    '| `UnsupportedError` | this kernel, libbcc or machine does not have it | |',
    '| `ClosedError` | a call after `close()` | |',
    '',
    '`code` is stable and meant for programs: [all of them](#codes). What each way of misuse gives:',
  ];
  for (const [group, cases] of Object.entries(CASES)) {
    lines.push('', `## ${group}`, '', '| misuse | error | code | hint |', '|---|---|---|---|');
    lines.push(...cases.map(([misuse]) => seen.get(`${group}\n${misuse}`) ?? `| ${misuse} | not provoked | | |`));
  }
  lines.push('', '## Codes');
  for (const [group, meanings] of Object.entries(codes)) {
    lines.push('', `### ${group}`, '', '| code | what it stands for |', '|---|---|');
    lines.push(...Object.entries(meanings).map(([code, meaning]) => `| \`${code}\` | ${meaning} |`));
  }
  const text = `${lines.join('\n')}\n`;
  if (process.env.UPDATE_DOCS === '1') writeFileSync(page, text);
  expect(readFileSync(page, 'utf8')).toBe(text);
  expect(Object.values(CASES).flat().length).toBeGreaterThanOrEqual(60);
});
