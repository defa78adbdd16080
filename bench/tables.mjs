/*
 * Tables, side by side with BCC's Python module: node bench/tables.mjs [--clock cpu|wall] [--elements 100000] [--rounds 5] [--runs 3]
 *
 * Both do the same work on a hash of structs (keys of 16 bytes, leaves of 40) and read a field of every key and leaf. They run in turn,
 * in processes of their own. The figure is the best round of all runs, by the CPU time of the whole process (the garbage
 * collector's threads among it): the wall clock is only as good as the machine is idle.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { requireSource } from '../scripts/bundle.mjs';

const { resolveHeaders } = requireSource('kernel/headers');

const { values } = parseArgs({
  options: {
    elements: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '5' },
    runs: { type: 'string', default: '3' },
    clock: { type: 'string', default: 'cpu' },
    json: { type: 'boolean', default: false },
  },
});
const [elements, rounds, runs] = [values.elements, values.rounds, values.runs].map(Number);

const WORKS = {
  update: { ours: 'set()', python: 't[key] = leaf', target: 3 },
  lookup: { ours: 'get()', python: 't[key]', target: 3 },
  scan: { ours: 'for..of', python: 'items()', target: 20 },
  scanBatch: { ours: 'itemsLookupBatch()', python: 'items_lookup_batch()', target: 3 },
  clear: { ours: 'clear()', python: 'clear()' },
  updateBatch: { ours: 'itemsUpdateBatch()', python: 'items_update_batch()' },
  take: { ours: 'itemsLookupAndDeleteBatch()', python: 'items_lookup_and_delete_batch()' },
};

const file = (name) => fileURLToPath(new URL(`tables/${name}`, import.meta.url));
const text = readFileSync(file('program.c'), 'utf8');
const job = JSON.stringify({ text, elements, rounds, clock: values.clock });
const headers = resolveHeaders(undefined, text).path;

function measure(program, script) {
  const env = { ...process.env, ...(script.endsWith('.py') && headers && { BCC_KERNEL_SOURCE: headers }) };
  return JSON.parse(execFileSync(program, [file(script), job], { env, encoding: 'utf8' }));
}

const best = { ours: {}, python: {} };
for (let run = 0; run < runs; run++)
  for (const [side, results] of [
    ['ours', measure(process.execPath, 'node.mjs')],
    ['python', measure('/usr/bin/python3', 'python.py')],
  ])
    for (const [name, all] of Object.entries(results))
      for (const [ns, kernel] of all)
        if (!(best[side][name]?.ns <= ns)) best[side][name] = { ns: Math.round(ns), kernel: Math.round(kernel) };

const rows = Object.entries(WORKS).map(([name, { ours, python, target }]) => ({
  work: name,
  ours: { call: ours, ...best.ours[name] },
  python: { call: python, ...best.python[name] },
  times: best.python[name].ns / best.ours[name].ns,
  target,
}));

if (values.json) console.log(JSON.stringify({ elements, rounds, runs, clock: values.clock, rows }));
else {
  console.log(
    `a hash of ${elements} structs (key 16 bytes, leaf 40 bytes): ns per element (of them the kernel's), ${values.clock} time,` +
      ` the best of ${rounds * runs} rounds\n`,
  );
  console.log('| tsbcc | ns | BCC in Python | ns | times | wanted |\n|---|---|---|---|---|---|');
  for (const { ours, python, times, target } of rows)
    console.log(
      `| \`${ours.call}\` | ${ours.ns} (${ours.kernel}) | \`${python.call}\` | ${python.ns} (${python.kernel}) |` +
        ` ${times.toFixed(1)} | ${target ?? ''} |`,
    );
}
