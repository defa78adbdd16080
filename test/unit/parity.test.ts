import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import * as tsbcc from '../../src';
import * as tables from '../../src/table/factory';
import { outputOf } from '../helpers';

const root = path.join(__dirname, '..', '..');
type Row = [python: string, name: string, file: string, test: string];

/** The script is an ES module: a process of its own reads it. */
const { rows, text } = JSON.parse(
  outputOf(process.execPath, [
    '--input-type=module',
    '-e',
    `import { sections, render } from ${JSON.stringify(path.join(root, 'scripts/docs/parity.mjs'))};
     console.log(JSON.stringify({ rows: Object.values(sections).flat(), text: render() }));`,
  ]),
) as { rows: Row[]; text: string };

/** `BCC.sym` is static, `BCC#table` an instance's, `PerfType` an export; table classes are found by their files. */
function isThere(name: string): boolean {
  const [, owner, separator, member] = /^(\w+)(?:([.#])(\w+))?$/.exec(name)!;
  const value = ((tsbcc as Record<string, unknown>)[owner!] ?? tableClass(owner!)) as
    | (Record<string, unknown> & { prototype: object })
    | undefined;
  if (value === undefined || member === undefined) return value !== undefined;
  return separator === '.' ? member in value : member in value.prototype;
}

function tableClass(name: string): unknown {
  return (tables as Record<string, unknown>)[name] ?? TABLE_FILES.map((file) => require(file)[name]).find(Boolean);
}

const TABLE_FILES = [
  'array',
  'cgroup-array',
  'device',
  'hash',
  'lpm-trie',
  'map-in-map',
  'per-cpu',
  'perf-event-array',
  'prog-array',
  'queue-stack',
  'ring-buffer',
  'socket',
  'stack-trace',
  'storage',
].map((name) => path.join(root, 'src', 'table', name));

it('every name of BCC is there', () => {
  expect(rows.map(([, name]) => name).filter((name) => !isThere(name))).toEqual([]);
});

it('every name has a test that exists', () => {
  const missing = rows.filter(([, , file, test]) => {
    const source = path.join(root, 'test', file);
    return !existsSync(source) || !readFileSync(source, 'utf8').includes(test);
  });
  expect(missing.map(([python, , file, test]) => `${python}: ${file}: ${test}`)).toEqual([]);
});

it('docs/parity.md is what the rows say', () => {
  // node scripts/docs/parity.mjs writes it.
  expect(readFileSync(path.join(root, 'docs', 'parity.md'), 'utf8')).toBe(text);
});
