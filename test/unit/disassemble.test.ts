import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { disassemble } from '../../src/program/disassemble';
import { itIf, outputOf, withTempDir } from '../helpers';

type Fields = { dst?: number; src?: number; off?: number; imm?: number };

/** The bytes of one instruction. */
function encode(opcode: number, { dst = 0, src = 0, off = 0, imm = 0 }: Fields = {}): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt8(opcode, 0);
  bytes.writeUInt8((src << 4) | dst, 1);
  bytes.writeInt16LE(off, 2);
  bytes.writeInt32LE(imm, 4);
  return bytes;
}

/** The text of one instruction, without index and opcode. */
function one(opcode: number, fields?: Fields): string {
  return disassemble(encode(opcode, fields)).replace(/^ +0: \(..\) /, '');
}

const ARITHMETIC: [code: number, operator: string][] = [
  [0x00, '+='],
  [0x10, '-='],
  [0x20, '*='],
  [0x30, '/='],
  [0x40, '|='],
  [0x50, '&='],
  [0x60, '<<='],
  [0x70, '>>='],
  [0x90, '%='],
  [0xa0, '^='],
  [0xb0, '='],
  [0xc0, 's>>='],
];

const COMPARISONS: [code: number, operator: string][] = [
  [0x10, '=='],
  [0x20, '>'],
  [0x30, '>='],
  [0x40, '&'],
  [0x50, '!='],
  [0x60, 's>'],
  [0x70, 's>='],
  [0xa0, '<'],
  [0xb0, '<='],
  [0xc0, 's<'],
  [0xd0, 's<='],
];

const WIDTHS: [bits: number, width: number][] = [
  [0x00, 32],
  [0x08, 16],
  [0x10, 8],
  [0x18, 64],
];

describe('every instruction of RFC 9669', () => {
  it.each(ARITHMETIC)('arithmetic 0x%s: %s', (code, operator) => {
    const immediate = ['|=', '&=', '^='].includes(operator) ? '0x7' : '7';
    expect(one(code | 0x07, { dst: 1, imm: 7 })).toBe(`r1 ${operator} ${immediate}`);
    expect(one(code | 0x04, { dst: 1, imm: 7 })).toBe(`w1 ${operator} ${immediate}`);
    expect(one(code | 0x0f, { dst: 1, src: 2 })).toBe(`r1 ${operator} r2`);
    expect(one(code | 0x0c, { dst: 1, src: 2 })).toBe(`w1 ${operator} w2`);
  });

  it.each([
    [0x37, { dst: 1, off: 1, imm: -7 }, 'r1 s/= -7'],
    [0x3f, { dst: 1, src: 2, off: 1 }, 'r1 s/= r2'],
    [0x34, { dst: 1, off: 1, imm: 7 }, 'w1 s/= 7'],
    [0x3c, { dst: 1, src: 2, off: 1 }, 'w1 s/= w2'],
    [0x97, { dst: 1, off: 1, imm: 7 }, 'r1 s%= 7'],
    [0x9f, { dst: 1, src: 2, off: 1 }, 'r1 s%= r2'],
    [0x94, { dst: 1, off: 1, imm: 7 }, 'w1 s%= 7'],
    [0x9c, { dst: 1, src: 2, off: 1 }, 'w1 s%= w2'],
    [0xbf, { dst: 1, src: 2, off: 8 }, 'r1 = (s8)r2'],
    [0xbf, { dst: 1, src: 2, off: 16 }, 'r1 = (s16)r2'],
    [0xbf, { dst: 1, src: 2, off: 32 }, 'r1 = (s32)r2'],
    [0xbc, { dst: 1, src: 2, off: 8 }, 'w1 = (s8)w2'],
    [0xbc, { dst: 1, src: 2, off: 16 }, 'w1 = (s16)w2'],
    [0x87, { dst: 1 }, 'r1 = -r1'],
    [0x84, { dst: 1 }, 'w1 = -w1'],
    [0xd4, { dst: 1, imm: 16 }, 'r1 = le16 r1'],
    [0xd4, { dst: 1, imm: 64 }, 'r1 = le64 r1'],
    [0xdc, { dst: 1, imm: 32 }, 'r1 = be32 r1'],
    [0xd7, { dst: 1, imm: 16 }, 'r1 = bswap16 r1'],
    [0xd7, { dst: 1, imm: 64 }, 'r1 = bswap64 r1'],
    [0xbf, { dst: 1, src: 2, off: 1, imm: 1 }, 'r1 = addr_space_cast(r2, 0, 1)'],
  ])('signed division, sign extension, negation, byte order: 0x%s %o', (opcode, fields, text) => {
    expect(one(opcode, fields)).toBe(text);
  });

  it.each(COMPARISONS)('conditional jump 0x%s: %s', (code, operator) => {
    expect(one(code | 0x05, { dst: 1, off: 3, imm: -7 })).toBe(`if r1 ${operator} -7 goto pc+3 <4>`);
    expect(one(code | 0x0d, { dst: 1, src: 2, off: -1 })).toBe(`if r1 ${operator} r2 goto pc-1 <0>`);
    expect(one(code | 0x06, { dst: 1, off: 3, imm: 7 })).toBe(`if w1 ${operator} 7 goto pc+3 <4>`);
    expect(one(code | 0x0e, { dst: 1, src: 2, off: 3 })).toBe(`if w1 ${operator} w2 goto pc+3 <4>`);
  });

  it.each([
    [0x05, { off: 5 }, 'goto +5 <6>'],
    [0x06, { imm: 70_000 }, 'gotol +70000 <70001>'],
    [0x85, { imm: 1 }, 'call bpf_map_lookup_elem#1'],
    [0x85, { imm: 211 }, 'call bpf_cgrp_storage_delete#211'],
    [0x85, { imm: 9999 }, 'call <unknown helper #9999>'],
    [0x85, { src: 1, imm: 4 }, 'call +4 <5>'],
    [0x85, { src: 2, imm: 77 }, 'call <kernel function with BTF id 77>'],
    [0x85, { src: 2, imm: 77, off: 1 }, 'call <module function with BTF id 77>'],
    [0x8d, { dst: 3 }, 'callx r3'],
    [0x95, {}, 'exit'],
    [0xe5, { off: 2 }, 'may_goto pc+2 <3>'],
  ])('jumps, calls and exit: 0x%s %o', (opcode, fields, text) => {
    expect(one(opcode, fields)).toBe(text);
  });

  it.each(WIDTHS)('loads and stores of width 0x%s: %d', (bits, width) => {
    expect(one(0x61 | bits, { dst: 1, src: 2, off: -8 })).toBe(`r1 = *(u${width}*)(r2 -8)`);
    expect(one(0x62 | bits, { dst: 1, off: 4, imm: 9 })).toBe(`*(u${width}*)(r1 +4) = 9`);
    expect(one(0x63 | bits, { dst: 1, src: 2, off: 4 })).toBe(`*(u${width}*)(r1 +4) = r2`);
    if (width === 64) return;
    expect(one(0x81 | bits, { dst: 1, src: 2, off: 4 })).toBe(`r1 = *(s${width}*)(r2 +4)`);
    expect(one(0x20 | bits, { imm: 14 })).toBe(`r0 = *(u${width}*)skb[14]`);
    expect(one(0x40 | bits, { src: 6, imm: 14 })).toBe(`r0 = *(u${width}*)skb[r6 +14]`);
  });

  it.each([
    [0xdb, { dst: 1, src: 2, off: 8, imm: 0x00 }, 'lock *(u64*)(r1 +8) += r2'],
    [0xdb, { dst: 1, src: 2, imm: 0x40 }, 'lock *(u64*)(r1 +0) |= r2'],
    [0xdb, { dst: 1, src: 2, imm: 0x50 }, 'lock *(u64*)(r1 +0) &= r2'],
    [0xc3, { dst: 1, src: 2, imm: 0xa0 }, 'lock *(u32*)(r1 +0) ^= w2'],
    [0xdb, { dst: 1, src: 2, imm: 0x01 }, 'r2 = atomic64_fetch_add((u64*)(r1 +0), r2)'],
    [0xdb, { dst: 1, src: 2, imm: 0x41 }, 'r2 = atomic64_fetch_or((u64*)(r1 +0), r2)'],
    [0xdb, { dst: 1, src: 2, imm: 0x51 }, 'r2 = atomic64_fetch_and((u64*)(r1 +0), r2)'],
    [0xc3, { dst: 1, src: 2, imm: 0xa1 }, 'w2 = atomic_fetch_xor((u32*)(r1 +0), w2)'],
    [0xdb, { dst: 1, src: 2, imm: 0xe1 }, 'r2 = atomic64_xchg((u64*)(r1 +0), r2)'],
    [0xc3, { dst: 1, src: 2, imm: 0xf1 }, 'w0 = atomic_cmpxchg((u32*)(r1 +0), w0, w2)'],
    [0xdb, { dst: 1, src: 2, imm: 0x100 }, 'r1 = load_acquire((u64*)(r2 +0))'],
    [0xd3, { dst: 1, src: 2, off: 4, imm: 0x110 }, 'store_release((u8*)(r1 +4), r2)'],
  ])('atomic operations: 0x%s %o', (opcode, fields, text) => {
    expect(one(opcode, fields)).toBe(text);
  });

  it('takes no other opcode for an instruction', () => {
    const valid = new Set<number>([0x05, 0x06, 0x18, 0x84, 0x85, 0x87, 0x8d, 0x95, 0xc3, 0xd4, 0xd7, 0xdb, 0xdc, 0xe5]);
    for (const [code] of ARITHMETIC) for (const kind of [0x04, 0x07, 0x0c, 0x0f]) valid.add(code | kind);
    for (const [code] of COMPARISONS) for (const kind of [0x05, 0x06, 0x0d, 0x0e]) valid.add(code | kind);
    for (const [bits, width] of WIDTHS) {
      for (const mode of [0x61, 0x62, 0x63]) valid.add(mode | bits);
      if (width !== 64) for (const mode of [0x20, 0x40, 0x81]) valid.add(mode | bits);
    }
    for (let opcode = 0; opcode < 256; opcode++) {
      const texts = [0, 16].map((imm) => one(opcode, { imm }));
      const known = texts.some((text) => !text.startsWith('unknown') || opcode === 0x18);
      expect([opcode.toString(16), known]).toEqual([opcode.toString(16), valid.has(opcode)]);
    }
  });
});

describe('a 64-bit load', () => {
  const wide = (src: number, low: number, high = 0) =>
    Buffer.concat([encode(0x18, { dst: 1, src, imm: low }), encode(0, { imm: high })]);
  const first = (...args: Parameters<typeof disassemble>) =>
    disassemble(...args)
      .split('\n')[0]!
      .slice('   0: (18) '.length);

  it('of a number joins its halves', () => {
    expect(first(wide(0, -1, 0x12345678))).toBe('r1 = 0x12345678ffffffff');
  });

  it('of a map tells its descriptor, and its name where that is known', () => {
    expect(first(wide(1, 5))).toBe('r1 = <map at fd #5>');
    expect(first(wide(1, 5), { tableNames: new Map([[5, 'counts']]) })).toBe('r1 = <map counts at fd #5>');
    expect(first(wide(1, 0), { relocations: [{ insn: 0, table: 'counts' }] })).toBe('r1 = <map counts>');
  });

  it('of a value in a map, a variable, a function or a map by index says so', () => {
    expect(first(wide(2, 5, 16))).toBe('r1 = <map at fd #5, value +16>');
    expect(first(wide(3, 9))).toBe('r1 = <kernel variable with BTF id 9>');
    expect(first(wide(4, 6))).toBe('r1 = <function at +6 <7>>');
    expect(first(wide(5, 2))).toBe('r1 = <map at index #2>');
    expect(first(wide(6, 2, 8))).toBe('r1 = <map at index #2, value +8>');
  });

  it('takes two lines', () => {
    expect(disassemble(wide(0, 1), { name: 'f' })).toBe(
      'Disassemble of BPF program f:\n   0: (18) r1 = 0x1\n   1:      (64-bit upper word)',
    );
  });

  it('that is cut off is told as such', () => {
    expect(disassemble(wide(0, 1).subarray(0, 8))).toBe('   0: (18) unknown <0x18>: its second half is missing');
  });
});

describe('whatever the bytes are', () => {
  it('there is a line for each instruction', () => {
    let seed = 12345;
    const bytes = Buffer.from(
      Array.from({ length: 8 * 5000 }, () => {
        seed = (seed * 1103515245 + 12345) >>> 0;
        return seed >>> 24;
      }),
    );
    expect(disassemble(bytes).split('\n')).toHaveLength(5000);
  });

  it('bytes that are no whole instruction are left out', () => {
    expect(disassemble(new Uint8Array(7))).toBe('');
  });
});

/** The text of llvm-objdump's line in our words. */
function ours(llvm: string): string {
  return llvm
    .replace(/ <\S+>$/, '')
    .replace(/\*\((u\d+) \*\)/g, '*($1*)')
    .replace(/\(\((u\d+) \*\)/g, '(($1*)')
    .replace(/\(r(\d+) ([+-]) (\d+)\)/g, '(r$1 $2$3)')
    .replace(/atomic_(?=\w+\(\(u64)/, 'atomic64_')
    .replace(/cmpxchg_64\((r\d+) ([+-]) (\d+),/, 'atomic64_cmpxchg((u64*)($1 $2$3),')
    .replace(/^if (.*) goto ([+-])/, 'if $1 goto pc$2')
    .replace(/0x[0-9a-f]+/g, (number) => String(BigInt(number)));
}

/** Our line without what llvm-objdump does not tell. */
function plain(line: string): string {
  return line
    .replace(/^ *\d+: \(..\) /, '')
    .replace(/ <\d+>$/, '')
    .replace(/call bpf_\w+#/, 'call ')
    .replace(/([&|^]=) (0x[0-9a-f]+)/, (_, operator, number) => `${operator} ${Number(number) | 0}`)
    .replace(/0x[0-9a-f]+/g, (number) => String(BigInt(number)));
}

describe('beside llvm-objdump', () => {
  const C = `
typedef unsigned long long u64; typedef unsigned int u32; typedef int s32; typedef unsigned short u16;
static u32 (*get_random)(void) = (void *)7;
static u64 (*get_time)(void) = (void *)5;
struct pair { u64 a; u32 b; u16 c; char d; };
int f(struct pair *p) {
    u64 sum = 0x123456789abcdefULL ^ get_time();
    for (u32 i = 0; i < p->b; i++) {
        sum += p->a * i + (sum >> 3) - (sum << (i & 7));
        if ((s32)i > -5 && sum % (i + 1) == 2) p->c = sum / 7;
        __sync_fetch_and_add(&p->a, sum);
        sum |= __builtin_bswap32(get_random()) & 0xff00ff;
    }
    p->d = (char)sum;
    p->b = 3;
    return -(s32)sum;
}
`;

  itIf(['clang'], 'a compiled function reads the same', () =>
    withTempDir((folder) => {
      const at = (name: string) => path.join(folder, name);
      writeFileSync(at('f.c'), C);
      outputOf('clang', ['-target', 'bpf', '-mcpu=v3', '-O2', '-c', at('f.c'), '-o', at('f.o')]);
      outputOf('llvm-objcopy', ['-O', 'binary', '--only-section=.text', at('f.o'), at('f.bin')]);
      const dump = outputOf('llvm-objdump', ['-d', '--no-show-raw-insn', at('f.o')]);
      const expected = [...dump.matchAll(/^ +\d+:\s+(.*)$/gm)].map(([, text]) => ours(text!.trim()));
      const bytes = readFileSync(at('f.bin'));
      const got = disassemble(bytes)
        .split('\n')
        .filter((line) => !line.includes('upper word'))
        .map(plain);
      expect(got.length).toBeGreaterThan(40);
      expect(got).toEqual(expected.map((text) => text.replace(/ ll$/, '')));
    }),
  );
});
