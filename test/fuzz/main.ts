import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { buffer as readBuffer, text as readText } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { deserialize, serialize } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { CURRENT_HEADER, type Job, type Outcome } from './fuzzer';
import { TARGETS } from './targets';

const WORKERS = 2;
/** No input may take longer; what is fuzzed takes microseconds, and the machine may be busy. */
const HANG_MS = 10_000;
const CURRENT_BYTES = 1 << 16;
const FOLDER = path.join(__dirname, '..', '..', 'build', 'fuzz');

export async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      runs: { type: 'string' },
      input: { type: 'string', multiple: true },
      list: { type: 'boolean' },
      // The process of its own that a target with native code is given.
      alone: { type: 'string' },
    },
  });
  if (values.list) {
    for (const [name, { about }] of Object.entries(TARGETS)) console.log(`${name.padEnd(20)} ${about}`);
    return 0;
  }
  const unknown = positionals.filter((name) => !Object.hasOwn(TARGETS, name));
  if (unknown.length > 0 || (values.input && positionals.length !== 1)) {
    console.error(unknown.length > 0 ? `no target ${unknown.join(', ')}; see --list` : '--input takes one target');
    return 2;
  }
  if (values.alone !== undefined) return alone(values.alone);
  const names = positionals.length > 0 ? positionals : Object.keys(TARGETS);
  const runs = values.runs === undefined ? Number.POSITIVE_INFINITY : Number(values.runs);
  const inputs = values.input?.map((file) => readFileSync(file));
  const seconds =
    values.runs === undefined ? (Number(values.seconds) * WORKERS) / Math.max(WORKERS, names.length) : 1e6;
  console.log(`fuzz: seed ${values.seed}`);

  const outcomes: Outcome[] = [];
  const waiting = [...names];
  const next = async (): Promise<void> => {
    for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
      const current = new SharedArrayBuffer(CURRENT_HEADER + CURRENT_BYTES);
      const job = { target, seconds, seed: Number(values.seed), runs, inputs };
      const outcome = TARGETS[target]!.native ? await runApart(job) : await run({ ...job, current });
      outcomes.push(outcome);
      report(outcome);
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, next));

  const failed = outcomes.filter(({ failure }) => failure).length;
  const tried = outcomes.reduce((sum, outcome) => sum + outcome.inputs, 0);
  console.log(`fuzz: ${tried.toLocaleString('en')} inputs, ${outcomes.length} targets, ${failed} of them failed`);
  return failed === 0 ? 0 : 1;
}

/** Runs one job in a process of its own, which leaves the input under trial in a file: native code may end it. */
async function runApart(job: Omit<Job, 'current'>): Promise<Outcome> {
  mkdirSync(FOLDER, { recursive: true });
  const [file, request] = [path.join(FOLDER, `trying-${job.target}`), path.join(FOLDER, `job-${job.target}`)];
  writeFileSync(file, '');
  writeFileSync(request, serialize({ ...job, file }));
  const child = spawn(process.execPath, [path.join(__dirname, 'main.cjs'), '--alone', request], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  const [stderr, answer, [code, signal]] = await Promise.all([
    readText(child.stderr!),
    readBuffer(child.stdio[3] as NodeJS.ReadableStream),
    once(child, 'close') as Promise<[number | null, string | null]>,
  ]);
  if (answer.length > 0) return deserialize(answer) as Outcome;
  const message = `the process ended with ${signal ?? `status ${code}`}\n${stderr.slice(0, 4000)}`;
  const failure = { message, input: readFileSync(file) };
  return { target: job.target, inputs: 0, kept: 0, reached: 0, milliseconds: 0, failure };
}

/** In that process. */
async function alone(request: string): Promise<number> {
  const job = deserialize(readFileSync(request)) as Job;
  const outcome = await run({ ...job, current: new SharedArrayBuffer(CURRENT_HEADER + CURRENT_BYTES) });
  writeFileSync(3, serialize(outcome));
  return 0;
}

/** Runs one job in a thread, and watches that each of its inputs comes to an end. */
function run(job: Job): Promise<Outcome> {
  return new Promise((resolve) => {
    const worker = new Worker(path.join(__dirname, 'worker.cjs'), {
      workerData: job,
      resourceLimits: { maxOldGenerationSizeMb: 1024 },
    });
    const header = new Int32Array(job.current, 0, 2);
    let number = -1;
    let since = performance.now();
    const end = (outcome: Outcome) => {
      clearInterval(watch);
      worker.terminate().then(() => resolve(outcome));
    };
    const dead = (message: string) => {
      const input = Uint8Array.from(new Uint8Array(job.current, CURRENT_HEADER, Math.min(header[1]!, CURRENT_BYTES)));
      const milliseconds = performance.now() - since;
      end({ target: job.target, inputs: header[0]!, kept: 0, reached: 0, milliseconds, failure: { message, input } });
    };
    const watch = setInterval(() => {
      const now = Atomics.load(header, 0);
      if (now !== number) {
        number = now;
        since = performance.now();
      } else if (now > 0 && performance.now() - since > HANG_MS) dead(`no end after ${HANG_MS / 1000} s`);
    }, 250);
    worker.on('message', (outcome: Outcome) => end(outcome));
    worker.on('error', (error) => dead(error.stack ?? String(error)));
  });
}

function report({ target, inputs, kept, reached, milliseconds, failure }: Outcome): void {
  const seconds = milliseconds / 1000;
  const rate = Math.round(inputs / seconds).toLocaleString('en');
  console.log(
    `${target.padEnd(20)} ${inputs.toLocaleString('en').padStart(11)} inputs in ${seconds.toFixed(1)} s (${rate}/s), ${kept} kept, ${reached} places reached`,
  );
  if (!failure) return;
  mkdirSync(FOLDER, { recursive: true });
  const file = path.join(FOLDER, `${target}-${createHash('sha256').update(failure.input).digest('hex').slice(0, 12)}`);
  writeFileSync(file, failure.input);
  console.log(`\nFAILED ${target}: ${failure.message}`);
  console.log(`input (${failure.input.length} bytes, in ${path.relative(process.cwd(), file)}):`);
  console.log(`    ${JSON.stringify(Buffer.from(failure.input).toString('latin1'))}`);
  console.log(`again: npm run fuzz -- ${target} --input ${path.relative(process.cwd(), file)}\n`);
}
