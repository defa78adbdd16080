import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import type { Layout } from '../../src/layout/layout';
import {
  type HistogramOptions,
  type HistogramSource,
  histogramsOf,
  jsonHistogramText,
  linearHistogramText,
  log2HistogramText,
} from '../../src/table/histogram';
import { itIf, PYTHON } from '../helpers';

/* The texts of test/fixtures were printed by BCC's Python module: see histograms.py there. */

interface Case {
  name: string;
  print: 'log2' | 'linear' | 'json';
  valType?: string;
  section?: 'u32' | 's64' | 'char16';
  sectionHeader?: string;
  sectionPrintFn?: keyof typeof FUNCTIONS;
  bucketFn?: keyof typeof FUNCTIONS;
  bucketSortFn?: keyof typeof FUNCTIONS;
  stripLeadingZero?: boolean;
  items: (number | string)[][];
}

const FUNCTIONS = {
  hex: (section: number) => `0x${section.toString(16)}`,
  halve: (section: number) => Math.floor(section / 2),
  descending: (sections: number[]) => [...sections].sort((a, b) => b - a),
  ascending: (sections: string[]) => [...sections].sort(),
};

const U32: Layout = { kind: 'int', size: 4, signed: false };
const U64: Layout = { kind: 'int', size: 8, signed: false };
const SECTIONS: Record<string, Layout> = {
  u32: U32,
  s64: { kind: 'int', size: 8, signed: true },
  char16: { kind: 'array', element: { kind: 'int', size: 1, signed: true, char: true }, length: 16, size: 16 },
};

const folder = path.join(__dirname, '../fixtures');
const casesText = readFileSync(path.join(folder, 'histogram-cases.json'), 'utf8');
const cases = JSON.parse(casesText) as Case[];
const expected = JSON.parse(readFileSync(path.join(folder, 'histogram-texts.json'), 'utf8')) as string[];

function source({ section, items }: Case): HistogramSource {
  if (section === undefined)
    return { name: 'dist', keyLayout: U32, items: () => items.map(([slot, count]) => [slot, BigInt(count!)]) };
  const type = SECTIONS[section]!;
  const fields = [
    { name: 'section', offset: 0, type },
    ...(section === 'u32' ? [{ name: '__pad_1', offset: 4, type: U32 }] : []),
    { name: 'slot', offset: type.size + (type.size % 8), type: U64 },
  ];
  return {
    name: 'dist',
    keyLayout: { kind: 'struct', size: fields.at(-1)!.offset + 8, fields },
    items: () => items.map(([value, slot, count]) => [{ section: value, slot: BigInt(slot!) }, BigInt(count!)]),
  };
}

function optionsOf(one: Case): HistogramOptions {
  const pick = (name: keyof typeof FUNCTIONS | undefined) => (name === undefined ? undefined : FUNCTIONS[name]);
  return {
    sectionHeader: one.sectionHeader,
    stripLeadingZero: one.stripLeadingZero,
    sectionPrintFn: pick(one.sectionPrintFn) as HistogramOptions['sectionPrintFn'],
    bucketFn: pick(one.bucketFn) as HistogramOptions['bucketFn'],
    bucketSortFn: pick(one.bucketSortFn) as HistogramOptions['bucketSortFn'],
  };
}

const printers = { log2: log2HistogramText, linear: linearHistogramText, json: jsonHistogramText };

describe("histograms are BCC's, byte for byte", () => {
  test.each(cases.map((one, i) => [one.name, one, expected[i]!] as const))('%s', (_name, one, text) => {
    const ours = printers[one.print](source(one), one.valType ?? 'value', optionsOf(one));
    expect(ours.replace(/'ts': '[-0-9 :]+'/g, "'ts': 'NOW'")).toBe(text);
  });

  itIf('bcc', 'the stored texts are what the installed BCC prints', () => {
    const script = path.join(folder, 'histograms.py');
    const { stdout, stderr } = spawnSync(PYTHON, [script], { input: casesText, encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual(expected);
  });
});

describe('what BCC prints as nonsense', () => {
  const plain = (items: [unknown, unknown][]): HistogramSource => ({
    name: 'dist',
    keyLayout: U32,
    items: () => items,
  });

  test('a slot beyond the last is a RangeError that names it', () => {
    expect(() => log2HistogramText(plain([[65, 1n]]), 'v')).toThrow(
      new RangeError("table 'dist': slot 65 is out of range, a histogram has slots 0 to 64"),
    );
    expect(() => linearHistogramText(plain([[-1, 1n]]), 'v')).toThrow(RangeError);
  });

  test('a leaf that is no count is a TypeError', () => {
    expect(() => log2HistogramText(plain([[1, { sum: 1 }]]), 'v')).toThrow(/leaf must be an integer, not \{ sum: 1 \}/);
  });

  test('a struct key of one field is a TypeError', () => {
    const keyLayout: Layout = { kind: 'struct', size: 4, fields: [{ name: 'slot', offset: 0, type: U32 }] };
    expect(() => log2HistogramText({ name: 'dist', keyLayout, items: () => [] }, 'v')).toThrow(
      /first two fields are a section and a slot/,
    );
  });

  test('all CPUs of a per-CPU leaf count together', () => {
    expect(histogramsOf(plain([[2, [1n, 2n]]]), 'log2')[0]!.buckets.at(-1)).toEqual({ low: 2, high: 3, count: 3 });
  });
});

describe('histograms as data', () => {
  test('log2: ranges and counts up to the last occupied slot, exact beyond 2^53', () => {
    const items: [unknown, unknown][] = [
      [1, 4n],
      [3, 2n],
      [64, 2n ** 60n],
    ];
    const [{ section, buckets }] = histogramsOf({ name: 'd', keyLayout: U32, items: () => items }, 'log2') as [
      ReturnType<typeof histogramsOf>[0],
    ];
    expect(section).toBeUndefined();
    expect(buckets.slice(0, 3)).toEqual([
      { low: 0, high: 1, count: 4 },
      { low: 2, high: 3, count: 0 },
      { low: 4, high: 7, count: 2 },
    ]);
    expect(buckets.at(-1)).toEqual({ low: 2n ** 63n, high: 2n ** 64n - 1n, count: 2n ** 60n });
  });

  test('linear: one histogram for each section, in the order asked for', () => {
    const one = cases.find(({ name }) => name === 'linear: sections sorted by a function')!;
    const histograms = histogramsOf(source(one), 'linear', optionsOf(one));
    expect(histograms.map(({ section }) => section)).toEqual([9, 6, 4]);
    expect(histograms[1]!.buckets).toEqual([
      { low: 0, high: 0, count: 0 },
      { low: 1, high: 1, count: 0 },
      { low: 2, high: 2, count: 9 },
    ]);
  });
});
