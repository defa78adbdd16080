import { ByteSource, codecFor } from '../../src/layout/codec';
import { layoutFromDescription, layoutFromEventFields } from '../../src/layout/description';
import type { Layout, StructLayout } from '../../src/layout/layout';
import { compileBtf, eachWithClang, WITHOUT_CLANG } from './layout-compiler';

/** C structs, their sizes, and what libbcc 0.26 says of them: `bpf_table_key_desc`, as it came. */
const DESCRIBED: [c: string, name: string, json: string][] = [
  [
    'struct k1 { u32 pid; char comm[16]; u64 ts; };',
    'k1',
    '["k1", [["pid","unsigned int"], ["comm","char", [16]], ["__pad_2","char",[4]], ["ts","unsigned long long"] ], "struct_packed"]',
  ],
  [
    'struct k3 { u32 a:3; u32 b:5; u32 c:20; u64 z; };',
    'k3',
    '["k3", [["a","unsigned int", 3], ["b","unsigned int", 5], ["c","unsigned int", 20], ["z","unsigned long long"] ], "struct"]',
  ],
  [
    'struct k4 { u32 t; union { u64 x; struct { u32 lo, hi; }; char s[8]; } u; };',
    'k4',
    '["k4", [["t","unsigned int"], ["__pad_1","char",[4]], ["u",["", [["x","unsigned long long"], ["", [["lo","unsigned int"], ["hi","unsigned int"] ], "struct_packed"], ["s","char", [8]] ], "union"]] ], "struct_packed"]',
  ],
  [
    'struct k5 { u8 a; u64 b; } __attribute__((packed));',
    'k5',
    '["k5", [["a","unsigned char"], ["b","unsigned long long"] ], "struct_packed"]',
  ],
  ['union u9 { u32 a; u8 b[12]; };', 'u9', '["u9", [["a","unsigned int"], ["b","unsigned char", [12]] ], "union"]'],
  [
    'struct k10 { u8 a:4; u8 b:4; u16 c:9; u16 d:12; u32 :0; u32 e:1; u8 f;};',
    'k10',
    '["k10", [["a","unsigned char", 4], ["b","unsigned char", 4], ["c","unsigned short", 9], ["d","unsigned short", 12], ["","unsigned int", 0], ["e","unsigned int", 1], ["f","unsigned char"] ], "struct"]',
  ],
  [
    'struct k12 { struct {u32 x; u8 y;}; u32 a; };',
    'k12',
    '["k12", [["", [["x","unsigned int"], ["y","unsigned char"], ["__pad_end","char",[3]] ], "struct_packed"], ["a","unsigned int"] ], "struct_packed"]',
  ],
  [
    'struct k13 { u32 a:24; u8 f; u32 g:24;};',
    'k13',
    '["k13", [["a","unsigned int", 24], ["f","unsigned char"], ["g","unsigned int", 24] ], "struct"]',
  ],
  [
    'struct in { u16 a; u8 b; }; struct nest { u8 flag:1; struct in in[2]; double d; _Bool ok; };',
    'nest',
    '["nest", [["flag","unsigned char", 1], ["in",["in", [["a","unsigned short"], ["b","unsigned char"], ["__pad_end","char",[1]] ], "struct_packed"], [2]], ["d","double"], ["ok","_Bool"] ], "struct"]',
  ],
];

const PRELUDE =
  'typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;';

/** The same bytes through two layouts. */
function decodeBoth(a: Layout, b: Layout): [unknown, unknown] {
  const source = new ByteSource(Uint8Array.from({ length: a.size }, (_, i) => (i * 37 + 11) & 0x7f));
  return [codecFor(a).decode(source, 0), codecFor(b).decode(source, 0)];
}

describe("BCC's JSON descriptions", () => {
  eachWithClang(DESCRIBED)(`%s${WITHOUT_CLANG}`, (c, name, json) => {
    const btf = compileBtf(`${PRELUDE} ${c} ${name.startsWith('u') ? 'union' : 'struct'} ${name} v;`);
    const compiled = btf.layout(btf.find(name));
    const described = layoutFromDescription(json, compiled.size);
    expect(described.name).toBe(name);
    const [left, right] = decodeBoth(described, compiled);
    expect(left).toEqual(right);
  });

  test.each([
    ['"unsigned long long"', 8, { kind: 'int', size: 8, signed: false, name: 'unsigned long long' }],
    ['"int"', 4, { kind: 'int', size: 4, signed: true }],
    ['"char"', 1, { kind: 'int', size: 1, char: true }],
    ['"_Bool"', 1, { kind: 'bool' }],
    ['"__int128"', 16, { kind: 'int', size: 16, signed: true }],
  ])('%s', (json, size, layout) => {
    expect(layoutFromDescription(json, size)).toMatchObject(layout);
  });

  test.each([
    ['a second dimension is not told', '["k", [["m","int", [2]], ["e","int"] ], "struct_packed"]', 28],
    [
      'a packed struct with bitfields looks like any other',
      '["k", [["a","unsigned int", 3], ["b","unsigned long long"] ], "struct"]',
      9,
    ],
    ['a type that is not known', '["k", [["a","struct task_struct"]], "struct"]', 8],
    ['the name of a property of objects', '"constructor"', 8],
    ['no JSON', '', 8],
    ['another JSON', '{"a":1}', 8],
    ['an array of nothing', '["k", [["a","int",[null]]], "struct"]', 4],
  ])('what is not told is bytes: %s', (_, json, size) => {
    const layout = layoutFromDescription(json, size);
    expect(layout).toMatchObject({ kind: 'array', length: size, element: { size: 1, signed: false } });
    expect(codecFor(layout).decode(new ByteSource(new Uint8Array(size)), 0)).toEqual(new Uint8Array(size));
  });

  test('padding has no name', () => {
    const layout = layoutFromDescription(DESCRIBED[0]![2], 32) as StructLayout;
    expect(layout.fields.map(({ name, offset }) => [name, offset])).toEqual([
      ['pid', 0],
      ['comm', 4],
      ['ts', 24],
    ]);
  });
});

describe("BCC's texts of event fields", () => {
  test('types of C and of the kernel, arrays, enums and pointers', () => {
    const layout = layoutFromEventFields([
      'pid#u32',
      'ts#unsigned long long',
      'comm#char[16]',
      'old#char [4]',
      'grid#int[2][3]',
      'state#enum state',
      'where#const char *',
      'ok#_Bool',
      'id#const uint32_t',
      'wide#__u64',
    ]) as StructLayout;
    expect(layout.fields.map(({ name, offset, type }) => [name, offset, type.kind, type.size])).toEqual([
      ['pid', 0, 'int', 4],
      ['ts', 8, 'int', 8],
      ['comm', 16, 'array', 16],
      ['old', 32, 'array', 4],
      ['grid', 36, 'array', 24],
      ['state', 60, 'enum', 4],
      ['where', 64, 'pointer', 8],
      ['ok', 72, 'bool', 1],
      ['id', 76, 'int', 4],
      ['wide', 80, 'int', 8],
    ]);
    expect(layout.size).toBe(88);
    expect(layout.fields[4]!.type).toMatchObject({ length: 2, element: { length: 3 } });
  });

  test('a type that the text does not tell, or another size, is no layout', () => {
    expect(layoutFromEventFields(['in#struct (unnamed struct at /virtual/main.c:5:32)'])).toBeUndefined();
    expect(layoutFromEventFields(['a#my_type_t'])).toBeUndefined();
    expect(layoutFromEventFields(['a#toString'])).toBeUndefined();
    expect(layoutFromEventFields(['a#u32'], 8)).toBeUndefined();
    expect(layoutFromEventFields(['no type'])).toBeUndefined();
    expect(layoutFromEventFields([])).toBeUndefined();
    expect(layoutFromEventFields(['a#u32'], 4)).toMatchObject({ kind: 'struct', size: 4 });
  });
});
