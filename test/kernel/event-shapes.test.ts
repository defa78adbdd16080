import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCC } from '../../src';
import { callKill, describeIf, requireRoot } from '../helpers';

/* Events of every shape that C has, each sent in three ways by one program, and decoded without a word about their types. */

requireRoot();

interface Shape {
  name: string;
  /** What the event's type needs before it. */
  definition?: string;
  /** The event's type and C that fills `e`, a pointer to it. */
  type: string;
  fill: string;
  event: unknown;
  /** Where the perf buffer's rounding shows. */
  perfEvent?: unknown;
  /** Bytes sent behind the type's own. */
  extra?: number;
}

const HEADER = 'struct included { unsigned char kind; long long value; } __attribute__((packed));\n';

const SHAPES: Shape[] = [
  { name: 'a_u64', type: 'u64', fill: '*e = 0xfedcba9876543210ULL;', event: 0xfedcba9876543210n },
  { name: 'an_s32', type: 's32', fill: '*e = -5;', event: -5 },
  { name: 'a_bool', type: 'bool', fill: '*e = true;', event: true },
  { name: 'an_int128', type: '__int128', fill: '*e = -((__int128)1 << 100);', event: -(2n ** 100n) },
  { name: 'a_pointer', type: 'void *', fill: '*e = (void *)0xffff888000001000ULL;', event: 0xffff888000001000n },
  {
    name: 'an_enum',
    definition: 'enum color { RED = -1, GREEN = 7 };',
    type: 'enum color',
    fill: '*e = RED;',
    event: -1,
  },
  {
    name: 'typedef_of_typedef',
    definition: 'typedef struct { u32 a; s16 b; } inner_t; typedef inner_t outer_t;',
    type: 'outer_t',
    fill: 'e->a = 1; e->b = -2;',
    event: { a: 1, b: -2 },
  },
  { name: 'from_header', type: 'struct included', fill: 'e->kind = 3; e->value = -4;', event: { kind: 3, value: -4n } },
  {
    name: 'floating',
    definition: 'struct floating { float single; double twice; float pair[2]; };',
    type: 'struct floating',
    // BPF computes no floating point, but carries it.
    fill: '*(u32 *)&e->single = 0x3fc00000; *(u64 *)&e->twice = 0xc004000000000000ULL; *(u32 *)&e->pair[1] = 0x40490fdb;',
    event: { single: 1.5, twice: -2.5, pair: [0, Math.fround(Math.PI)] },
  },
  {
    name: 'wide_enums',
    definition:
      'enum below { LOWEST = -(1LL << 40), LOW = -1 }; enum above { HIGHEST = 1ULL << 63 }; struct wide_enums { enum below low; enum above high; };',
    type: 'struct wide_enums',
    fill: 'e->low = LOWEST; e->high = HIGHEST;',
    event: { low: -(2n ** 40n), high: 2n ** 63n },
  },
  {
    name: 'bits',
    definition: 'struct bits { u64 first : 40, second : 40; s64 third : 24; u8 : 0; u8 fourth : 3; bool fifth : 1; };',
    type: 'struct bits',
    fill: 'e->first = 0xabcdef1234ULL; e->second = 0x1122334455ULL; e->third = -70000; e->fourth = 6; e->fifth = 1;',
    event: { first: 0xabcdef1234n, second: 0x1122334455n, third: -70000, fourth: 6, fifth: true },
  },
  {
    name: 'packed_bits',
    definition:
      'struct packed_bits { u8 tag; u32 low : 5, high : 30; u64 wide : 50; s16 last; } __attribute__((packed));',
    type: 'struct packed_bits',
    fill: 'e->tag = 1; e->low = 21; e->high = 0x2aaaaaaa; e->wide = 0x2345678901234ULL; e->last = -9;',
    event: { tag: 1, low: 21, high: 0x2aaaaaaa, wide: 0x2345678901234n, last: -9 },
  },
  {
    name: 'unions',
    definition:
      'struct unions { u8 kind; union { u64 whole; struct { u16 low; union { u16 mid; struct { u8 mid_low, mid_high; }; }; s32 high; }; }; };',
    type: 'struct unions',
    fill: 'e->kind = 2; e->low = 0x1111; e->mid = 0x3322; e->high = -2;',
    event: { kind: 2, whole: 0xfffffffe33221111n, low: 0x1111, mid: 0x3322, mid_low: 0x22, mid_high: 0x33, high: -2 },
  },
  {
    name: 'arrays',
    definition: 'struct arrays { bool flags[3]; void *where[2]; const volatile s8 grid[2][2]; char words[2][4]; };',
    type: 'struct arrays',
    fill: 'e->flags[1] = true; e->where[1] = (void *)16; *(u32 *)&e->grid = 0x00ff0001; e->words[0][0] = 97; e->words[1][1] = 98;',
    event: {
      flags: [false, true, false],
      where: [0n, 16n],
      grid: [
        [1, 0],
        [-1, 0],
      ],
      words: ['a', ''],
    },
  },
  {
    name: 'aligned',
    definition: 'struct line { u8 a; } __attribute__((aligned(32))); struct aligned { u16 b; struct line line; };',
    type: 'struct aligned',
    fill: 'e->b = 7; e->line.a = 8;',
    event: { b: 7, line: { a: 8 } },
  },
  {
    name: 'flexible',
    definition: 'struct flexible { u32 count; u16 tail[]; };',
    type: 'struct flexible',
    fill: 'e->count = 2; *(u32 *)e->tail = 0x00060005;',
    event: { count: 2, tail: [5, 6] },
    // A perf buffer rounds records up, and what it adds belongs to the tail.
    perfEvent: { count: 2, tail: [5, 6, 0, 0] },
    extra: 4,
  },
];

const senderOf = ({ name, type, fill, extra = 0 }: Shape) => `
BPF_PERF_OUTPUT(perf_${name});
BPF_RINGBUF_OUTPUT(output_${name}, 1);
BPF_RINGBUF_OUTPUT(reserve_${name}, 1);
static __always_inline void fill_${name}(${type} *e) { ${fill} }
int send_${name}(void *ctx) {
  if (bpf_get_current_pid_tgid() >> 32 != PID) return 0;
  struct { ${type} event; u8 extra[${extra}]; } room = {};
  ${type} *event = &room.event;
  fill_${name}(event);
  perf_${name}.perf_submit(ctx, event, sizeof(*event) + ${extra});
  output_${name}.ringbuf_output(event, sizeof(*event) + ${extra}, 0);
  ${type} *reserved = reserve_${name}.ringbuf_reserve(sizeof(${type}) + ${extra});
  if (!reserved) return 0;
  __builtin_memset(reserved, 0, sizeof(*reserved) + ${extra});
  fill_${name}(reserved);
  reserve_${name}.ringbuf_submit(reserved, 0);
  return 0;
}`;

/** Two structs that one table carries: alike in size in the first, and told apart by it in the second. */
const TWINS = `
struct left { u32 a, b; };
struct right { u64 c; };
struct longer { u64 d, e; };
BPF_RINGBUF_OUTPUT(twins, 1);
BPF_PERF_OUTPUT(perf_twins);
BPF_RINGBUF_OUTPUT(siblings, 1);
BPF_PERF_OUTPUT(perf_siblings);
int send_twins(void *ctx) {
  if (bpf_get_current_pid_tgid() >> 32 != PID) return 0;
  struct left left = { 1, 2 };
  struct right right = { 3 };
  struct longer longer = { 4, 5 };
  twins.ringbuf_output(&left, sizeof(left), 0);
  twins.ringbuf_output(&right, sizeof(right), 0);
  perf_twins.perf_submit(ctx, &left, sizeof(left));
  perf_twins.perf_submit(ctx, &right, sizeof(right));
  siblings.ringbuf_output(&left, sizeof(left), 0);
  siblings.ringbuf_output(&longer, sizeof(longer), 0);
  perf_siblings.perf_submit(ctx, &left, sizeof(left));
  perf_siblings.perf_submit(ctx, &longer, sizeof(longer));
  return 0;
}`;

describeIf('syscallTracepoints', 'an event', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-shapes-'));
  let b: BCC;
  const received = new Map<string, Buffer[]>();

  beforeAll(() => {
    writeFileSync(path.join(folder, 'included.h'), HEADER);
    const text = [
      '#include "included.h"',
      `#define PID ${process.pid}`,
      ...SHAPES.map(({ definition = '' }) => definition),
      ...SHAPES.map(senderOf),
      TWINS,
    ].join('\n');
    b = new BCC({ text, cflags: [`-I${folder}`], cache: false });
    for (const name of Object.keys(b.tables)) {
      const keep = (data: Buffer) => {
        received.set(name, [...(received.get(name) ?? []), Buffer.from(data)]);
      };
      const table = b.table(name);
      if (name.startsWith('perf_')) table.openPerfBuffer((_cpu: number, data: Buffer) => keep(data), { pageCnt: 1 });
      else table.openRingBuffer((_ctx: unknown, data: Buffer) => keep(data));
    }
    for (const fnName of b.functions) b.attachTracepoint({ tp: 'syscalls:sys_enter_kill', fnName });
    callKill();
    b.perfBufferConsume();
    b.ringBufferConsume();
  }, 120_000);

  afterAll(() => {
    b?.close();
    rmSync(folder, { recursive: true });
  });

  const read = (table: string, type?: string) => {
    return received.get(table)!.map((data) => b.table(table).event(data, type === undefined ? {} : { type }));
  };

  it.each(SHAPES.map((shape) => [shape.type, shape] as const))('%s', (_type, { name, event, perfEvent = event }) => {
    expect(read(`output_${name}`)).toEqual([event]);
    expect(read(`reserve_${name}`)).toEqual([event]);
    expect(read(`perf_${name}`)).toEqual([perfEvent]);
  });

  it('of two structs that a table carries is told by its size', () => {
    const both = [
      { a: 1, b: 2 },
      { d: 4n, e: 5n },
    ];
    expect(read('siblings')).toEqual(both);
    expect(read('perf_siblings')).toEqual(both);
  });

  it('of two structs of the same size is asked for by its type', () => {
    for (const table of ['twins', 'perf_twins']) {
      expect(() => read(table)).toThrow(
        expect.objectContaining({
          code: 'ERR_BCC_EVENT_AMBIGUOUS',
          message: expect.stringMatching(/may be any of .*left.*right/),
          hint: expect.stringContaining(`table.event(data, { type: '`),
        }),
      );
      expect(read(table, 'left')[0]).toEqual({ a: 1, b: 2 });
      expect(read(table, 'struct right')[1]).toEqual({ c: 3n });
      expect(() => read(table, 'rihgt')).toThrow(
        expect.objectContaining({ code: 'ERR_BCC_EVENT_UNKNOWN', hint: expect.stringContaining('right') }),
      );
    }
  });
});
