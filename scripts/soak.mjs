/*
 * Nothing grows and nothing is lost, however long a process runs (as root):
 *
 *   npm run soak -- [--rounds N] [--compiled N] [--events N] [--perf-events N]
 *
 *   --rounds       compile (from the cache), load, attach, read and close so many times in one process; 1000
 *   --compiled     the same, with a compiler run for each round; 1000
 *   --llvm         compilations within one process (BCC in Python), which is what the others are spared; 100
 *   --events       events through a large ring buffer's stream, and again through a small one that loses some; 50 million
 *   --perf-events  the same through perf buffers; 2 million
 *
 * 0 leaves a part out. Ends with a line for each part, and with status 1 where one does not hold. Descriptors and kernel
 * objects must be as many at the end of every round; resident memory may grow by GROWTH after the first SETTLED rounds.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/** Rounds after which a process has what it needs: pools, compiled JavaScript, the garbage collector's room. */
const SETTLED = 50;
/** MiB: what samples of a settled process differ by. */
const GROWTH = 8;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1000' },
    compiled: { type: 'string', default: '1000' },
    llvm: { type: 'string', default: '100' },
    events: { type: 'string', default: '50000000' },
    'perf-events': { type: 'string', default: '2000000' },
  },
});

const MiB = (bytes) => (bytes / 2 ** 20).toFixed(1);
let failed = false;

function verdict(name, figures, ok) {
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name}: ${figures}`);
  if (!ok) failed = true;
}

/** Runs a program of test/soak to its end; what it printed, or undefined where it failed. */
function run(program, job) {
  const file = fileURLToPath(new URL(`../test/soak/${program}.mjs`, import.meta.url));
  const { status, signal, stdout } = spawnSync(process.execPath, ['--expose-gc', file, JSON.stringify(job)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status === 0) return JSON.parse(stdout);
  verdict(`${program} ${JSON.stringify(job)}`, `ended with ${signal ?? status}`, false);
  return undefined;
}

function rounds(name, job) {
  const result = run('rounds', { every: SETTLED, ...job });
  if (!result) return;
  const { before, attached, samples, probeEvents } = result;
  const settled = samples[0].resident;
  const growth = Math.max(...samples.map(({ resident }) => resident)) - settled;
  const descriptors = new Set([before.descriptors, ...samples.map((sample) => sample.descriptors)]);
  const left = samples.reduce((sum, { programs, maps, links }) => sum + programs + maps + links, 0);
  const seen = attached.programs > 0 && attached.maps > 0;
  verdict(
    `${job.rounds} times ${name}`,
    `descriptors ${[...descriptors].join(' to ')}; programs, maps and links of it ` +
      `${attached.programs}, ${attached.maps} and ${attached.links} while attached, ${left} after closing; ` +
      `probe events ${before.probeEvents} before, ${probeEvents} after; ` +
      `resident ${MiB(settled)} MiB after ${samples[0].round} rounds, ` +
      `${MiB(samples.at(-1).resident)} after ${job.rounds}, at most ${MiB(settled + growth)}`,
    descriptors.size === 1 && seen && left === 0 && probeEvents === before.probeEvents && growth < GROWTH * 2 ** 20,
  );
}

function stream(name, job) {
  const result = run('stream', job);
  if (!result) return;
  const { produced, received, lost, missing, cpuSeconds, residentMiB } = result;
  verdict(
    name,
    `${produced} produced, ${received} received, ${lost} lost, ${missing} missing from the sequence; ` +
      `${cpuSeconds.toFixed(1)} s of CPU time, ${residentMiB.toFixed(1)} MiB resident`,
    produced >= job.events && received + lost === produced && missing === lost && (lost > 0 || !job.stall),
  );
}

function llvm(count) {
  const result = run('compiler', { rounds: count });
  if (!result) return;
  const { before, first, last, descriptors } = result;
  const each = (last - first) / (count - 1) / 1024;
  verdict(
    `${count} compilations within one process, of BCC in Python`,
    `resident ${MiB(before)} MiB before, ${MiB(first)} after the first, ${MiB(last)} after the last: ` +
      `${each.toFixed(0)} KiB each; descriptors ${descriptors.join(' to ')}`,
    descriptors[0] === descriptors[1],
  );
}

const [cached, compiled, compilations, events, perfEvents] = [
  values.rounds,
  values.compiled,
  values.llvm,
  values.events,
  values['perf-events'],
].map(Number);
if (cached > 0) rounds('from the cache', { rounds: cached, cache: true });
if (compiled > 0) rounds('with a compiler run', { rounds: compiled, cache: false });
if (compilations > 0) llvm(compilations);
// The small ones hold some 1,500 events for each 64 KiB: they lose what is sent while nobody reads.
const stall = 20_000;
if (events > 0) {
  stream('a ring buffer of 16 MiB', { buffer: 'ring', pages: 4096, events });
  stream('a ring buffer of 64 KiB', { buffer: 'ring', pages: 16, events, stall });
}
if (perfEvents > 0) {
  stream('perf buffers of 16 MiB', { buffer: 'perf', pages: 4096, events: perfEvents });
  stream('perf buffers of 32 KiB', { buffer: 'perf', pages: 8, events: perfEvents, stall });
}
process.exitCode = failed ? 1 : 0;
