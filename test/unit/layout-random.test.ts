import type { Btf } from '../../src/layout/btf';
import { textBytes } from '../../src/layout/bytes';
import { ByteSource, codecFor } from '../../src/layout/codec';
import type { Layout, StructLayout } from '../../src/layout/layout';
import { compileBtf, eachWithClang, runHost, WITHOUT_CLANG } from './layout-compiler';
import { bpfProgram, hostProgram, type Leaf, type RandomStruct, StructGenerator } from './layout-random';

/** TSBCC_RANDOM_STRUCTS: how many; TSBCC_RANDOM_SEED: which. Every failure names the seed that repeats it. */
const COUNT = Number(process.env.TSBCC_RANDOM_STRUCTS ?? 300);
const SEED = Number(process.env.TSBCC_RANDOM_SEED ?? Math.floor(Math.random() * 2 ** 31));
const BATCH = 150;

const batches = Array.from({ length: Math.ceil(COUNT / BATCH) }, (_, i) => ({
  seed: SEED + i,
  count: Math.min(BATCH, COUNT - i * BATCH),
}));

/** Where a path lies in a layout. */
function offsetOf(layout: Layout, path: readonly (string | number)[]): number {
  const [step, ...rest] = path;
  if (step === undefined) return 0;
  if (layout.kind === 'array') return Number(step) * layout.element.size + offsetOf(layout.element, rest);
  const found = findField(layout as StructLayout, String(step));
  if (found === undefined) throw new Error(`there is no ${path.join('.')}`);
  return found.offset + offsetOf(found.type, rest);
}

function findField(layout: StructLayout, name: string): { offset: number; type: Layout } | undefined {
  for (const field of layout.fields) {
    if (field.name === name) return field;
    const inner = field.name === '' ? findField(field.type as StructLayout, name) : undefined;
    if (inner !== undefined) return { offset: field.offset + inner.offset, type: inner.type };
  }
  return undefined;
}

/** A decoded value in the words in which the C program prints it. */
function printed({ kind }: Leaf, value: unknown): string {
  switch (kind) {
    case 'int':
    case 'pointer':
    case 'bool': {
      const number = BigInt(value as bigint);
      return `${number < 0n ? '-' : ''}0x${(number < 0n ? -number : number).toString(16)}`;
    }
    case 'wide': {
      const target = new ByteSource(new Uint8Array(16));
      const signed = (value as bigint) < 0n;
      codecFor({ kind: 'int', size: 16, signed }).encode(value, target, 0);
      return `=${target.bytes.toString('hex')}`;
    }
    case 'float':
    case 'double': {
      const size = kind === 'float' ? 4 : 8;
      const target = new ByteSource(new Uint8Array(size));
      codecFor({ kind: 'float', size }).encode(value, target, 0);
      return `=${target.bytes.toString('hex')}`;
    }
    case 'text':
      return `=${textBytes(value as string).toString('hex')}`;
    case 'bytes':
      return `=${Buffer.from(value as Uint8Array).toString('hex')}`;
  }
}

function check(struct: RandomStruct, btf: Btf, line: string): void {
  const words = line.split(' ');
  const layout = btf.layout(btf.find(struct.name, 'typedef'));
  expect(layout.size).toBe(Number(words.shift()));
  const bytes = Buffer.from(words.shift()!.slice(1), 'hex');
  const source = new ByteSource(bytes);
  const codec = codecFor<Record<string, unknown>>(layout);
  const value = codec.decode(source, 0);
  for (const leaf of struct.leaves) {
    if (leaf.kind === 'bool' && leaf.assign === '') continue;
    if (!leaf.bitfield) expect([leaf.c, `@${offsetOf(layout, leaf.path)}`]).toEqual([leaf.c, words.shift()]);
    const item = leaf.path.reduce<unknown>((at, step) => (at as Record<string, unknown>)[step], value);
    const expected = words.shift()!;
    // Which NaN it is does not survive a JavaScript number.
    if (Number.isNaN(item)) continue;
    expect([leaf.c, printed(leaf, item)]).toEqual([leaf.c, expected]);
  }
  const again = new ByteSource(new Uint8Array(layout.size).fill(0xff));
  codec.encode(value, again, 0);
  expect(again.bytes.toString('hex')).toBe(bytes.toString('hex'));
  const lazy = codec.lazy(source, 0);
  for (const name of Object.keys(value)) expect(lazy[name]).toEqual(value[name]);
}

describe(`${COUNT} random structs, TSBCC_RANDOM_SEED=${SEED}`, () => {
  eachWithClang(batches)(
    `the compiler and the codec agree on $count structs of seed $seed${WITHOUT_CLANG}`,
    ({ seed, count }) => {
      const generator = new StructGenerator(seed);
      const structs = Array.from({ length: count }, (_, i) => generator.struct(i));
      const btf = compileBtf(bpfProgram(structs));
      const lines = runHost(hostProgram(structs)).split('\n');
      structs.forEach((struct, i) => {
        try {
          check(struct, btf, lines[i]!);
        } catch (cause) {
          throw new Error(`TSBCC_RANDOM_SEED=${seed}, ${struct.text}\n${(cause as Error).message}`, { cause });
        }
      });
    },
  );
});
