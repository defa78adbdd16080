/** Random C structs for the layout tests: their C text, and what a C program and our codec must agree on. */

/** A scalar, a string or a byte array somewhere in a struct. */
export interface Leaf {
  /** How C reaches it from the struct: `.a.b[1]`. */
  c: string;
  /** How JavaScript does. */
  path: (string | number)[];
  kind: 'int' | 'wide' | 'bool' | 'float' | 'double' | 'pointer' | 'text' | 'bytes';
  /** Elements of a `text` or `bytes` array. */
  length: number;
  bitfield: boolean;
  /** C statements that give it a value; '' for a union's members that only look at what another wrote. */
  assign: string;
}

export interface RandomStruct {
  name: string;
  /** Its definition and those of the enums and typedefs that it needs first. */
  text: string;
  leaves: Leaf[];
}

interface Scalar {
  spelling: string;
  bits: number;
  kind: 'int' | 'wide' | 'bool' | 'float' | 'double' | 'pointer';
}

/** A type to be: its leaves are known once it has a place. */
interface Type {
  declare(name: string): string;
  leaves(c: string, path: (string | number)[], assigned: boolean): Leaf[];
  count: number;
}

interface Member {
  text: string;
  leaves(c: string, path: (string | number)[], assigned: boolean): Leaf[];
  count: number;
}

const INTEGERS: Scalar[] = [
  ['char', 8],
  ['signed char', 8],
  ['unsigned char', 8],
  ['short', 16],
  ['unsigned short', 16],
  ['int', 32],
  ['unsigned int', 32],
  ['long', 64],
  ['unsigned long', 64],
  ['long long', 64],
  ['unsigned long long', 64],
  ['u8', 8],
  ['s8', 8],
  ['u16', 16],
  ['s16', 16],
  ['u32', 32],
  ['s32', 32],
  ['u64', 64],
  ['s64', 64],
].map(([spelling, bits]) => ({ spelling: spelling as string, bits: bits as number, kind: 'int' }));

const OTHERS: Scalar[] = [
  { spelling: '__int128', bits: 128, kind: 'wide' },
  { spelling: 'unsigned __int128', bits: 128, kind: 'wide' },
  { spelling: '_Bool', bits: 8, kind: 'bool' },
  { spelling: 'bool_t', bits: 8, kind: 'bool' },
  { spelling: 'float', bits: 32, kind: 'float' },
  { spelling: 'double', bits: 64, kind: 'double' },
  { spelling: 'void *', bits: 64, kind: 'pointer' },
  { spelling: 'struct never_defined *', bits: 64, kind: 'pointer' },
  { spelling: 'const char *', bits: 64, kind: 'pointer' },
];

/** What every program begins with. */
export const PRELUDE = `
typedef unsigned char u8; typedef signed char s8; typedef unsigned short u16; typedef short s16;
typedef unsigned int u32; typedef int s32; typedef unsigned long long u64; typedef long long s64;
typedef _Bool bool_t;
struct never_defined;
`;

const ODD_NAMES = ['constructor', '__proto__', 'toString', 'valueOf', 'hasOwnProperty', 'toJSON', 'length', 'name'];
const TEXTS = ['', 'a', 'bash', 'systemd-journald', 'ksoftirqd/0', 'größe', '日本', 'with space', 'x'.repeat(40)];

/** Mulberry32: small, and the same everywhere. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class StructGenerator {
  readonly #next: () => number;
  readonly #finished: { name: string; type: Type }[] = [];
  #before: string[] = [];
  #names = 0;
  #oddNames: string[] = [];

  constructor(seed: number) {
    this.#next = random(seed);
  }

  struct(index: number): RandomStruct {
    this.#before = [];
    this.#oddNames = this.#chance(0.1) ? [...ODD_NAMES] : [];
    const name = `random${index}`;
    const kind = this.#chance(0.08) ? 'union' : 'struct';
    const members = this.#members(2, 30);
    const flexible = kind === 'struct' && members.some(({ count }) => count > 0) && this.#chance(0.05);
    const type = this.#aggregate(kind, members);
    const tail = flexible ? `  ${this.#pick(['u32', 'char', 'u8', 'long'])} tail[${this.#pick(['', '0'])}];\n` : '';
    const body = `{\n${members.map(({ text }) => `  ${text}\n`).join('')}${tail}}${this.#attributes(members)}`;
    const typedef = this.#chance(0.3);
    const text = typedef
      ? `typedef ${kind} ${body} ${name};`
      : `${kind} ${name} ${body};\ntypedef ${kind} ${name} ${name};`;
    if (!flexible && type.count <= 12)
      this.#finished.push({ name, type: { ...type, declare: (own) => `${name} ${own}` } });
    return { name, text: [...this.#before, text].join('\n'), leaves: type.leaves('', [], true) };
  }

  #members(depth: number, budget: number): Member[] {
    const members: Member[] = [];
    const wanted = 1 + this.#below(8);
    // Bitfields meet their difficult cases in company.
    const bitfields = this.#chance(0.15) ? 0.8 : 0.15;
    while (members.length < wanted && budget > 0) {
      const member = this.#chance(bitfields) ? this.#bitfield() : this.#member(depth, budget);
      budget -= Math.max(1, member.count);
      members.push(member);
    }
    return members;
  }

  #member(depth: number, budget: number): Member {
    const dice = this.#next();
    if (dice < 0.1) {
      // What has no name has no value: it only moves what follows.
      const width = this.#chance(0.5) ? 0 : 1 + this.#below(20);
      return {
        text: `${width === 0 ? this.#pick(['u8', 'int', 'u64']) : 'u32'} : ${width};`,
        leaves: () => [],
        count: 0,
      };
    }
    if (dice < 0.2 && depth > 0) {
      const kind = this.#chance(0.6) ? 'union' : 'struct';
      const inner = this.#members(depth - 1, Math.min(budget, 10));
      const type = this.#aggregate(kind, inner);
      return { text: `${type.declare('').trim()};`, leaves: type.leaves, count: type.count };
    }
    const type = this.#type(depth, budget);
    const name = this.#name();
    return {
      text: `${type.declare(name)}${this.#chance(0.06) ? ' __attribute__((packed))' : ''}${this.#aligned(0.05)};`,
      leaves: (c, path, assigned) => type.leaves(`${c}.${name}`, [...path, name], assigned),
      count: type.count,
    };
  }

  #bitfield(): Member {
    const scalar = this.#chance(0.85)
      ? this.#pick(INTEGERS)
      : this.#chance(0.5)
        ? { spelling: '_Bool', bits: 1, kind: 'bool' as const }
        : this.#enum();
    const width = 1 + this.#below(scalar.bits);
    const name = this.#name();
    return {
      text: `${scalar.spelling} ${name} : ${width};`,
      leaves: (c, path, assigned) => [
        { ...this.#leaf(scalar, `${c}.${name}`, [...path, name], assigned), bitfield: true },
      ],
      count: 1,
    };
  }

  #type(depth: number, budget: number): Type {
    const dice = this.#next();
    if (dice < 0.12) return this.#text();
    if (dice < 0.2) return this.#bytes();
    if (dice < 0.3 && depth > 0) {
      const inner = this.#aggregate(
        this.#chance(0.3) ? 'union' : 'struct',
        this.#members(depth - 1, Math.min(budget, 10)),
      );
      return this.#maybeArray(inner, budget);
    }
    if (dice < 0.36 && this.#finished.length > 0) {
      const { type } = this.#pick(this.#finished.slice(-20));
      if (type.count <= budget) return this.#maybeArray(type, budget);
    }
    const scalar = dice < 0.75 ? this.#pick(INTEGERS) : dice < 0.87 ? this.#pick(OTHERS) : this.#enum();
    const qualifier = this.#chance(0.05) ? 'volatile ' : '';
    return this.#maybeArray(
      {
        declare: (name) => `${qualifier}${scalar.spelling} ${name}`,
        leaves: (c, path, assigned) => [this.#leaf(scalar, c, path, assigned)],
        count: 1,
      },
      budget,
      // Arrays of char and of unsigned char are text and bytes, made elsewhere.
      !['char', 'unsigned char', 'u8'].includes(scalar.spelling),
    );
  }

  #maybeArray(type: Type, budget: number, allowed = true): Type {
    if (!allowed || !this.#chance(0.25)) return type;
    const dimensions = Array.from({ length: 1 + this.#below(3) }, () => (this.#chance(0.03) ? 0 : 1 + this.#below(4)));
    const total = dimensions.reduce((a, b) => a * b, 1);
    if (total * type.count > budget) return type;
    const suffix = dimensions.map((n) => `[${n}]`).join('');
    return {
      declare: (name) => type.declare(`${name}${suffix}`),
      leaves: (c, path, assigned) =>
        indices(dimensions).flatMap((index) =>
          type.leaves(`${c}${index.map((i) => `[${i}]`).join('')}`, [...path, ...index], assigned),
        ),
      count: total * type.count,
    };
  }

  #aggregate(kind: 'struct' | 'union', members: Member[]): Type {
    const body = `${kind} { ${members.map(({ text }) => text).join(' ')} }${this.#attributes(members)}`;
    return {
      declare: (name) => `${body} ${name}`,
      leaves: (c, path, assigned) => {
        const filled = members.filter(({ count }) => count > 0);
        const chosen = this.#below(Math.max(1, filled.length));
        return filled.flatMap((member, i) => member.leaves(c, path, assigned && (kind === 'struct' || i === chosen)));
      },
      count: members.reduce((sum, { count }) => sum + count, 0),
    };
  }

  #text(): Type {
    const length = this.#pick([1, 4, 8, 16, 16, 16, 33, 64]);
    const rows = this.#chance(0.2) ? 1 + this.#below(3) : 0;
    return this.#rows(rows, `char`, length, (c, path, assigned) => {
      let text = this.#pick(TEXTS);
      while (Buffer.byteLength(text) > length) text = text.slice(0, -1);
      const escaped = [...Buffer.from(text)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
      const assign = assigned ? `memcpy((void *)x${c}, "${escaped}", ${Buffer.byteLength(text)});` : '';
      return { c, path, kind: 'text', length, bitfield: false, assign };
    });
  }

  #bytes(): Type {
    const length = 1 + this.#below(20);
    const rows = this.#chance(0.2) ? 1 + this.#below(3) : 0;
    return this.#rows(rows, this.#pick(['u8', 'unsigned char']), length, (c, path, assigned) => {
      const escaped = Array.from({ length }, () => `\\${this.#below(256).toString(8).padStart(3, '0')}`).join('');
      const assign = assigned ? `memcpy((void *)x${c}, "${escaped}", ${length});` : '';
      return { c, path, kind: 'bytes', length, bitfield: false, assign };
    });
  }

  #rows(
    rows: number,
    spelling: string,
    length: number,
    leaf: (c: string, path: (string | number)[], assigned: boolean) => Leaf,
  ): Type {
    return {
      declare: (name) => `${spelling} ${name}${rows > 0 ? `[${rows}]` : ''}[${length}]`,
      leaves: (c, path, assigned) =>
        rows === 0
          ? [leaf(c, path, assigned)]
          : indices([rows]).map(([i]) => leaf(`${c}[${i}]`, [...path, i!], assigned)),
      count: Math.max(1, rows),
    };
  }

  /** Defines an enum of one of the four sorts: unsigned, signed, 64-bit, packed to a byte. */
  #enum(): Scalar {
    const id = this.#names++;
    const [first, attribute, bits] = this.#pick([
      ['3', '', 32],
      ['-7', '', 32],
      ['0x80000000u', '', 32],
      ['1ULL << 40', '', 64],
      ['-5, E_WIDE_%d = 1LL << 40', '', 64],
      ['200', ' __attribute__((packed))', 8],
      ['-100', ' __attribute__((packed))', 8],
    ] as const);
    const values = `E_FIRST_${id} = ${first.replace('%d', String(id))}, E_SECOND_${id} = 1`;
    this.#before.push(`enum e${id} { ${values} }${attribute};`);
    return { spelling: `enum e${id}`, bits, kind: 'int' };
  }

  #leaf(scalar: Scalar, c: string, path: (string | number)[], assigned: boolean): Leaf {
    return {
      c,
      path,
      kind: scalar.kind,
      length: 0,
      bitfield: false,
      assign: assigned ? this.#assignment(scalar, c) : '',
    };
  }

  #assignment({ kind, spelling }: Scalar, c: string): string {
    switch (kind) {
      case 'bool':
        return `x${c} = ${this.#below(2)};`;
      case 'float':
        return `x${c} = ${this.#number()}f;`;
      case 'double':
        return `x${c} = ${this.#number()};`;
      case 'wide':
        return `x${c} = ((unsigned __int128)(${this.#word()}) << 64) | (${this.#word()});`;
      default:
        return `x${c} = (${spelling})(${this.#word()});`;
    }
  }

  #number(): string {
    const text = ((this.#next() - 0.5) * 10 ** (this.#below(30) - 10)).toExponential();
    return text.includes('.') ? text : text.replace('e', '.0e');
  }

  /** 64 bits: all of them random, or one of the values at which mistakes live. */
  #word(): string {
    if (this.#chance(0.3))
      return this.#pick(['0ULL', '1ULL', '-1ULL', '1ULL << 63', '0x7fffffffffffffffULL', '0x80ULL']);
    const half = () =>
      Math.floor(this.#next() * 2 ** 32)
        .toString(16)
        .padStart(8, '0');
    return `0x${half()}${half()}ULL`;
  }

  #attributes(members: readonly Member[]): string {
    const bitfields = members.filter(({ text }) => text.includes(' : ')).length;
    const packed = this.#chance(bitfields > 2 ? 0.5 : 0.15) ? ' __attribute__((packed))' : '';
    return `${packed}${this.#aligned(0.1)}`;
  }

  #aligned(chance: number): string {
    return this.#chance(chance) ? ` __attribute__((aligned(${2 ** (1 + this.#below(5))})))` : '';
  }

  #name(): string {
    return (this.#chance(0.3) ? this.#oddNames.pop() : undefined) ?? `f${this.#names++}`;
  }

  #chance(probability: number): boolean {
    return this.#next() < probability;
  }

  #below(limit: number): number {
    return Math.floor(this.#next() * limit);
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#below(items.length)]!;
  }
}

function indices(dimensions: readonly number[]): number[][] {
  return dimensions.reduce<number[][]>(
    (lists, n) => lists.flatMap((list) => Array.from({ length: n }, (_, i) => [...list, i])),
    [[]],
  );
}

/** The host program: for each struct its size, its bytes, and each leaf's offset and value as C reads them. */
export function hostProgram(structs: readonly RandomStruct[]): string {
  return `#include <stdio.h>
#include <string.h>
${PRELUDE}
static void magnitude(unsigned __int128 v) {
  u64 high = v >> 64;
  if (high) printf("0x%llx%016llx ", high, (u64)v);
  else printf("0x%llx ", (u64)v);
}
static void wide(__int128 v) { if (v < 0) { printf("-"); magnitude(-(unsigned __int128)v); } else magnitude(v); }
static void bytes(const volatile void *at, int n) {
  printf("=");
  for (int i = 0; i < n; i++) printf("%02x", ((const volatile u8 *)at)[i]);
  printf(" ");
}
static void text(const volatile void *at, int n) {
  int i = 0;
  while (i < n && ((const volatile u8 *)at)[i]) i++;
  bytes(at, i);
}
static void at(const volatile void *base, const volatile void *field) { printf("@%ld ", (const char *)field - (const char *)base); }
${structs.map(({ text }) => text).join('\n')}
${structs.map(hostFunction).join('\n')}
int main(void) {
${structs.map(({ name }) => `  dump_${name}();`).join('\n')}
  return 0;
}
`;
}

function hostFunction({ name, leaves }: RandomStruct): string {
  const lines = leaves.flatMap((leaf) => {
    const offset = leaf.bitfield ? '' : `at(&x, &x${leaf.c}); `;
    const value = hostValue(leaf);
    return value === undefined ? [] : [`  ${offset}${value}`];
  });
  return `static void dump_${name}(void) {
  static ${name} x;
${leaves.map(({ assign }) => `  ${assign}\n`).join('')}
  printf("%ld ", (long)sizeof(${name}));
  bytes(&x, sizeof(${name}));
${lines.join('\n')}
  printf("\\n");
}`;
}

/** Undefined where C may not look: a bool that another union member wrote. */
function hostValue({ kind, c, length, assign }: Leaf): string | undefined {
  switch (kind) {
    case 'int':
      return `wide((__int128)x${c});`;
    case 'pointer':
      return `wide((u64)x${c});`;
    case 'wide':
      return `bytes(&x${c}, 16);`;
    case 'bool':
      return assign === '' ? undefined : `wide((__int128)x${c});`;
    case 'float':
      return `bytes(&x${c}, 4);`;
    case 'double':
      return `bytes(&x${c}, 8);`;
    case 'text':
      return `text(&x${c}, ${length});`;
    case 'bytes':
      return `bytes(&x${c}, ${length});`;
  }
}

/** The same structs for the BPF compiler: one variable of each keeps them in its BTF. */
export function bpfProgram(structs: readonly RandomStruct[]): string {
  return `${PRELUDE}\n${structs.map(({ name, text }) => `${text}\n${name} v_${name};`).join('\n')}\n`;
}
