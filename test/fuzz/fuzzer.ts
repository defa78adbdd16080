import { writeFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { dictionary, mutate, Random, shrink } from './mutate';
import { TARGETS, type Target } from './targets';

/*
 * One target under the fuzzer, in a thread of its own: inputs that reach a place, or a number of visits, that none before
 * them reached are kept and changed further. The thread that started this one sees in `current` which input is being
 * tried, and ends a trial that does not end.
 */

export interface Job {
  target: string;
  seconds: number;
  seed: number;
  /** Ends after so many inputs, whatever the time. */
  runs: number;
  /** Tries these alone. */
  inputs: Uint8Array[] | undefined;
  /** The input under trial: its number, its length, its bytes. */
  current: SharedArrayBuffer;
  /** Where its bytes are written too, in case native code ends the process. */
  file?: string;
}

export interface Outcome {
  target: string;
  inputs: number;
  kept: number;
  reached: number;
  milliseconds: number;
  failure?: { message: string; input: Uint8Array };
}

/** Where the bytes begin in {@link Job.current}. */
export const CURRENT_HEADER = 8;

interface Coverage {
  counters: Uint8Array;
  places: number;
  words: Set<string | number>;
}

const coverage = (globalThis as unknown as { __tsbccCoverage: Coverage }).__tsbccCoverage;

/** By count: one bit for each magnitude, so that a loop that ran longer is news, and one turn more is not. */
const MAGNITUDE = Uint8Array.from({ length: 256 }, (_, count) =>
  count === 0 ? 0 : 1 << Math.min(7, Math.log2(count)),
);

/** Errors that the engine makes are mistakes of the code, whatever their class. */
const ENGINE =
  /^(Cannot |Invalid (?:array|string|typed array|count|DataView|regular)|Maximum call stack|Offset is out|Start offset|\S+ is not (?:a function|iterable|defined)|object null|The value of "|The "|BigInt)/;

function undocumented(target: Target, error: unknown): string | undefined {
  const { code, message, stack } = error as Error & { code?: string };
  if (typeof code === 'string' && code.startsWith('ERR_BCC_')) return undefined;
  if (target.throws?.includes((error as Error).constructor.name) && !ENGINE.test(message) && code === undefined)
    return undefined;
  return stack ?? String(error);
}

async function fuzz(job: Job): Promise<Outcome> {
  const target = TARGETS[job.target]!;
  const { seeds, run } = await target.prepare();
  const maxLength = target.maxLength ?? 1024;
  const random = new Random(job.seed);
  const entries = dictionary(coverage.words);
  const header = new Int32Array(job.current, 0, 2);
  const bytes = Buffer.from(job.current, CURRENT_HEADER);
  // Modules that are loaded late bring further places.
  const known = new Uint8Array(coverage.counters.length);
  const counters = () => coverage.counters.subarray(0, (coverage.places + 3) & ~3);
  const corpus: Buffer[] = [];
  const started = performance.now();
  const outcome: Outcome = { target: job.target, inputs: 0, kept: 0, reached: 0, milliseconds: 0 };

  const trial = async (input: Buffer): Promise<string | undefined> => {
    bytes.set(input.subarray(0, bytes.length));
    header[1] = input.length;
    Atomics.add(header, 0, 1);
    if (job.file) writeFileSync(job.file, input);
    try {
      // The code under test may keep or change what it is given.
      await run(Buffer.from(input));
      return undefined;
    } catch (error) {
      return undocumented(target, error);
    }
  };
  const isNew = (): boolean => {
    let found = false;
    const bytes = counters();
    const words = new Uint32Array(bytes.buffer, 0, bytes.length / 4);
    for (let i = 0; i < words.length; i++) {
      if (words[i] === 0) continue;
      for (let at = i * 4; at < i * 4 + 4; at++) {
        const bit = MAGNITUDE[bytes[at]!]!;
        if ((known[at]! & bit) !== bit) found = true;
        if (known[at] === 0 && bit !== 0) outcome.reached++;
        known[at]! |= bit;
      }
    }
    return found;
  };
  const attempt = async (input: Buffer): Promise<boolean> => {
    counters().fill(0);
    const message = await trial(input);
    outcome.inputs++;
    if (message !== undefined) {
      const kind = message.split('\n', 1)[0]!.replace(/[\d"'].*/, '');
      const shortest = await shrink(input, async (candidate) => (await trial(candidate))?.startsWith(kind) ?? false);
      outcome.failure = { message: (await trial(shortest)) ?? message, input: shortest };
      return false;
    }
    if (isNew()) corpus.push(input);
    return true;
  };

  const given = job.inputs?.map((input) => Buffer.from(input));
  for (const input of given ?? seeds) if (!(await attempt(input))) break;
  if (corpus.length === 0) corpus.push(Buffer.alloc(1));
  const end = started + job.seconds * 1000;
  while (!given && !outcome.failure && outcome.inputs < job.runs) {
    if ((outcome.inputs & 63) === 0 && performance.now() >= end) break;
    await attempt(mutate(random, corpus, entries, maxLength));
  }
  outcome.kept = corpus.length;
  outcome.milliseconds = performance.now() - started;
  return outcome;
}

if (parentPort) {
  const port = parentPort;
  fuzz(workerData as Job).then((outcome) => port.postMessage(outcome));
}
