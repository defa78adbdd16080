import { readFileSync } from 'node:fs';
import { Btf, type BtfKind, FLOAT_TYPEDEFS } from '../../src/layout/btf';
import { codecFor } from '../../src/layout/codec';
import type { ArrayLayout, EnumLayout, StructLayout } from '../../src/layout/layout';
import { itIf } from '../helpers';
import { CLANG, compileBtf } from './layout-compiler';
import { random } from './layout-random';

const KINDS: Record<string, number> = {
  int: 1,
  ptr: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  fwd: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  func: 12,
  func_proto: 13,
  var: 14,
  datasec: 15,
  float: 16,
  decl_tag: 17,
  type_tag: 18,
  enum64: 19,
};

/** Puts BTF together by hand, also such as no compiler would make. */
class Builder {
  readonly #types: number[][] = [];
  #strings = '\0';
  readonly #firstString: number;

  constructor(base?: { strings: number }) {
    this.#firstString = base?.strings ?? 0;
    if (base) this.#strings = '';
  }

  string(text: string): number {
    const at = this.#firstString + this.#strings.length;
    this.#strings += `${text}\0`;
    return text === '' ? 0 : at;
  }

  get stringBytes(): number {
    return this.#strings.length;
  }

  /** Adds a type and returns its number, from 1. */
  add(kind: BtfKind, name: string, sizeOrType: number, words: number[] = [], length = 0, flag = 0): number {
    this.#types.push([this.string(name), (flag << 31) | (KINDS[kind]! << 24) | length, sizeOrType, ...words]);
    return this.#types.length;
  }

  int(name: string, size: number, encoding = 0, bits = size * 8): number {
    return this.add('int', name, size, [(encoding << 24) | bits]);
  }

  struct(name: string, size: number, members: [string, number, number][], flag = 0, kind: BtfKind = 'struct'): number {
    const words = members.flatMap(([member, type, offset]) => [this.string(member), type, offset]);
    return this.add(kind, name, size, words, members.length, flag);
  }

  bytes(): Buffer {
    const types = Buffer.from(Uint32Array.from(this.#types.flat()).buffer);
    const header = Buffer.alloc(24);
    header.writeUInt16LE(0xeb9f, 0);
    header.writeUInt8(1, 2);
    header.writeUInt32LE(24, 4);
    header.writeUInt32LE(types.length, 12);
    header.writeUInt32LE(types.length, 16);
    header.writeUInt32LE(this.#strings.length, 20);
    return Buffer.concat([header, types, Buffer.from(this.#strings)]);
  }

  btf(): Btf {
    return new Btf(this.bytes());
  }
}

const broken = (message: RegExp) =>
  expect.objectContaining({ code: 'ERR_BCC_BTF', message: expect.stringMatching(message) });

describe('what the compiler makes', () => {
  itIf(CLANG, 'a struct keeps the name by which it is known', () => {
    const btf = compileBtf(`
      struct plain { int a; } p; typedef struct plain alias; alias q; typedef struct { int b; } only; only r;
      typedef unsigned char mac[6]; struct host { mac m; const volatile alias s; } h;`);
    expect(btf.layout(btf.find('plain', 'struct')).name).toBe('plain');
    expect(btf.layout(btf.find('alias')).name).toBe('alias');
    expect(btf.layout(btf.find('only')).name).toBe('only');
    const host = btf.layout(btf.find('host')) as StructLayout;
    expect(host.fields.map(({ type }) => type.name)).toEqual(['mac', 'alias']);
  });

  itIf(CLANG, 'enums of every sort', () => {
    const btf = compileBtf(`
      enum color { RED = -1, GREEN = 2 } c; enum flags { HIGH = 0x80000000u, LOW = 1 } f;
      enum tiny { T = 200 } __attribute__((packed)) t; enum wide { W = 1ULL << 40 } w;`);
    const layout = (name: string) => btf.layout(btf.find(name, 'enum') || btf.find(name, 'enum64')) as EnumLayout;
    expect(layout('color')).toMatchObject({ size: 4, signed: true, values: { RED: -1, GREEN: 2 } });
    expect(layout('flags')).toMatchObject({ size: 4, signed: false, values: { HIGH: 0x80000000, LOW: 1 } });
    expect(layout('tiny')).toMatchObject({ size: 1, signed: false, values: { T: 200 } });
    expect(layout('wide')).toMatchObject({ size: 8, signed: false });
    // LLVM 14 cuts the value, and then there is none; later ones keep it.
    expect([undefined, 2n ** 40n]).toContain(layout('wide').values['W']);
  });

  itIf(CLANG, 'variables, sections, functions and their parameters', () => {
    const btf = compileBtf('int secret = 1; int twice(int number, char *name) { return secret + number; }');
    const twice = btf.type(btf.find('twice', 'func'));
    expect(btf.parameters(twice.type).map(({ name, type }) => `${btf.typeName(type)} ${name}`)).toEqual([
      'int number',
      'char * name',
    ]);
    expect(btf.layout(btf.find('secret', 'var'))).toMatchObject({ kind: 'int', size: 4 });
    const sections = [...btf.types()].filter(({ kind }) => kind === 'datasec');
    expect(sections.flatMap(({ id }) => btf.sectionVariables(id)).map(({ size }) => size)).toEqual([4]);
    expect(() => btf.layout(twice.id)).toThrow(broken(/is a func: it has no layout/));
  });

  itIf(CLANG, 'a struct that is only declared has no layout, and the message says so', () => {
    const btf = compileBtf('struct hidden; struct hidden *p; struct hidden **q;');
    expect(() => btf.layout(btf.find('hidden'))).toThrow(broken(/struct hidden is declared .* not defined/));
    expect(btf.layout(btf.type(btf.find('q', 'var')).type)).toMatchObject({
      kind: 'pointer',
      name: 'struct hidden **',
    });
  });
});

describe('what other compilers and older ones make', () => {
  test('bitfields without kind_flag are int types with a width and a place of their own', () => {
    const b = new Builder();
    b.add('int', 'unsigned int', 4, [3]);
    b.add('int', 'unsigned int', 4, [(5 << 16) | 7]);
    b.struct('old', 4, [
      ['a', 1, 0],
      ['b', 2, 0],
      ['c', 1, 12],
    ]);
    expect((b.btf().layout(3) as StructLayout).fields.map(({ name, offset, bits }) => [name, offset, bits])).toEqual([
      ['a', 0, { offset: 0, width: 3 }],
      ['b', 0, { offset: 5, width: 7 }],
      ['c', 1, { offset: 4, width: 3 }],
    ]);
  });

  test('marked enums: one sign of the new convention makes every unmarked enum unsigned', () => {
    const b = new Builder();
    const values = [b.string('A'), 0xffffffff];
    b.add('enum', 'unmarked', 4, values, 1);
    expect((b.btf().layout(1) as EnumLayout).values['A']).toBe(-1);
    b.add('enum', 'marked', 4, values, 1, 1);
    expect((b.btf().layout(1) as EnumLayout).values['A']).toBe(0xffffffff);
    expect((b.btf().layout(2) as EnumLayout).values['A']).toBe(-1);
  });

  test('64-bit enums, signed and unsigned', () => {
    const b = new Builder();
    b.add('enum64', 'unsigned', 8, [b.string('A'), 0xfffffffe, 0xffffffff], 1);
    b.add('enum64', 'signed', 8, [b.string('A'), 0xfffffffe, 0xffffffff], 1, 1);
    const btf = b.btf();
    expect(btf.layout(1)).toMatchObject({ signed: false, values: { A: 2n ** 64n - 2n } });
    expect(btf.layout(2)).toMatchObject({ signed: true, values: { A: -2n } });
  });

  test('tags are seen through, long doubles are bytes', () => {
    const b = new Builder();
    b.int('int', 4, 1);
    b.add('type_tag', 'user', 1);
    b.add('ptr', '', 2);
    b.add('float', 'long double', 16);
    b.add('decl_tag', 'note', 1, [0xffffffff]);
    const btf = b.btf();
    expect(btf.layout(2)).toMatchObject({ kind: 'int', name: 'int' });
    expect(btf.layout(3)).toMatchObject({ kind: 'pointer', name: 'int *' });
    expect(btf.layout(4)).toMatchObject({ kind: 'array', length: 16, element: { size: 1 } });
    expect(() => btf.layout(5)).toThrow(broken(/decl_tag/));
  });

  test('integers that stand for floating-point types are read as those', () => {
    const b = new Builder();
    b.int('unsigned int', 4);
    b.add('typedef', FLOAT_TYPEDEFS.float, 1);
    b.int('unsigned long long', 8);
    b.add('typedef', FLOAT_TYPEDEFS.double, 3);
    const btf = b.btf();
    expect(btf.layout(2)).toEqual({ kind: 'float', size: 4, name: 'float' });
    expect(btf.layout(4)).toEqual({ kind: 'float', size: 8, name: 'double' });
  });

  test('split BTF goes on where its base ends', () => {
    const first = new Builder();
    first.int('int', 4, 1);
    const base = first.btf();
    const b = new Builder({ strings: first.stringBytes });
    b.struct('module', 8, [
      ['own', 3, 0],
      ['based', 1, 32],
    ]);
    b.int('unsigned int', 4);
    const split = new Btf(b.bytes(), base);
    expect(split.typeCount).toBe(4);
    expect(split.find('int')).toBe(1);
    expect(split.find('module')).toBe(2);
    expect((split.layout(2) as StructLayout).fields.map(({ name, type }) => [name, type.name])).toEqual([
      ['own', 'unsigned int'],
      ['based', 'int'],
    ]);
    expect([...split.types()].map(({ name }) => name)).toEqual(['int', 'module', 'unsigned int']);
    expect([...split.ownTypes()].map(({ name }) => name)).toEqual(['module', 'unsigned int']);
    expect([split.findOwn('int'), split.findOwn('module', 'struct'), split.findOwn('module', 'func')]).toEqual([
      0, 2, 0,
    ]);
  });
});

describe('blobs that lie', () => {
  const valid = () => {
    const b = new Builder();
    b.int('int', 4, 1);
    return b;
  };

  test.each([
    ['no header', Buffer.alloc(10), /too few/],
    ['another magic', Buffer.alloc(24), /begins with 0x0/],
    ['big-endian', Buffer.from('eb9f01000000001800000000000000000000000000000000', 'hex'), /big-endian/],
    ['another version', Buffer.from('9feb02001800000000000000000000000000000000000000', 'hex'), /version is 2/],
    [
      'a header beyond the end',
      Buffer.from('9feb0100ffffffff00000000000000000000000000000000', 'hex'),
      /header claims/,
    ],
    ['types beyond the end', Buffer.from('9feb01001800000000000000ff0000000000000000000000', 'hex'), /types end at/],
    [
      'strings beyond the end',
      Buffer.from('9feb010018000000000000000000000000000000ff000000', 'hex'),
      /strings end at/,
    ],
  ])('%s', (_, blob, message) => {
    expect(() => new Btf(blob)).toThrow(broken(message));
  });

  test('a struct cut off, an unknown kind, a string without end', () => {
    const cut = valid();
    cut.add('struct', 'cut', 4, [0, 1], 9);
    expect(() => cut.btf()).toThrow(broken(/\(struct\) is cut off/));
    const unknown = valid().bytes();
    unknown.writeUInt32LE(30 << 24, 28);
    expect(() => new Btf(unknown)).toThrow(broken(/unknown kind 30/));
    const endless = valid().bytes();
    endless[endless.length - 1] = 65;
    expect(() => new Btf(endless)).toThrow(broken(/no end/));
  });

  test('types that refer to themselves, or nowhere', () => {
    const b = valid();
    const loop = b.add('typedef', 'loop', 2);
    const self = b.struct('self', 4, [['me', 3, 0]]);
    const round = b.add('const', '', 5);
    b.add('volatile', '', round);
    const nowhere = b.add('typedef', 'nowhere', 77);
    const btf = b.btf();
    for (const id of [loop, self, round]) expect(() => btf.layout(id)).toThrow(broken(/contains itself/));
    expect(() => btf.resolve(loop)).toThrow(broken(/refers to itself/));
    expect(() => btf.layout(nowhere)).toThrow(broken(/there is no type 77/));
    expect(() => btf.type(-1)).toThrow(broken(/no type -1/));
    expect(() => btf.layout(0)).toThrow(broken(/void/));
    expect(btf.typeName(loop)).toBe('loop');
  });

  test('a pointer cycle has a name of bounded length', () => {
    const b = new Builder();
    b.add('ptr', '', 1);
    expect(b.btf().typeName(1).length).toBeLessThan(1000);
  });

  test('members outside their struct, bits wider than their type, sizes that no type has', () => {
    const outside = valid();
    outside.struct('s', 4, [['a', 1, 32]]);
    expect(() => outside.btf().layout(2)).toThrow(broken(/member a of struct s ends beyond its 4 bytes/));
    const wide = valid();
    wide.struct('s', 8, [['a', 1, (40 << 24) | 0]], 1);
    expect(() => wide.btf().layout(2)).toThrow(broken(/40 bits of a type of 4 bytes/));
    const odd = valid();
    odd.struct('s', 8, [['a', 1, 3]], 1);
    expect(() => odd.btf().layout(2)).toThrow(broken(/begins within a byte/));
    const size = new Builder();
    size.int('int', 3);
    expect(() => size.btf().layout(1)).toThrow(broken(/has 3 bytes/));
    const name = valid().bytes();
    name.writeUInt32LE(5000, 24);
    expect(() => new Btf(name).type(1)).toThrow(broken(/name stands at 5000/));
  });

  test('arrays too large, arrays of nothing, and structs that double at each step end quickly', () => {
    const b = valid();
    const huge = b.add('array', '', 0, [1, 1, 0xffffffff]);
    const empty = b.struct('empty', 0, []);
    const many = b.add('array', '', 0, [empty, 1, 0xffffffff]);
    let last = empty;
    for (let i = 0; i < 60; i++) {
      last = b.struct(`d${i}`, 0, [
        ['a', last, 0],
        ['b', last, 0],
      ]);
    }
    const btf = b.btf();
    expect(() => btf.layout(huge)).toThrow(broken(/larger than 4 GiB/));
    expect((btf.layout(many) as ArrayLayout).length).toBe(0);
    expect(() => btf.layout(last)).toThrow(broken(/more than 262144 fields/));
  });

  test('a chain deeper than any program has is refused, not followed', () => {
    const b = valid();
    for (let i = 1; i <= 5000; i++) b.add('typedef', 't', i);
    expect(() => b.btf().layout(5001)).toThrow(broken(/nests deeper/));
  });

  itIf(CLANG, 'no damage to a real blob does more than throw', () => {
    const original =
      compileBtf(`typedef struct { int a[3]; struct in { char c[4]; union { long x; int y : 5; }; } in[2];
      enum { A, B } e; } data_t; data_t v; int f(data_t *d) { return d->a[0]; }`).bytes;
    const next = random(1);
    for (let round = 0; round < 1500; round++) {
      const blob = Buffer.from(original.subarray(0, next() < 0.3 ? Math.floor(next() * original.length) : undefined));
      for (let i = Math.floor(next() * 4); i >= 0 && blob.length > 0; i--) {
        blob[Math.floor(next() * blob.length)] = Math.floor(next() * 256);
      }
      const attempt = <T>(question: () => T): T | undefined => {
        try {
          return question();
        } catch (error) {
          if ((error as { code?: string }).code !== 'ERR_BCC_BTF') throw error;
          return undefined;
        }
      };
      const btf = attempt(() => new Btf(blob));
      for (let id = 0; btf !== undefined && id < btf.typeCount; id++) {
        attempt(() => btf.typeName(id));
        attempt(() => btf.members(id).length + btf.enumerators(id).length + btf.parameters(id).length);
        attempt(() => btf.layout(id));
      }
    }
  });
});

itIf('btf', 'every struct of the running kernel has a layout, and task_struct a codec', () => {
  const btf = new Btf(readFileSync('/sys/kernel/btf/vmlinux'));
  let structs = 0;
  for (const { id, kind } of btf.types()) {
    if (kind !== 'struct' && kind !== 'union') continue;
    btf.layout(id);
    structs++;
  }
  expect(structs).toBeGreaterThan(1000);
  const task = btf.layout(btf.find('task_struct', 'struct')) as StructLayout;
  expect(task.fields.find(({ name }) => name === 'comm')?.type).toMatchObject({ kind: 'array', length: 16 });
  expect(codecFor(task).size).toBe(task.size);
});
