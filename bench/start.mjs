/*
 * Start-up and memory, side by side with BCC's Python module: node bench/start.mjs [--runs 15] [--save] [--json]
 *
 * A tracer with one tracepoint and one ring buffer, from its process's start to its first event read and to its end. The
 * sides run in turn; the figures are medians. Python runs twice: with the headers that tsbcc makes for this one program,
 * and with a whole kernel's, as its users have them.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, release, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { requireSource } from '../scripts/bundle.mjs';

const { resolveHeaders } = requireSource('kernel/headers');

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '15' },
    save: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const file = (name) => fileURLToPath(new URL(`start/${name}`, import.meta.url));
const program = file('program.c');
const text = readFileSync(program, 'utf8');
const trimmed = resolveHeaders(undefined, text).path;
const whole = trimmed === '' ? '' : resolveHeaders({ mode: 'btf', trim: false }, text).path;
const folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-bench-'));

/** Milliseconds of the whole process by the wall's clock and the processor's, with its children's, and what it tells. */
function life(command, headers) {
  const env = { ...process.env, ...(headers && { BCC_KERNEL_SOURCE: headers }) };
  const before = performance.timeOrigin + performance.now();
  const script = 'TIMEFORMAT="%3R %3U %3S"; time "$@"';
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', ...command], { encoding: 'utf8', env });
  if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr}`);
  const [wall, user, system] = stderr.trim().split('\n').pop().split(' ').map(Number);
  const told = stdout.trim() === '' ? {} : JSON.parse(stdout.trim().split('\n').pop());
  return { wall: wall * 1000, cpu: (user + system) * 1000, ...told, first: told.first - before };
}

const quantile = (numbers, part) => [...numbers].sort((a, b) => a - b)[Math.floor((numbers.length - 1) * part)];
const ours = (cache, times = '1') => life([process.execPath, file('node.mjs'), program, cache, times]);
const python = (headers) => life(['/usr/bin/python3', file('python.py'), program], headers);
const kept = path.join(folder, 'kept');
const sides = { node: [], cached: [], fresh: [], within: [], trimmed: [], whole: [] };
try {
  ours(kept);
  python(trimmed);
  python(whole);
  for (let run = 0; run < Number(values.runs); run++) {
    sides.node.push(life([process.execPath, '-e', '0']));
    sides.cached.push(ours(kept));
    sides.trimmed.push(python(trimmed));
    sides.fresh.push(ours(path.join(folder, `fresh-${run}`)));
    sides.whole.push(python(whole));
    sides.within.push(ours(kept, '20'));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const of = (side, name, part = 0.5) =>
  quantile(
    sides[side].map((one) => one[name]),
    part,
  );
const UNITS = { rss: 'MiB', wall: 'ms', cpu: 'ms', first: 'ms' };
/** One figure of ours beside both of Python's, each with how much of it ours is. */
const row = (figure, side, name, wanted = '') => [
  figure,
  `${of(side, name).toFixed(0)} ${UNITS[name]}`,
  ...['trimmed', 'whole'].map(
    (other) => `${of(other, name).toFixed(0)} (${(of(side, name) / of(other, name)).toFixed(2)})`,
  ),
  wanted,
];
const rows = [
  row('whole process from the cache: wall time', 'cached', 'wall', 'at most 0.15'),
  row('the same: processor time', 'cached', 'cpu'),
  row('from the cache, until its first event is read', 'cached', 'first'),
  [
    'within a process, `new BCC` from the cache until attached (best of 20)',
    `${of('within', 'attached').toFixed(1)} ms`,
    '',
    '',
    'under 5 ms',
  ],
  row('resident memory while tracing, from the cache', 'cached', 'rss', 'at most 0.5'),
  row('the same after a miss, compiled in its own process', 'fresh', 'rss', 'at most 0.6'),
  row('whole process on a miss: wall time', 'fresh', 'wall', 'at most 1.15'),
  row('the same: processor time', 'fresh', 'cpu'),
  row('on a miss, until its first event is read', 'fresh', 'first'),
  row('`node -e 0`, the floor: wall time', 'node', 'wall'),
  row('the same: processor time', 'node', 'cpu'),
];
const result = {
  runs: Number(values.runs),
  kernel: release(),
  node: process.version,
  load: loadavg()[0],
  rows,
  medians: Object.fromEntries(
    Object.keys(sides).map((side) => [
      side,
      Object.fromEntries(Object.keys(UNITS).map((name) => [name, Number(of(side, name)?.toFixed(1))])),
    ]),
  ),
};
if (values.save) writeFileSync(file('../results/start.json'), `${JSON.stringify(result, null, 2)}\n`);
if (values.json) console.log(JSON.stringify(result));
else {
  console.log('| figure | tsbcc | Python, trimmed headers | Python, whole headers | to reach |\n|---|---|---|---|---|');
  for (const cells of rows) console.log(`| ${cells.join(' | ')} |`);
}
