/*
 * Tables, side by side with BCC's Python module and with a C++ program that makes the same system calls and no more.
 *
 *   node bench/tables.mjs [--elements 100000] [--rounds 5] [--runs 3] [--save]
 *
 * All do the same work on a hash of structs (keys of 16 bytes, leaves of 40) and read a field of every key and leaf. They
 * run in turn, in processes of their own. The figure is the best round of all runs, by the processor time of the whole
 * process (the garbage collector's threads among it): the wall clock is only as good as the machine is idle. --save writes
 * the figures into bench/results/tables.json and the table into bench/README.md.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { requireSource } from '../scripts/bundle.mjs';
import { build, machine, PYTHON, save, table } from './report.mjs';

const { resolveHeaders } = requireSource('kernel/headers');

const { values } = parseArgs({
  options: {
    elements: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '5' },
    runs: { type: 'string', default: '3' },
    save: { type: 'boolean', default: false },
  },
});
const [elements, rounds, runs] = [values.elements, values.rounds, values.runs].map(Number);

const WORKS = {
  update: { ours: 'set()', python: 't[key] = leaf', goal: 3 },
  lookup: { ours: 'get()', python: 't[key]', goal: 3 },
  scan: { ours: 'for..of', python: 'items()', goal: 20 },
  scanBatch: { ours: 'itemsLookupBatch()', python: 'items_lookup_batch()', goal: 3 },
  clear: { ours: 'clear()', python: 'clear()' },
  updateBatch: { ours: 'itemsUpdateBatch()', python: 'items_update_batch()' },
  take: { ours: 'itemsLookupAndDeleteBatch()', python: 'items_lookup_and_delete_batch()' },
};

const file = (name) => fileURLToPath(new URL(`tables/${name}`, import.meta.url));
const text = readFileSync(file('program.c'), 'utf8');
const job = JSON.stringify({ text, elements, rounds });
const headers = resolveHeaders(undefined, text).path;
const built = build('tables');

const SIDES = {
  tsbcc: () => execFileSync(process.execPath, [file('node.mjs'), job]),
  python: () =>
    execFileSync(PYTHON, [file('python.py'), job], {
      env: { ...process.env, ...(headers && { BCC_KERNEL_SOURCE: headers }) },
    }),
  floor: () => execFileSync(`${built}/floor`, [values.elements, values.rounds]),
};

const best = { tsbcc: {}, python: {}, floor: {} };
for (let run = 0; run < runs; run++) {
  for (const [side, measure] of Object.entries(SIDES)) {
    const results = JSON.parse(measure());
    for (const work of Object.keys(WORKS)) {
      for (const [ns, kernel] of results[work]) {
        if (!(best[side][work]?.ns <= ns)) best[side][work] = { ns: Math.round(ns), kernel: Math.round(kernel) };
      }
    }
  }
}

const cell = ({ ns, kernel }) => `${ns} (${kernel})`;
const rows = Object.entries(WORKS).map(([work, { ours, python, goal }]) => [
  `\`${ours}\``,
  cell(best.tsbcc[work]),
  `\`${python}\``,
  cell(best.python[work]),
  cell(best.floor[work]),
  (best.python[work].ns / best.tsbcc[work].ns).toFixed(1),
  (best.python[work].ns / best.floor[work].ns).toFixed(1),
  goal ?? '',
]);
const print = (all) =>
  table(['tsbcc', 'ns', 'BCC in Python', 'ns', 'C++, ns', 'times Python', 'C++ is', 'wanted'], all.hash.rows);

console.log(print({ hash: { rows } }));
if (values.save) save('tables', { hash: { machine: machine(), elements, figures: best, rows } }, print);
