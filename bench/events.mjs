/*
 * Events, side by side with BCC's Python module and a C++ program over libbcc: the same BPF program, the same events of
 * 48 bytes (2 u32, 3 u64, char[16]), every field read.
 *
 *   node bench/events.mjs [--only drain,field,perf,live,latency,idle,memory] [--quick] [--save]
 *
 * Drains are told by the wall clock and by processor time: the first is only as good as the machine is idle. --save writes
 * the figures into bench/results/events.json and the table into bench/README.md.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { requireSource } from '../scripts/bundle.mjs';
import { build, machine, PYTHON, save, table, times } from './report.mjs';

const { resolveHeaders } = requireSource('kernel/headers');

const PARTS = ['drain', 'field', 'perf', 'live', 'latency', 'idle', 'memory'];
const { values } = parseArgs({
  options: {
    only: { type: 'string', default: PARTS.join(',') },
    quick: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
  },
});
const only = values.only.split(',');
const { quick } = values;

const at = (name) => fileURLToPath(new URL(name, import.meta.url));
const built = build('events');
const producer = path.join(built, 'producer');
const producerCpu = Math.min(1, os.availableParallelism() - 1);
const RING_PAGES = 16384;
const PERF_PAGES = 8192;
/** As many as a 64 MiB ring holds, at 56 bytes each; a perf buffer's take 64 of its 32 MiB. */
const RING_EVENTS = 1_190_000;
const PERF_EVENTS = 520_000;

/** The headers that libbcc needs where the machine has none of its own. */
function environment() {
  const { path: headers } = resolveHeaders(undefined, readFileSync(at('events/program.c'), 'utf8'));
  return { ...process.env, ...(headers && { BCC_KERNEL_SOURCE: headers }) };
}

const SIDES = {
  tsbcc(job, env) {
    return execFileSync(process.execPath, ['--expose-gc', at('events/consumer.mjs'), JSON.stringify(job)], { env });
  },
  python(job, env) {
    return execFileSync(PYTHON, [at('events/consumer.py'), JSON.stringify(job)], { env });
  },
  cpp(job, env) {
    const { mode, buffer, pages, perCall, events = 0, perSecond = 0, seconds = 0, rounds = 1 } = job;
    const words = [mode, buffer, pages, perCall, events, perSecond, seconds, rounds, producer, producerCpu];
    return execFileSync(path.join(built, 'consumer'), [...words.map(String), at('events/program.c')], { env });
  },
};

const env = environment();

function measure(side, job) {
  const whole = { perCall: 10, producer, producerCpu, rounds: quick ? 3 : 10, ...job };
  const result = JSON.parse(SIDES[side](whole, env));
  console.error(`${side} ${JSON.stringify(job)}: ${JSON.stringify(result)}`);
  return result;
}

/**
 * The highest rate (events a second) at which nothing is lost: searched for in short runs, then held for `seconds`. Rates
 * are those that the producer kept: beyond some two million a second it is the one that cannot go faster.
 */
function highestRate(side, seconds) {
  const run = (perSecond, time) => {
    const job = { mode: 'live', buffer: 'ring', pages: 2048, perSecond: Math.round(perSecond), seconds: time };
    const result = measure(side, job);
    const { received, lost, sent, producerSeconds, cpuSeconds } = result;
    return {
      held: lost === 0 && received === sent,
      rate: sent / producerSeconds,
      cpuNs: (cpuSeconds / received) * 1e9,
    };
  };
  let low = 50_000;
  let high = 12_800_000;
  // Twice, because a producer that had to wait for its processor is slow as well.
  for (let saturated = 0; saturated < 2 && high / low > 1.15; ) {
    const middle = Math.sqrt(low * high);
    const { held, rate } = run(middle, quick ? 1 : 2);
    if (!held) high = middle;
    else if (rate > 0.9 * middle) low = middle;
    else {
      saturated++;
      low = Math.max(low, rate);
    }
  }
  for (; low > 10_000; low *= 0.8) {
    const { held, rate, cpuNs } = run(low, seconds);
    if (held) return { rate: Math.round(rate), cpuNs };
  }
  throw new Error(`${side} held no rate`);
}

/** The figures of each part, and its rows of the table. */
const results = {};
const rows = {};
let part = '';

/** Runs a part of the benchmark where it is asked for. */
function measured(name, work) {
  if (!only.includes(name)) return;
  part = name;
  rows[name] = [];
  work();
}

const millions = (perSecond) => `${(perSecond / 1e6).toFixed(2)} M/s`;

/** One row of the table; figures that a side does not have are left out. */
function row(figure, { tsbcc, python, cpp }, text, ratio, goal) {
  rows[part].push({ figure, tsbcc: text(tsbcc), python: python && text(python), cpp: cpp && text(cpp), ratio, goal });
}

/** Full buffers: by processor time, the wall clock beside it. */
function drainRow(figure, sides, goal) {
  const { tsbcc, python, cpp } = sides;
  const text = ({ perSecond, perCpuSecond }) => `${millions(perCpuSecond)} (${millions(perSecond)})`;
  const toCpp = cpp ? `, ${(tsbcc.perCpuSecond / cpp.perCpuSecond).toFixed(2)} of C++` : '';
  row(figure, sides, text, `${times(tsbcc.perCpuSecond / python.perCpuSecond)} Python${toCpp}`, goal);
}

function drain(buffer, way) {
  const ring = buffer === 'ring';
  const job = {
    mode: 'drain',
    buffer,
    pages: ring ? RING_PAGES : PERF_PAGES,
    events: ring ? RING_EVENTS : PERF_EVENTS,
    way,
  };
  return (side) => measure(side, job);
}

const WAYS = {
  batches: '`batches()`, `toArray()`',
  stream: '`for await` over `events()`',
  callback: 'callback and `event()`',
};

measured('drain', () => {
  const python = drain('ring', 'all')('python');
  const cpp = drain('ring', 'all')('cpp');
  results.drain = { python, cpp };
  for (const [way, name] of Object.entries(WAYS)) {
    const tsbcc = drain('ring', way)('tsbcc');
    results.drain[way] = tsbcc;
    const goal = way === 'batches' ? '15× Python, 0.33 of C++' : undefined;
    drainRow(`64 MiB ring buffer, decoded objects: ${name}`, { tsbcc, python, cpp }, goal);
  }
});
measured('field', () => {
  const sides = { tsbcc: drain('ring', 'field')('tsbcc'), python: drain('ring', 'field')('python') };
  results.field = sides;
  drainRow('the same through `batches()`, one field read', sides, '60× Python');
});
measured('perf', () => {
  const python = drain('perf', 'all')('python');
  const cpp = drain('perf', 'all')('cpp');
  results.perf = { python, cpp };
  for (const [way, name] of Object.entries(WAYS)) {
    const tsbcc = drain('perf', way)('tsbcc');
    results.perf[way] = tsbcc;
    const goal = way === 'batches' ? '10× Python' : undefined;
    drainRow(`32 MiB perf buffer, decoded objects: ${name}`, { tsbcc, python, cpp }, goal);
  }
});
measured('live', () => {
  const seconds = quick ? 3 : 30;
  const sides = Object.fromEntries(Object.keys(SIDES).map((side) => [side, highestRate(side, seconds)]));
  results.live = { ...sides, seconds };
  const goal = '5× Python';
  const text = ({ rate, cpuNs }) => `${millions(rate)} (${cpuNs.toFixed(0)} ns each)`;
  const ratio = `${times(sides.tsbcc.rate / sides.python.rate)} Python`;
  row(`live for ${seconds} s, nothing lost (processor time of an event)`, sides, text, ratio, goal);
});
measured('latency', () => {
  results.latency = {};
  for (const buffer of ['ring', 'perf']) {
    const job = { mode: 'latency', buffer, pages: 8, perCall: 1, perSecond: 100, seconds: quick ? 2 : 10 };
    const [python, cpp] = ['python', 'cpp'].map((side) => measure(side, job));
    results.latency[buffer] = { python, cpp };
    for (const [way, name] of [
      ['stream', '`for await`'],
      ['poll', 'blocking poll'],
    ]) {
      const tsbcc = measure('tsbcc', { ...job, way });
      results.latency[buffer][way] = tsbcc;
      const text = ({ medianUs, p99Us }) => `${medianUs.toFixed(0)} / ${p99Us.toFixed(0)} µs`;
      const ratio = `${(tsbcc.medianUs / python.medianUs).toFixed(2)} / ${(tsbcc.p99Us / python.p99Us).toFixed(2)} of Python`;
      row(
        `wake-up, ${buffer} buffer, median / 99th percentile: ${name}`,
        { tsbcc, python, cpp },
        text,
        ratio,
        '1 of Python',
      );
    }
  }
});
measured('idle', () => {
  const seconds = quick ? 3 : 10;
  const tsbcc = measure('tsbcc', { mode: 'idle', buffer: 'ring', pages: 8, seconds });
  results.idle = tsbcc;
  row(
    `processor time of an open stream, idle for ${seconds} s`,
    { tsbcc },
    ({ cpuMs }) => `${cpuMs.toFixed(1)} ms`,
    '',
    'under 10 ms',
  );
});
measured('memory', () => {
  const events = quick ? 5_000_000 : 100_000_000;
  const tsbcc = measure('tsbcc', { mode: 'memory', buffer: 'ring', pages: 2048, perSecond: 2_000_000, events });
  results.memory = tsbcc;
  const text = ({ growthMiB, events: seen }) => `${growthMiB.toFixed(1)} MiB over ${(seen / 1e6).toFixed(0)} M`;
  row(`growth of resident memory, ${events / 1e6} M events received`, { tsbcc }, text, '', 'under 16 MiB');
});

const HEADS = ['figure', 'tsbcc', 'Python', 'C++', 'ratio', 'to reach'];

function print(all) {
  return table(
    HEADS,
    PARTS.flatMap((name) => all[name] ?? []).map(({ figure, tsbcc, python = '', cpp = '', ratio, goal = '' }) => [
      ...[figure, tsbcc, python, cpp, ratio, goal],
    ]),
  );
}

console.log(print(rows));

if (values.save) {
  const parts = Object.fromEntries(
    Object.keys(rows).map((name) => [name, { machine: machine(), quick, figures: results[name], rows: rows[name] }]),
  );
  save('events', parts, (all) =>
    print(Object.fromEntries(Object.entries(all).map(([name, { rows: of }]) => [name, of]))),
  );
}
