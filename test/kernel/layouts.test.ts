import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCC } from '../../src';
import { requireRoot, runProcess } from '../helpers';

requireRoot();

/** A struct of the user's own header: known to the program by `#include` alone. */
const HEADER = `
struct from_header { unsigned char kind; unsigned long long value; } __attribute__((packed));
`;

/** Every feature of a struct that C has; `fill` gives each of its fields a value that its neighbours do not have. */
const TEXT = `
#include "events.h"
enum color { RED = -1, GREEN = 2 };
enum wide { SMALL = 1, LARGE = 1ULL << 40 };
enum tiny { TINY = 200 } __attribute__((packed));
struct inner { short a; char b; };
struct packed { u8 a; u64 b; u32 c : 3, d : 30; } __attribute__((packed));
struct aligned { u8 a; } __attribute__((aligned(16)));
typedef u8 mac_t[6];

typedef struct {
  u32 pid;
  s8 s8; s16 s16; s32 s32; s64 s64;
  u8 u8; u16 u16; u64 u64;
  __int128 i128; unsigned __int128 u128;
  char comm[16];
  char letter;
  bool yes, no;
  u32 single; u64 twice;
  int negative : 3; unsigned positive : 17; u64 far : 40; int : 0; bool bit : 1; enum color tint : 4;
  enum color color; enum wide wide; enum tiny tiny;
  struct inner grid[2][3];
  int matrix[2][2];
  char names[2][8];
  mac_t mac;
  struct packed packed;
  struct aligned aligned;
  union { u64 whole; struct { u32 lo, hi; }; u8 bytes[8]; };
  union { u16 word; struct { u8 low, high; } halves; } named;
  struct { u8 depth; struct { u16 deeper; struct { u32 deepest; }; }; };
  void *address;
  u32 tail[];
} all_t;

struct key { u32 pid; struct inner inner; enum color color; };

BPF_PERF_OUTPUT(by_perf);
BPF_RINGBUF_OUTPUT(by_output, 1 << 4);
BPF_RINGBUF_OUTPUT(by_reserve, 1 << 4);
BPF_RINGBUF_OUTPUT(headers, 1 << 4);
BPF_HASH(by_table, struct key, all_t);

static __always_inline void fill(all_t *e) {
  e->pid = bpf_get_current_pid_tgid() >> 32;
  e->s8 = -8; e->s16 = -16; e->s32 = -32; e->s64 = -64;
  e->u8 = 208; e->u16 = 65000; e->u64 = 0xfedcba9876543210ULL;
  e->i128 = -((__int128)1 << 100); e->u128 = ((unsigned __int128)1 << 127) | 5;
  bpf_get_current_comm(&e->comm, sizeof(e->comm));
  e->letter = 'x';
  e->yes = true;
  e->single = 0x3fc00000; e->twice = 0xc004000000000000ULL;
  e->negative = -4; e->positive = 77777; e->far = 0xabcdef1234ULL; e->bit = true; e->tint = RED;
  e->color = RED; e->wide = LARGE; e->tiny = TINY;
  e->grid[1][2].a = -12; e->grid[1][2].b = 12; e->grid[0][1].a = 1;
  e->matrix[0][1] = 1; e->matrix[1][0] = -10;
  __builtin_memcpy(e->names[0], "exactly8", 8);
  __builtin_memcpy(e->names[1], "two", 4);
  e->mac[0] = 0xaa; e->mac[5] = 0xff;
  e->packed.a = 1; e->packed.b = 2; e->packed.c = 5; e->packed.d = 0x3ffffffe;
  e->aligned.a = 9;
  e->lo = 1; e->hi = 2;
  e->named.word = 0x0201;
  e->depth = 1; e->deeper = 2; e->deepest = 3;
  e->address = (void *)0xffff888000001000ULL;
}

int send(void *ctx) {
  all_t *reserved = by_reserve.ringbuf_reserve(sizeof(all_t));
  if (!reserved) return 0;
  __builtin_memset(reserved, 0, sizeof(*reserved));
  fill(reserved);
  by_output.ringbuf_output(reserved, sizeof(*reserved), 0);
  struct key key = {};
  key.pid = reserved->pid;
  key.inner.a = -5;
  key.inner.b = 'k';
  key.color = GREEN;
  all_t copy = {};
  __builtin_memcpy(&copy, reserved, sizeof(copy));
  by_table.update(&key, &copy);
  by_perf.perf_submit(ctx, &copy, sizeof(copy));
  by_reserve.ringbuf_submit(reserved, 0);
  struct from_header header = { .kind = 3, .value = 1ULL << 50 };
  headers.ringbuf_output(&header, sizeof(header), 0);
  return 0;
}
`;

const expected = (pid: number) => ({
  pid,
  s8: -8,
  s16: -16,
  s32: -32,
  s64: -64n,
  u8: 208,
  u16: 65000,
  u64: 0xfedcba9876543210n,
  i128: -(2n ** 100n),
  u128: 2n ** 127n + 5n,
  comm: 'sync',
  letter: 'x'.charCodeAt(0),
  yes: true,
  no: false,
  single: 0x3fc00000,
  twice: 0xc004000000000000n,
  negative: -4,
  positive: 77777,
  far: 0xabcdef1234n,
  bit: true,
  tint: -1,
  color: -1,
  wide: 2n ** 40n,
  tiny: 200,
  grid: [
    [
      { a: 0, b: 0 },
      { a: 1, b: 0 },
      { a: 0, b: 0 },
    ],
    [
      { a: 0, b: 0 },
      { a: 0, b: 0 },
      { a: -12, b: 12 },
    ],
  ],
  matrix: [
    [0, 1],
    [-10, 0],
  ],
  names: ['exactly8', 'two'],
  mac: Uint8Array.of(0xaa, 0, 0, 0, 0, 0xff),
  packed: { a: 1, b: 2n, c: 5, d: 0x3ffffffe },
  aligned: { a: 9 },
  whole: 0x200000001n,
  lo: 1,
  hi: 2,
  bytes: Uint8Array.of(1, 0, 0, 0, 2, 0, 0, 0),
  named: { word: 0x0201, halves: { low: 1, high: 2 } },
  depth: 1,
  deeper: 2,
  deepest: 3,
  address: 0xffff888000001000n,
});

describe('a struct with everything that C has', () => {
  // Of one name at every run: it is a flag of the program's, and so part of what the cache knows it by.
  const directory = path.join(tmpdir(), 'tsbcc-layouts');
  mkdirSync(directory, { recursive: true });
  let b: BCC;
  beforeAll(() => {
    writeFileSync(path.join(directory, 'events.h'), HEADER);
    b = new BCC({ text: TEXT, cflags: [`-I${directory}`] });
    b.attachTracepoint({ tp: 'syscalls:sys_enter_sync', fnName: 'send' });
  });
  afterAll(() => {
    b?.close();
    rmSync(directory, { recursive: true });
  });

  it('arrives field by field, by perf buffer, ring buffer output and ring buffer reservation', () => {
    const received = new Map<string, Record<string, unknown>[]>();
    const keep = (name: string) => (event: unknown) => {
      received.set(name, [...(received.get(name) ?? []), event as Record<string, unknown>]);
    };
    const perf = b.table('by_perf');
    perf.openPerfBuffer((_cpu: number, data: Buffer) => keep('by_perf')(perf.event(data)));
    for (const name of ['by_output', 'by_reserve', 'headers']) {
      const ring = b.table(name);
      ring.openRingBuffer((_ctx: unknown, data: Buffer) => keep(name)(ring.event(data)));
    }
    const pid = runProcess('/bin/sync');
    b.perfBufferPoll(1000);
    b.ringBufferPoll(1000);
    for (const name of ['by_perf', 'by_output', 'by_reserve']) {
      const own = received.get(name)?.filter((event) => event['pid'] === pid);
      expect(own?.map(({ tail: _, ...event }) => event)).toEqual([expected(pid)]);
    }
    expect(received.get('headers')).toContainEqual({ kind: 3, value: 2n ** 50n });
  });

  it('is read from a table by a struct key, and written back as it was', () => {
    const pid = runProcess('/bin/sync');
    const table = b.table('by_table');
    const key = { pid, inner: { a: -5, b: 'k'.charCodeAt(0) }, color: 2 };
    const value = table.get(key) as Record<string, unknown>;
    expect(value).toEqual({ ...expected(pid), tail: [] });
    const other = { ...key, pid: 0 };
    table.set(other, value);
    expect(table.get(other)).toEqual(value);
  });

  it('is refused with the path of the field that is wrong, and the table is as it was', () => {
    const pid = runProcess('/bin/sync');
    const table = b.table('by_table');
    const key = { pid, inner: { a: -5, b: 107 }, color: 2 };
    const value = table.get(key) as ReturnType<typeof expected>;
    const grid = structuredClone(value.grid);
    grid[1]![2]!.a = 40000;
    expect(() => table.set(key, { ...value, grid })).toThrow(/grid\[1\]\[2\]\.a: 40000 is out of range for short/);
    expect(() => table.set(key, { ...value, far: 2n ** 40n })).toThrow(/far: 1099511627776 .* bitfield of 40 bits/);
    expect(() => table.set(key, { ...value, whole: 7n })).toThrow(/share their bytes and disagree/);
    expect(() => table.get({ ...key, inner: { a: 1 } })).toThrow(/inner: b missing/);
    expect(table.get(key)).toEqual(value);
  });
});
