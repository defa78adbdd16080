import { parseArgs } from 'node:util';

/** How long an example runs: until Ctrl-C, unless `--count EVENTS` or `--duration SECONDS` says otherwise. */
export interface Limits {
  /** Counts one event; false where it is one more than was asked for. */
  next(): boolean;
  /** True once all events that were asked for have been counted, or the time is up. */
  readonly reached: boolean;
  /** Aborted at Ctrl-C and when the time is up. */
  readonly signal: AbortSignal;
}

const { values, positionals } = parseArgs({
  options: { count: { type: 'string' }, duration: { type: 'string' } },
  allowPositionals: true,
});
const count = positive('count', values.count);
const seconds = positive('duration', values.duration);

/** What else stands on the command line: a pid, a file. */
export const operands: readonly string[] = positionals;

function positive(name: string, text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const value = Number(text);
  if (value > 0) return value;
  console.error(`--${name} takes a number above 0, not '${text}'`);
  process.exit(2);
}

/** Starts the clock. */
export function limits(): Limits {
  const end = new AbortController();
  process.once('SIGINT', () => end.abort());
  if (Number.isFinite(seconds)) setTimeout(() => end.abort(), seconds * 1000).unref();

  let seen = 0;
  return {
    next: () => seen++ < count,
    get reached() {
      return seen >= count || end.signal.aborted;
    },
    signal: end.signal,
  };
}
