/*
 * Start-up and memory, side by side with BCC's Python module: node bench/start.mjs [--runs 7] [--json]
 *
 * A tracer with one tracepoint and one ring buffer, from its process's start to its first event read. The sides run in
 * turn; the figures are medians.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { requireSource } from '../scripts/bundle.mjs';

const { resolveHeaders } = requireSource('kernel/headers');

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '7' }, json: { type: 'boolean', default: false } },
});
const file = (name) => fileURLToPath(new URL(`start/${name}`, import.meta.url));
const program = file('program.c');
const headers = resolveHeaders(undefined, readFileSync(program, 'utf8')).path;
const folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-bench-'));

/** Wall milliseconds of the whole process, and what it tells. */
function life(command, args) {
  const env = { ...process.env, ...(command.endsWith('python3') && headers && { BCC_KERNEL_SOURCE: headers }) };
  const before = process.hrtime.bigint();
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', env });
  const wall = Number(process.hrtime.bigint() - before) / 1e6;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
  return { wall, ...JSON.parse(stdout.trim().split('\n').pop()) };
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];
const ours = (cache, times = '1') => life(process.execPath, [file('node.mjs'), program, cache, times]);
const kept = path.join(folder, 'kept');
const sides = { cached: [], fresh: [], python: [], within: [] };
try {
  ours(kept);
  life('/usr/bin/python3', [file('python.py'), program]);
  for (let run = 0; run < Number(values.runs); run++) {
    sides.cached.push(ours(kept));
    sides.python.push(life('/usr/bin/python3', [file('python.py'), program]));
    sides.fresh.push(ours(path.join(folder, `fresh-${run}`)));
    sides.within.push(ours(kept, '20'));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const of = (side, name) => median(sides[side].map((one) => one[name]));
const ratio = (side, name) => of(side, name) / of('python', name);
const rows = [
  [
    'whole process from the cache, first event read',
    `${of('cached', 'wall').toFixed(0)} ms`,
    `${of('python', 'wall').toFixed(0)} ms`,
    ratio('cached', 'wall').toFixed(2),
    'at most 0.15',
  ],
  [
    'within a process, `new BCC` from the cache until attached (best of 20)',
    `${of('within', 'attached').toFixed(1)} ms`,
    '',
    '',
    'under 5 ms',
  ],
  [
    'resident memory while tracing, from the cache',
    `${of('cached', 'rss').toFixed(0)} MiB`,
    `${of('python', 'rss').toFixed(0)} MiB`,
    ratio('cached', 'rss').toFixed(2),
    'at most 0.5',
  ],
  [
    'the same after a miss, compiled in its own process',
    `${of('fresh', 'rss').toFixed(0)} MiB`,
    `${of('python', 'rss').toFixed(0)} MiB`,
    ratio('fresh', 'rss').toFixed(2),
    'at most 0.6',
  ],
  [
    'whole process on a miss',
    `${of('fresh', 'wall').toFixed(0)} ms`,
    `${of('python', 'wall').toFixed(0)} ms`,
    ratio('fresh', 'wall').toFixed(2),
    'at most 1.15',
  ],
];
if (values.json) console.log(JSON.stringify({ runs: Number(values.runs), rows }));
else {
  console.log('| figure | tsbcc | Python | of Python | to reach |\n|---|---|---|---|---|');
  for (const row of rows) console.log(`| ${row.join(' | ')} |`);
}
