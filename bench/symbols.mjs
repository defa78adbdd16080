/*
 * Addresses to names, side by side with BCC's Python module: node bench/symbols.mjs [--addresses 100000] [--runs 3]
 *
 * Both resolve the same addresses, spread over all kernel functions and over the C library of their own process. They run
 * in turn, in processes of their own; `first` is the first round of a process, in which nothing is cached but the table of
 * symbols, the rest the best round of all runs, because others use the machine too.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    addresses: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '4' },
    runs: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
});
const [addresses, rounds, runs] = [values.addresses, values.rounds, values.runs].map(Number);

const WORKS = {
  start: { work: 'the first address of a process', unit: 'ms' },
  first: { work: 'ksym, first round', target: 5 },
  ksym: { work: 'ksym', target: 5 },
  ksymFull: { work: 'ksym with module and offset', target: 5 },
  user: { work: 'sym with module and offset' },
};

const file = (name) => fileURLToPath(new URL(`symbols/${name}`, import.meta.url));
const job = JSON.stringify({ addresses, rounds });
const measure = (program, script) => JSON.parse(execFileSync(program, [file(script), job], { encoding: 'utf8' }));

const best = { ours: {}, python: {} };
for (let run = 0; run < runs; run++)
  for (const [side, results] of [
    ['ours', measure(process.execPath, 'node.mjs')],
    ['python', measure('/usr/bin/python3', 'python.py')],
  ])
    for (const [name, all] of Object.entries(results))
      best[side][name] = Math.min(best[side][name] ?? Number.POSITIVE_INFINITY, ...all);

const rows = Object.entries(WORKS).map(([name, { work, unit = 'M/s', target }]) => {
  const shown = (milliseconds) => (unit === 'ms' ? milliseconds : addresses / milliseconds / 1000);
  const [ours, python] = [best.ours[name], best.python[name]];
  return { work, unit, ours: shown(ours), python: shown(python), times: python / ours, target };
});

if (values.json) console.log(JSON.stringify({ addresses, rounds, runs, rows }));
else {
  console.log(`${addresses} addresses, the best of ${rounds * runs} rounds\n`);
  console.log('| | tsbcc | BCC in Python | times | wanted |\n|---|---|---|---|---|');
  for (const { work, unit, ours, python, times, target } of rows)
    console.log(
      `| ${work} | ${ours.toFixed(2)} ${unit} | ${python.toFixed(2)} ${unit} | ${times.toFixed(1)} | ${target ?? ''} |`,
    );
}
