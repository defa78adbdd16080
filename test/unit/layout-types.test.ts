import ts from 'typescript';
import { ByteSource, codecFor } from '../../src/layout/codec';
import type { Layout } from '../../src/layout/layout';
import { typescriptOf } from '../../src/layout/types';
import { itIf } from '../helpers';
import { CLANG, compileBtf } from './layout-compiler';

const C = `typedef unsigned int u32; typedef unsigned long long u64; typedef unsigned char u8;
enum state { RUNNING, STOPPED = 4 };
struct inner { short x; u64 y; };
struct data { u32 pid; u64 ts; char comm[16]; u8 mac[6]; enum state state; _Bool ok; double load; void *where;
  __int128 wide; u32 low : 3; u64 high : 40; struct inner in[2]; union { u64 raw; struct { u32 lo, hi; }; }; int m[2][3]; } v;`;

const layoutOf = (): Layout => {
  const btf = compileBtf(C);
  return btf.layout(btf.find('data'));
};

itIf(CLANG, 'a struct is an interface with C in its comments', () => {
  expect(typescriptOf(layoutOf(), 'Data')).toBe(`export interface Data {
  /** u32 */
  pid: number;
  /** u64 */
  ts: bigint;
  /** char[16] */
  comm: string;
  /** u8[6] */
  mac: Uint8Array;
  /** enum state: RUNNING = 0, STOPPED = 4 */
  state: number;
  /** _Bool */
  ok: boolean;
  /** double */
  load: number;
  /** void * */
  where: bigint;
  /** __int128 */
  wide: bigint;
  /** u32 : 3 */
  low: number;
  /** u64 : 40 */
  high: bigint;
  /** inner[2] */
  in: {
    /** short */
    x: number;
    /** u64 */
    y: bigint;
  }[];
  /** u64 */
  raw: bigint;
  /** u32 */
  lo: number;
  /** u32 */
  hi: number;
  /** int[2][3] */
  m: number[][];
}
`);
});

itIf(CLANG, 'it is the type of what the codec gives, with either int64', () => {
  const layout = layoutOf();
  const declarations = (['bigint', 'number'] as const).map((int64) => {
    const value = codecFor(layout, { int64 }).decode(new ByteSource(new Uint8Array(layout.size)), 0);
    return `${typescriptOf(layout, `Data_${int64}`, { int64 })}const ${int64}: Data_${int64} = ${literal(value)};\n`;
  });
  expect(complaints(declarations.join('\n'))).toEqual([]);
  expect(complaints(`${declarations[0]}Data_bigint.pid;`)).not.toEqual([]);
});

function literal(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Uint8Array) return 'new Uint8Array()';
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).map(([name, own]) => `${name}: ${literal(own)}`);
  return `{ ${entries.join(', ')} }`;
}

/** What TypeScript says of a text. It brings the few library types it names: the real ones take seconds to check. */
function complaints(text: string): string[] {
  const library = `interface Array<T> { length: number; [n: number]: T } interface Boolean {} interface Function {}
    interface IArguments {} interface Number {} interface Object {} interface RegExp {} interface String {}
    interface CallableFunction {} interface NewableFunction {} interface BigInt {}
    interface Uint8Array { length: number; [n: number]: number } declare const Uint8Array: { new (): Uint8Array };`;
  const options: ts.CompilerOptions = { target: ts.ScriptTarget.ES2022, strict: true, noLib: true, types: [] };
  const host = ts.createCompilerHost(options);
  host.getSourceFile = (name, version) => ts.createSourceFile(name, name === 'library.ts' ? library : text, version);
  const program = ts.createProgram(['library.ts', 'made.ts'], options, host);
  return ts.getPreEmitDiagnostics(program).map(({ messageText }) => String(messageText));
}

test('a scalar is an alias, and odd names are quoted', () => {
  expect(typescriptOf({ kind: 'int', size: 8, signed: false, name: 'u64' }, 'counts-leaf')).toBe(
    '/** u64 */\nexport type counts_leaf = bigint;\n',
  );
  const odd: Layout = {
    kind: 'struct',
    size: 1,
    fields: [{ name: 'a b', offset: 0, type: { kind: 'int', size: 1, signed: false, name: 'x */ evil' } }],
  };
  expect(typescriptOf(odd, '1st')).toBe('export interface _1st {\n  /** x * / evil */\n  "a b": number;\n}\n');
  expect(typescriptOf({ kind: 'struct', size: 0, fields: [] }, 'Empty')).toBe(
    'export type Empty = Record<string, never>;\n',
  );
});
