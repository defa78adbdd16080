import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import * as path from 'node:path';
import { BCC } from '../../src/bcc';
import { BPFProgType } from '../../src/constants';
import { possibleCpus } from '../../src/kernel/cpus';
import { runtime } from '../../src/native';
import type { ArrayTable } from '../../src/table/array';
import { Table } from '../../src/table/table';
import { callKill, itIf, kernelHas, requireRoot } from '../helpers';

/* Every macro that declares a table, in one program: compiled, filled by the program, read back by its own types. */

requireRoot();

// Of one name at every run: it stands in the program's text, which the cache knows it by.
const folder = kernelHas('bpffs') ? '/sys/fs/bpf/tsbcc-test-macros' : undefined;
if (folder) rmSync(folder, { recursive: true, force: true });
if (folder) mkdirSync(folder);
const pinned = folder && path.join(folder, 'kept');

const TEXT = `
struct key_t { u32 pid; char op; u64 when; };
enum color { RED = 1, GREEN = 5 };
struct leaf_t {
  u64 count;
  enum color color;
  u16 small : 3, large : 13;
  char comm[16];
  struct { s32 x; s32 y; } at;
  u8 mac[6];
};
struct route_t { u32 prefixlen; u8 address[4]; };
struct slot_t { char disk[8]; u64 slot; };
struct item_t { u32 a; u64 b; };

BPF_HASH(plain);
BPF_HASH(hashed, struct key_t, struct leaf_t, 64);
BPF_TABLE("lru_hash", u32, u64, lru, 64);
BPF_ARRAY(slots, u64, 8);
BPF_PERCPU_ARRAY(percpu_slots, u32, 4);
BPF_PERCPU_HASH(percpu_hashed, u32, u64, 16);
BPF_TABLE("lru_percpu_hash", u32, u64, percpu_lru, 16);
BPF_HISTOGRAM(dist);
BPF_HISTOGRAM(disks, struct slot_t);
BPF_LPM_TRIE(routes, struct route_t, u32, 16);
BPF_STACK_TRACE(stacks, 64);
BPF_STACK_TRACE_BUILDID(places, 64);
BPF_PROG_ARRAY(jumps, 4);
BPF_QUEUE(line, struct item_t, 4);
BPF_STACK(pile, u32, 4);
BPF_CGROUP_ARRAY(groups, 2);
BPF_CPUMAP(cpus, 4);
BPF_DEVMAP(devices, 4);
BPF_XSKMAP(xsks, 4);
BPF_SOCKMAP(socks, 4);
BPF_SOCKHASH(sockhash, u32, 4);
BPF_ARRAY(inner_a, u64, 4);
BPF_ARRAY(inner_b, u64, 4);
BPF_TABLE("hash", u32, struct item_t, inner_h, 8);
BPF_ARRAY_OF_MAPS(outer, "inner_a", 4);
BPF_HASH_OF_MAPS(outer_hash, u32, "inner_h", 4);
BPF_PERF_OUTPUT(events);
BPF_RINGBUF_OUTPUT(ring, 1);
${pinned ? `BPF_TABLE_PINNED("hash", u32, u64, kept, 8, "${pinned}");` : 'BPF_TABLE("hash", u32, u64, kept, 8);'}

int fill(struct __sk_buff *skb) {
  u64 one = 1;
  plain.increment(one);
  plain.increment(one);

  struct key_t key = { .pid = 7, .op = 'w', .when = 1ULL << 60 };
  struct leaf_t leaf = { .count = 3, .color = GREEN, .small = 5, .large = 8000, .comm = "node" };
  leaf.at.x = -4;
  leaf.at.y = 9;
  leaf.mac[5] = 0xff;
  hashed.update(&key, &leaf);

  u32 index = 2, other = 3;
  lru.update(&index, &one);
  slots.increment(index);
  u32 *mine = percpu_slots.lookup(&index);
  if (mine) *mine += 6;
  u64 zero64 = 0, *there = percpu_hashed.lookup_or_try_init(&index, &zero64);
  if (there) *there += 1;
  there = percpu_lru.lookup_or_try_init(&index, &zero64);
  if (there) *there += 1;

  dist.increment(bpf_log2l(1000));
  dist.increment(bpf_log2l(1000));
  dist.increment(bpf_log2l(3));
  struct slot_t slot = { .disk = "sda", .slot = 4 };
  disks.increment(slot);

  struct route_t route = { .prefixlen = 32, .address = { 10, 1, 2, 3 } };
  u32 *hop = routes.lookup(&route);
  if (hop) *hop += 1;

  struct item_t item = { .a = 1, .b = 2 };
  line.push(&item, 0);
  item.a = 5;
  line.push(&item, 0);
  pile.push(&index, 0);
  pile.push(&other, 0);

  int zero = 0;
  void *inner = outer.lookup(&zero);
  if (inner) {
    u64 *n = bpf_map_lookup_elem(inner, &zero);
    if (n) *n += 11;
  }
  inner = outer_hash.lookup(&index);
  if (inner) bpf_map_update_elem(inner, &other, &item, 0);
  kept.increment(index);
  return 0;
}

int jump(struct __sk_buff *skb) {
  jumps.call(skb, 1);
  return 7;
}

int target(struct __sk_buff *skb) { return 42; }

int traced(struct bpf_raw_tracepoint_args *ctx) { return stacks.get_stackid(ctx, 0); }

int placed(struct bpf_raw_tracepoint_args *ctx) { return places.get_stackid(ctx, BPF_F_USER_STACK); }
`;

let b: BCC;

function run(name: string, kind: 'packet' | 'context' = 'packet'): number {
  const fn = b.loadFunc(name, kind === 'packet' ? BPFProgType.SOCKET_FILTER : BPFProgType.RAW_TRACEPOINT);
  const [data, context] = kind === 'packet' ? [new Uint8Array(64), null] : [null, new Uint8Array(16)];
  const { errno, returnValue } = runtime().testRun(fn.fd, data, context, kind === 'packet' ? 1 : 0);
  expect(errno).toBe(0);
  return returnValue;
}

beforeAll(() => {
  b = new BCC(TEXT);
  b.table('routes').set({ prefixlen: 8, address: Uint8Array.of(10, 0, 0, 0) }, 100);
  b.table('outer').set(0, b.table('inner_b'));
  b.table('outer_hash').set(2, b.table('inner_h'));
  run('fill');
});

afterAll(() => {
  b?.close();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

describe('what a program wrote is read by its own C types', () => {
  test('BPF_HASH', () => {
    expect(b.table('plain').items()).toEqual([[1n, 2n]]);
    expect(b.table('hashed').items()).toEqual([
      [
        { pid: 7, op: 'w'.charCodeAt(0), when: 1n << 60n },
        {
          count: 3n,
          color: 5,
          small: 5,
          large: 8000,
          comm: 'node',
          at: { x: -4, y: 9 },
          mac: Uint8Array.of(0, 0, 0, 0, 0, 255),
        },
      ],
    ]);
    const [key] = b.table('hashed').keys();
    expect(b.table('hashed').delete(key)).toBe(true);
    expect(b.table('hashed').size).toBe(0);
  });

  test('BPF_TABLE("lru_hash"), BPF_ARRAY', () => {
    expect(b.table('lru').items()).toEqual([[2, 1n]]);
    const slots = b.table('slots');
    expect([...slots.values()]).toEqual([0n, 0n, 1n, 0n, 0n, 0n, 0n, 0n]);
    expect(slots.get(-6)).toBe(1n);
  });

  test('per-CPU tables', () => {
    const cpus = possibleCpus().length;
    expect(b.table('percpu_slots').get(2)).toHaveLength(cpus);
    expect(b.table('percpu_slots').sum(2)).toBe(6);
    expect(b.table('percpu_hashed').sum(2)).toBe(1n);
    expect(b.table('percpu_hashed').max(2)).toBe(1n);
    expect(b.table('percpu_lru').average(2)).toBe(1 / cpus);
    const reduced = b.getTable('percpu_slots', { reducer: (a: number, c: number) => a + c });
    expect(reduced.items()).toEqual([
      [0, 0],
      [1, 0],
      [2, 6],
      [3, 0],
    ]);
  });

  test('BPF_HISTOGRAM', () => {
    let text = '';
    b.table('dist').printLog2Hist('ns', { output: { write: (part) => (text += part) } });
    expect(text.split('\n')).toEqual([
      '     ns                  : count     distribution',
      '         0 -> 1          : 0        |                                        |',
      '         2 -> 3          : 1        |********************                    |',
      '         4 -> 7          : 0        |                                        |',
      ...['8 -> 15', '16 -> 31', '32 -> 63', '64 -> 127', '128 -> 255', '256 -> 511'].map((range) => {
        const [low, high] = range.split(' -> ') as [string, string];
        return `${low.padStart(10)} -> ${high.padEnd(10)} : 0        |                                        |`;
      }),
      '       512 -> 1023       : 2        |****************************************|',
      '',
    ]);
    text = '';
    b.table('disks').printLog2Hist('kbytes', { sectionHeader: 'disk', output: { write: (part) => (text += part) } });
    expect(text).toMatch(/^\ndisk = b'sda'\n {5}kbytes/);
    expect(b.table('disks').histogram()).toEqual([
      { section: 'sda', buckets: expect.arrayContaining([{ low: 8, high: 15, count: 1 }]) },
    ]);
  });

  test('BPF_LPM_TRIE', () => {
    expect(b.table('routes').get({ prefixlen: 32, address: Uint8Array.of(10, 9, 9, 9) })).toBe(101);
  });

  test('BPF_QUEUE and BPF_STACK', () => {
    expect(b.table('line').peek()).toEqual({ a: 1, b: 2n });
    expect(b.table('line').pop()).toEqual({ a: 1, b: 2n });
    expect([...b.table('line').values()]).toEqual([{ a: 5, b: 2n }]);
    expect([...b.table('pile').values()]).toEqual([3, 2]);
  });

  test('BPF_ARRAY_OF_MAPS and BPF_HASH_OF_MAPS', () => {
    expect(b.table('inner_b').get(0)).toBe(11n);
    expect((b.table('outer').get(0) as ArrayTable).get(0)).toBe(11n);
    expect(b.table('outer_hash').get(2).items()).toEqual([[3, { a: 5, b: 2n }]]);
  });

  test('BPF_STACK_TRACE and BPF_STACK_TRACE_BUILDID', () => {
    const id = run('traced', 'context');
    const names = [...b.table('stacks').walk(id, (address) => BCC.ksym(address))];
    expect(names.length).toBeGreaterThan(1);
    expect(names.join(' ')).toMatch(/sys_bpf|bpf_prog_test_run/);
    const place = run('placed', 'context');
    expect([...b.table('places').walk(place)].length).toBeGreaterThan(0);
  });

  test('BPF_PROG_ARRAY by the name of a function', () => {
    expect(run('jump')).toBe(7);
    b.loadFunc('target', BPFProgType.SOCKET_FILTER);
    b.table('jumps').set(1, 'target');
    expect(run('jump')).toBe(42);
    b.table('jumps').delete(1);
    expect(run('jump')).toBe(7);
    b.table('jumps').set(1, b.loadFunc('target', BPFProgType.SOCKET_FILTER));
    expect(run('jump')).toBe(42);
    expect(() => b.table('jumps').set(1, 'nosuch')).toThrow(/nosuch/);
  });

  test('maps of devices, CPUs, sockets and cgroups exist as declared', () => {
    const lo = Number(readFileSync('/sys/class/net/lo/ifindex', 'utf8'));
    expect(b.table('devices').set(1, 'lo').get(1)).toBe(lo);
    expect(b.table('cpus').set(0, 64).get(0)).toBe(64);
    expect(b.table('xsks').delete(0)).toBe(true);
    expect(b.table('socks').size).toBe(4);
    expect([...b.table('sockhash').keys()]).toEqual([]);
    expect(b.table('groups').size).toBe(2);
  });

  test('every table is there by name', () => {
    expect(Object.keys(b.tables)).toEqual(expect.arrayContaining(['plain', 'outer', 'events', 'ring', 'kept']));
    expect(b.tables.plain).toBe(b.table('plain'));
    for (const name of Object.keys(b.tables)) expect(b.table(name)).toBeInstanceOf(Table);
    expect(() => b.table('plane')).toThrow(/plain/);
  });

  test('BPF_TABLE_PINNED outlives its program, and the next one finds it', () => {
    if (pinned === undefined) return;
    expect(existsSync(pinned)).toBe(true);
    const table = Table.fromPin(pinned);
    expect(table.items()).toEqual([[2, 1n]]);
    table.set(9, 9n);
    table.close();
    expect(b.table('kept').get(9)).toBe(9n);
  });

  test('BPF_TABLE_PINNED is as long as the map that is there, whatever the program says', () => {
    if (folder === undefined) return;
    const at = path.join(folder, 'line');
    using first = new BCC(`BPF_TABLE_PINNED("array", u32, u64, line, 3, "${at}");`);
    using second = new BCC(`BPF_TABLE_PINNED("array", u32, u64, line, 9, "${at}");`);
    first.table('line').set(2, 5n);
    expect([...second.table('line').values()]).toEqual([0n, 0n, 5n]);
    expect(() => second.table('line').get(3)).toThrow(/the table has 3 elements/);
  });

  test("types of one's own take the place of C's", () => {
    const leafType = { kind: 'int', size: 8, signed: true } as const;
    expect(b.getTable('plain', { keyType: leafType, leafType }).items()).toEqual([[1n, 2n]]);
    expect(() => b.getTable('plain', { leafType: { ...leafType, size: 4 } })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_TABLE_SIZE' }),
    );
  });

  test('keys and leaves as BCC writes them in text, and back', () => {
    const hashed = b.table('hashed');
    const text = hashed.keySprintf({ pid: 1, op: 2, when: 3n });
    expect(text).toMatch(/^\{ 0x1 0x2 .*0x3 \}$/);
    expect(hashed.keyScanf(text)).toEqual({ pid: 1, op: 2, when: 3n });
    expect(b.table('slots').leafSprintf(31n)).toBe('0x1f');
    expect(b.table('slots').leafScanf('0x1f')).toBe(31n);
    expect(b.table('percpu_hashed').leafScanf('31')).toBe(31n);
    expect(b.table('line').leafScanf(b.table('line').leafSprintf({ a: 1, b: 2n }))).toEqual({ a: 1, b: 2n });
  });
});

itIf('syscallTracepoints', 'BPF_TASK_STORAGE keeps a leaf in each task', () => {
  using b = new BCC(`
struct visit { u64 calls; int last_signal; };
BPF_TASK_STORAGE(visits, struct visit);
TRACEPOINT_PROBE(syscalls, sys_enter_kill) {
  struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
  struct visit *visit = visits.task_storage_get(task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (!visit) return 0;
  visit->calls++;
  visit->last_signal = args->sig;
  return 0;
}`);
  callKill(2);
  expect(b.table('visits').get(process)).toEqual({ calls: 2n, last_signal: 0 });
});
