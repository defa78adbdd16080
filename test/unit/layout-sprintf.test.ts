import { ByteSource } from '../../src/layout/codec';
import type { Layout } from '../../src/layout/layout';
import { sprintf, sscanf } from '../../src/layout/sprintf';
import { compileBtf, eachWithClang, WITHOUT_CLANG } from './layout-compiler';

const PRELUDE = `typedef unsigned char u8; typedef signed char s8; typedef unsigned short u16; typedef unsigned int u32;
typedef unsigned long long u64; typedef long long s64; struct in_t { u16 a; u8 b; }; enum e_t { EA = -1, EB = 2 };`;

/** A key's C type, its bytes, and the text that libbcc 0.26 made of them (`bpf_table_key_snprintf`). */
const FROM_BCC: [c: string, bytes: string, text: string][] = [
  ['u64', '4142434400464748', '0x4847460044434241'],
  ['s8', '41', '0x41'],
  ['_Bool', '41', '0x41'],
  ['enum e_t', '41424344', '0x44434241'],
  [
    'struct { u32 pid; char comm[16]; u64 ts; }',
    '414243440046474849004b4c4d4e00505152530055565758005a5b5c5d005f60',
    '{ 0x44434241 "" 0x605f005d5c5b5a00 }',
  ],
  [
    'struct { struct in_t in[2]; u8 mac[6]; s64 s; int m[2][3]; s8 neg; short sh; }',
    '414243440046474849004b4c4d4e00505152530055565758005a5b5c5d005f606162006465666700696a6b6c006e6f707100737475760078',
    '{ [ { 0x4241 0x43 } { 0x4600 0x47 } ] "I" 0x5857565500535251 [ [ 0x5c5b5a00 0x605f005d 0x64006261 ] [ 0x676665 0x6c6b6a69 0x706f6e00 ] ] 0x71 0x7473 }',
  ],
  [
    'struct { u32 a:3; u32 b:5; u32 c:20; u64 z; }',
    '414243440046474849004b4c4d4e0050',
    '{ 0x44434241 0x50004e4d4c4b0049 }',
  ],
  [
    'struct { u32 t; union { u64 x; struct { u32 lo, hi; }; char s[8]; } u; }',
    '414243440046474849004b4c4d4e0050',
    '{ 0x44434241 { 0x50004e4d4c4b0049 } }',
  ],
  ['struct { u8 a; u64 b; } __attribute__((packed))', '414243440046474849', '{ 0x41 0x4948474600444342 }'],
  ['union { u32 a; u8 b[12]; }', '414243440046474849004b4c', '{ 0x44434241 "" }'],
  [
    'struct { u8 a:4; u8 b:4; u16 c:9; u16 d:12; u32 :0; u32 e:1; u8 f; }',
    '414243440046474849004b4c',
    '{ 0x41 0x4443 0x4600 "GHI" 0x49 0x0 "KL" }',
  ],
  ['struct { u32 a; } __attribute__((aligned(16)))', '414243440046474849004b4c4d4e0050', '{ 0x44434241 "" }'],
  ['struct { struct { u32 x; u8 y; }; u32 a; }', '414243440046474849004b4c', '{ { 0x44434241 0x0 } 0x4c4b0049 }'],
  ['struct { u32 a:24; u8 f; u32 g:24; }', '4142434400464748', '{ "ABCD" 0x44 0x474600 }'],
  ['struct { int a; struct {} e; int b; }', '4142434400464748', '{ 0x44434241 { } 0x48474600 }'],
  [
    'struct { char c; u8 b; char n[2][4]; u8 mm[2][3]; }',
    '41420000000000000000000000000000',
    '{ 0x41 0x42 [ "" "" ] [ "" "" ] }',
  ],
];

/** BCC's C stops at no array's end, but at a NUL; here a text ends where its array does. */
const OWN_LIMITS = new Map([
  ['{ 0x41 0x4443 0x4600 "GHI" 0x49 0x0 "KL" }', '{ 0x41 0x4443 0x4600 "GH" 0x49 0x0 "KL" }'],
  ['{ "ABCD" 0x44 0x474600 }', '{ "ABC" 0x44 0x474600 }'],
]);

function layoutOf(c: string): Layout {
  const btf = compileBtf(`${PRELUDE} typedef ${c} key_t; key_t v;`);
  return btf.layout(btf.find('key_t'));
}

const source = (hex: string) => new ByteSource(Buffer.from(hex, 'hex'));
const int = (size: number, name?: string): Layout => ({ kind: 'int', size, signed: false, name });
const char: Layout = { kind: 'int', size: 1, signed: true, char: true };
const pair: Layout = {
  kind: 'struct',
  name: 'pair',
  size: 12,
  fields: [
    { name: 'a', offset: 0, type: int(4) },
    { name: 'name', offset: 4, type: { kind: 'array', element: char, length: 8, size: 8 } },
  ],
};

function scanned(layout: Layout, text: string): string {
  const target = new ByteSource(new Uint8Array(layout.size).fill(0xff));
  sscanf(layout, text, target);
  return target.bytes.toString('hex');
}

describe('the text form', () => {
  eachWithClang(FROM_BCC)(`of %s is the one that BCC prints${WITHOUT_CLANG}`, (c, hex, text) => {
    expect(sprintf(layoutOf(c), source(hex))).toBe(OWN_LIMITS.get(text) ?? text);
  });

  eachWithClang(FROM_BCC)(`of %s is read back, and printed again${WITHOUT_CLANG}`, (c, hex) => {
    const layout = layoutOf(c);
    const text = sprintf(layout, source(hex));
    expect(sprintf(layout, source(scanned(layout, text)))).toBe(text);
  });

  test('of what BCC cannot print: addresses, floats, wide integers', () => {
    const layout: Layout = {
      kind: 'struct',
      size: 48,
      fields: [
        { name: 'p', offset: 0, type: { kind: 'pointer', size: 8 } },
        { name: 'f', offset: 8, type: { kind: 'float', size: 4 } },
        { name: 'd', offset: 16, type: { kind: 'float', size: 8 } },
        { name: 'w', offset: 32, type: int(16) },
      ],
    };
    const bytes = source(`010000008088ffff0000c03f0000000000000000000000c0${'00'.repeat(8)}ff${'00'.repeat(14)}01`);
    const text = sprintf(layout, bytes);
    expect(text).toBe('{ 0xffff888000000001 1.5 -2 0x10000000000000000000000000000ff }');
    expect(scanned(layout, text)).toBe(bytes.bytes.toString('hex'));
  });

  test('takes the numbers and the spaces that scanf takes', () => {
    expect(scanned(pair, '{ 0x1f "ab" }')).toBe('1f0000006162000000000000');
    expect(scanned(pair, ' {  31\n"ab"} ')).toBe('1f0000006162000000000000');
    expect(scanned(pair, '{ 037 "" }')).toBe('1f0000000000000000000000');
    expect(scanned(pair, '{ -1 "abcdefgh" }')).toBe('ffffffff6162636465666768');
  });

  test.each([
    ['1', 'pair: expected \'{\' at character 1 of the text, found "1"'],
    ['{ x "" }', 'pair: expected a number at character 3 of the text, found "x \\"\\" }"'],
    ['{ 1 "ab }', 'pair: expected a closing \'"\' at character 6 of the text, found "ab }"'],
    ['{ 1 "" } 2', 'pair: expected the end at character 10 of the text, found "2"'],
    ['', "pair: expected '{' at character 1 of the text, found the end"],
  ])('%p is refused', (text, message) => {
    expect(() => scanned(pair, text)).toThrow(new TypeError(message));
  });

  test('what does not fit is out of range', () => {
    expect(() => scanned(pair, '{ 0x100000000 "" }')).toThrow(
      new RangeError('pair: 0x100000000 does not fit into 4 bytes'),
    );
    expect(() => scanned(int(1, 'u8'), '-129')).toThrow(RangeError);
    expect(() => scanned(pair, '{ 1 "abcdefghi" }')).toThrow(
      new RangeError('pair: "abcdefghi" has 9 bytes, and 8 are there for it'),
    );
  });
});
