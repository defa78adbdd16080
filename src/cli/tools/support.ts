import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { BCC, type BCCOptions } from '../../bcc';
import type { Histogram, HistogramOptions } from '../../table/histogram';
import { type OptionSpec, type OptionValues, UsageError, untilStopped } from '../command';
import { barsText, Heatmap } from '../picture';
import { showing } from '../progress';

/** What several tools have under the same names. */
export const PID: OptionSpec = { type: 'string', short: 'p', value: 'PID', help: 'Only this process' };
export const DURATION: OptionSpec = { type: 'string', short: 'd', value: 'SECONDS', help: 'End by itself' };
export const TIMESTAMP: OptionSpec = { type: 'boolean', short: 'T', help: 'Show the time of day' };

/**
 * Loads a tool's program and runs `body` until it is done, Ctrl-C or SIGTERM comes or the duration, counted from when the
 * program is at work, has passed.
 */
export async function withProgram(
  options: BCCOptions,
  durationSeconds: number | undefined,
  body: (b: BCC, signal: AbortSignal) => Promise<void> | void,
): Promise<void> {
  await untilStopped(async (stopped) => {
    try {
      using b = await showing('compiling', BCC.load(options, { signal: stopped }));
      await untilPast(durationSeconds, stopped, (signal) => body(b, signal));
    } catch (error) {
      // Ctrl-C while it is being compiled is no failure.
      if (!stopped.aborted || (error as Error).name !== 'AbortError') throw error;
    }
  });
}

async function untilPast(
  seconds: number | undefined,
  stopped: AbortSignal,
  body: (signal: AbortSignal) => Promise<void> | void,
): Promise<void> {
  const end = new AbortController();
  const stop = () => end.abort();
  stopped.addEventListener('abort', stop, { once: true });
  const timer = seconds === undefined ? undefined : setTimeout(stop, seconds * 1000);
  try {
    await body(end.signal);
  } finally {
    clearTimeout(timer);
    stopped.removeEventListener('abort', stop);
  }
}

/** Waits; false where the signal ended it. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<boolean> {
  try {
    await sleep(milliseconds, undefined, { signal });
    return true;
  } catch {
    return false;
  }
}

/** `interval` and `count` of tools that print again and again: by default once, at the end. */
export interface Rounds {
  seconds: number;
  count: number;
}

export function roundsOf([interval, count, ...rest]: readonly string[]): Rounds {
  if (rest.length > 0) throw new UsageError(`what is ${JSON.stringify(rest[0])}? Give an interval and a count`);
  return { seconds: positive('interval', interval), count: positive('count', count) };
}

function positive(what: string, text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const number = Number(text);
  if (text.trim() === '' || !Number.isFinite(number) || number <= 0) {
    throw new UsageError(`the ${what} must be a number above 0, not ${JSON.stringify(text)}`);
  }
  return number;
}

/** Beyond this setTimeout would fire at once. */
const LONGEST_PAUSE_MS = 0x7fffffff;

/** Calls `print` after every interval, and once more when the signal ends it in the midst of one. */
export async function eachRound({ seconds, count }: Rounds, signal: AbortSignal, print: () => void): Promise<void> {
  for (let round = 0; round < count && !signal.aborted; round++) {
    await pause(Math.min(seconds * 1000, LONGEST_PAUSE_MS), signal);
    print();
  }
}

export function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

/** `14:05:09`, local time. */
export function timeOfDay(now = new Date()): string {
  return now.toTimeString().slice(0, 8);
}

/** Text in a column: as wide at least, a longer text pushes the others on. */
export function left(value: unknown, width: number): string {
  return String(value).padEnd(width);
}

export function right(value: unknown, width: number): string {
  return String(value).padStart(width);
}

/** A user by name or number, as the tools' option -u takes it. */
export function userId(user: string): number {
  if (/^\d+$/.test(user)) return Number(user);
  const entry = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find(([name]) => name === user);
  if (!entry) throw new UsageError(`there is no user ${JSON.stringify(user)} in /etc/passwd`);
  return Number(entry[2]);
}

/**
 * Macros for the C text from options that were given: `{ FILTER_PID: 12 }` as `-DOPT_FILTER_PID=12`. Without the prefix
 * they would meet names of the kernel's own, such as FILTER_CPU.
 */
export function macros(values: Readonly<Record<string, number | boolean | undefined>>): string[] {
  return Object.entries(values)
    .filter(([, value]) => value !== undefined && value !== false)
    .map(([name, value]) => (value === true ? `-DOPT_${name}` : `-DOPT_${name}=${value}`));
}

/** The forms in which tools print their histograms. */
export const HISTOGRAM_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  bars: { type: 'boolean', help: "Draw the histogram over the terminal's width" },
  heatmap: { type: 'boolean', help: 'A line for each interval (1 second by default): the darker, the more' },
  ascii: { type: 'boolean', help: 'Draw with ASCII characters alone' },
};

interface HistogramTable {
  printLog2Hist(valType: string, options?: HistogramOptions): void;
  histogram(): Histogram[];
}

/** Prints a table's histograms in the form that was asked for. */
export function histogramPrinter(
  values: OptionValues,
  unit: string,
  { sectionHeader, sectionPrintFn }: Pick<HistogramOptions, 'sectionHeader' | 'sectionPrintFn'> = {},
): (table: HistogramTable) => void {
  if (values.bars === true && values.heatmap === true) throw new UsageError('give --bars or --heatmap, not both');
  const ascii = values.ascii === true;
  const width = () => process.stdout.columns ?? 80;
  const nameOf = (section: unknown) => `${sectionHeader} = ${sectionPrintFn ? sectionPrintFn(section) : section}`;
  if (values.bars === true) {
    return (table) => {
      for (const { section, buckets } of table.histogram()) {
        if (section !== undefined) print(`\n${nameOf(section)}`);
        process.stdout.write(barsText(buckets, { unit, ascii, width: width() }));
      }
    };
  }
  if (values.heatmap === true) {
    const maps = new Map<string, Heatmap>();
    return (table) => {
      const now = timeOfDay();
      const found = new Map(
        table.histogram().map(({ section, buckets }) => [section === undefined ? '' : nameOf(section), buckets]),
      );
      // A second without events is a blank line of the picture, not a gap in it.
      for (const name of new Set([...maps.keys(), ...found.keys(), ...(sectionHeader === undefined ? [''] : [])])) {
        const map = maps.get(name) ?? new Heatmap({ unit, ascii });
        maps.set(name, map);
        process.stdout.write(map.row(now, found.get(name) ?? [], width(), name));
      }
    };
  }
  return (table) => table.printLog2Hist(unit, { sectionHeader, sectionPrintFn });
}

/** The rounds of a tool with histograms: a heatmap has a line a second where nothing else is said. */
export function histogramRounds(values: OptionValues, positionals: readonly string[]): Rounds {
  const rounds = roundsOf(positionals);
  return values.heatmap === true && positionals.length === 0 ? { ...rounds, seconds: 1 } : rounds;
}
