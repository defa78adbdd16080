import { knownOptions, requireText } from '../arguments';
import type { Layout } from '../layout/layout';
import type { Untyped } from './table';
import { brief } from './table-error';

/*
 * Histograms as BCC prints them, byte for byte, and the same as data. A table holds one histogram (key: the slot) or one
 * for each section (key: a struct of a section and a slot); the leaf is a count.
 */

/** log2 histograms: one slot more than a 64-bit integer has bits. */
const LOG2_SLOTS = 65;
const LINEAR_SLOTS = 1025;
const STARS = 40;

/** What the printing methods of a table may be told; names and defaults as in BCC. */
export interface HistogramOptions {
  /** Stands before each section's name: `Bucket ptr` by default. */
  sectionHeader?: string;
  /** The text of a section; by default its value as Python writes it. */
  sectionPrintFn?: (section: Untyped) => unknown;
  /** Makes the section of the key's first field. */
  bucketFn?: (section: Untyped) => unknown;
  /** Leaves out the empty slots before the first occupied one. */
  stripLeadingZero?: boolean;
  /** The sections in the order they shall have. */
  bucketSortFn?: (sections: Untyped[]) => unknown[];
  /** Where the text goes: `process.stdout` by default. */
  output?: { write(text: string): unknown };
}

/** One slot: the values from `low` to `high`, both inclusive. Numbers are bigints only where no number is exact. */
export interface HistogramBucket {
  low: number | bigint;
  high: number | bigint;
  count: number | bigint;
}

/** One histogram of a table; `section` is undefined where the table holds only one. */
export interface Histogram {
  section: Untyped;
  /** From the lowest slot to the last occupied one. */
  buckets: HistogramBucket[];
}

/** Powers of two, or one bucket for each slot. */
export type HistogramScale = 'log2' | 'linear';

/** The counts of one section by slot. */
interface Section {
  value: unknown;
  counts: bigint[];
}

/** What a table gives to have its histogram made. */
export interface HistogramSource {
  name: string;
  keyLayout: Layout;
  items(): [unknown, unknown][];
}

/** `print_log2_hist`: its whole text, '' for an empty table. */
export function log2HistogramText(source: HistogramSource, valType: string, options: HistogramOptions = {}): string {
  return sectionedText(source, LOG2_SLOTS, options, (counts) => log2Text(counts, valType, options.stripLeadingZero));
}

/** `print_linear_hist`: its whole text, '' for an empty table. */
export function linearHistogramText(source: HistogramSource, valType: string, options: HistogramOptions = {}): string {
  return sectionedText(source, LINEAR_SLOTS, options, (counts) =>
    linearText(counts, valType, options.stripLeadingZero),
  );
}

/** `print_json_hist`: a Python dict for each section, a line each. `now` is the time they tell. */
export function jsonHistogramText(
  source: HistogramSource,
  valType: string,
  options: HistogramOptions = {},
  now = new Date(),
): string {
  requireText(valType, 'valType');
  return collect(source, LOG2_SLOTS, options)
    .map(({ value, counts }) => {
      const fields = [
        `'ts': ${pythonText(timestamp(now))}`,
        `'val_type': ${pythonText(valType)}`,
        `'data': ${jsonData(counts)}`,
      ];
      if (isSectioned(source.keyLayout)) {
        const section = options.sectionPrintFn ? options.sectionPrintFn(value) : value;
        fields.push(
          `${pythonText(options.sectionHeader ?? 'Bucket ptr')}: ${pythonValue(section, options.sectionPrintFn ? undefined : sectionLayout(source, options))}`,
        );
      }
      return `{${fields.join(', ')}}\n`;
    })
    .join('');
}

/** A table's histograms as data. */
export function histogramsOf(
  source: HistogramSource,
  scale: HistogramScale,
  options: Pick<HistogramOptions, 'bucketFn' | 'bucketSortFn'> = {},
): Histogram[] {
  const slots = scale === 'log2' ? LOG2_SLOTS : LINEAR_SLOTS;
  return collect(source, slots, options).map(({ value, counts }) => ({
    section: value,
    buckets: counts.slice(0, lastOccupied(counts) + 1).flatMap((count, slot) => {
      if (scale === 'linear') return [{ low: slot, high: slot, count: exact(count) }];
      // Slot 0 of a log2 histogram is never written: bpf_log2l() of 0 is 1.
      if (slot === 0) return [];
      const [low, high] = log2Range(slot);
      return [{ low: exact(low), high: exact(high), count: exact(count) }];
    }),
  }));
}

function sectionedText(
  source: HistogramSource,
  slots: number,
  options: HistogramOptions,
  text: (counts: bigint[]) => string,
): string {
  const sectioned = isSectioned(source.keyLayout);
  return collect(source, slots, options)
    .map(({ value, counts }) => {
      if (!sectioned) return text(counts);
      const name = options.sectionPrintFn
        ? String(options.sectionPrintFn(value))
        : pythonValue(value, sectionLayout(source, options));
      return `\n${options.sectionHeader ?? 'Bucket ptr'} = ${name}\n${text(counts)}`;
    })
    .join('');
}

function isSectioned(keyLayout: Layout): boolean {
  return keyLayout.kind === 'struct' || keyLayout.kind === 'union';
}

/** The fields of a struct key that are section and slot: the first two, padding apart. */
function keyFields(source: HistogramSource): [{ name: string; type: Layout }, { name: string; type: Layout }] {
  const layout = source.keyLayout;
  const fields = 'fields' in layout ? layout.fields.filter((field) => !/^__pad_\d+$/.test(field.name)) : [];
  const [section, slot] = fields;
  if (section === undefined || slot === undefined || section.name === '' || slot.name === '')
    throw new TypeError(
      `table '${source.name}': a histogram's key is an integer, or a struct whose first two fields are a section and a slot`,
    );
  return [section, slot];
}

/** How a section is printed depends on its C type, unless a function made it. */
function sectionLayout(source: HistogramSource, options: HistogramOptions): Layout | undefined {
  return options.bucketFn ? undefined : keyFields(source)[0].type;
}

const HISTOGRAM_OPTIONS = ['sectionHeader', 'sectionPrintFn', 'bucketFn', 'stripLeadingZero', 'bucketSortFn', 'output'];

function collect(source: HistogramSource, slots: number, options: HistogramOptions): Section[] {
  knownOptions('the histogram', options, HISTOGRAM_OPTIONS);
  if (!isSectioned(source.keyLayout)) {
    const counts = new Array<bigint>(slots).fill(0n);
    for (const [slot, leaf] of source.items()) counts[slotOf(source, slot, slots)] = countOf(source, leaf);
    return [{ value: undefined, counts }];
  }
  const [section, slot] = keyFields(source);
  const sections = new Map<unknown, Section>();
  for (const [key, leaf] of source.items()) {
    const fields = key as Record<string, unknown>;
    const value = options.bucketFn ? options.bucketFn(fields[section.name]) : fields[section.name];
    const identity = typeof value === 'object' && value !== null ? brief(value) : value;
    let found = sections.get(identity);
    if (found === undefined) {
      found = { value, counts: new Array<bigint>(slots).fill(0n) };
      sections.set(identity, found);
    }
    found.counts[slotOf(source, fields[slot.name], slots)] = countOf(source, leaf);
  }
  const all = [...sections.values()];
  if (options.bucketSortFn === undefined) return all;
  const sorted = options.bucketSortFn(all.map(({ value }) => value));
  return sorted.flatMap((value) => all.find((known) => Object.is(known.value, value)) ?? []);
}

function slotOf(source: HistogramSource, slot: unknown, slots: number): number {
  if (typeof slot !== 'number' && typeof slot !== 'bigint')
    throw new TypeError(`table '${source.name}': a histogram's slot must be an integer, not ${brief(slot)}`);
  if (slot < 0 || slot >= slots)
    throw new RangeError(
      `table '${source.name}': slot ${slot} is out of range, a histogram has slots 0 to ${slots - 1}`,
    );
  return Number(slot);
}

/** A leaf as a count; all CPUs' together in per-CPU tables. */
function countOf(source: HistogramSource, leaf: unknown): bigint {
  if (typeof leaf === 'bigint') return leaf;
  if (typeof leaf === 'number' && Number.isSafeInteger(leaf)) return BigInt(leaf);
  if (Array.isArray(leaf)) return leaf.reduce<bigint>((sum, one) => sum + countOf(source, one), 0n);
  throw new TypeError(`table '${source.name}': a histogram's leaf must be an integer, not ${brief(leaf)}`);
}

function lastOccupied(counts: bigint[]): number {
  return counts.findLastIndex((count) => count > 0n);
}

function largest(counts: bigint[]): bigint {
  let most = 0n;
  for (const count of counts) if (count > most) most = count;
  return most;
}

/** The lowest and the highest value of a slot of `bpf_log2l()`. */
function log2Range(slot: number): [low: bigint, high: bigint] {
  const low = (1n << BigInt(slot)) >> 1n;
  const high = (1n << BigInt(slot)) - 1n;
  return [low === high ? low - 1n : low, high];
}

function log2Text(counts: bigint[], valType: string, stripLeadingZero = false): string {
  const last = lastOccupied(counts);
  if (last <= 0) return '';
  // Beyond 32 bits BCC makes room for the numbers, and halves the bars for it.
  const wide = last > 32;
  const digits = wide ? 20 : 10;
  const stars = wide ? STARS / 2 : STARS;
  const most = largest(counts);
  let text = wide
    ? `               ${valType.padEnd(29)} : count     distribution\n`
    : `     ${valType.padEnd(19)} : count     distribution\n`;
  let stripping = stripLeadingZero;
  for (let slot = 1; slot <= last; slot++) {
    const count = counts[slot]!;
    if (stripping && count === 0n) continue;
    stripping = false;
    const [low, high] = log2Range(slot);
    text += `${String(low).padStart(digits)} -> ${String(high).padEnd(digits)} : ${bar(count, most, stars)}\n`;
  }
  return text;
}

function linearText(counts: bigint[], valType: string, stripLeadingZero = false): string {
  const last = lastOccupied(counts);
  if (last < 0) return '';
  const most = largest(counts);
  let text = `     ${valType.padEnd(13)} : count     distribution\n`;
  let stripping = stripLeadingZero;
  for (let slot = 0; slot <= last; slot++) {
    const count = counts[slot]!;
    if (stripping && count === 0n) continue;
    stripping = false;
    text += `        ${String(slot).padEnd(10)} : ${bar(count, most, STARS)}\n`;
  }
  return text;
}

function bar(count: bigint, most: bigint, width: number): string {
  // Python counts up while index <= width * count / most - 1, in floating point: so do we, or a bar is one star off.
  const bound = divide(BigInt(width) * count, most) - 1;
  let stars = 0;
  while (stars <= bound && stars <= width - 1) stars++;
  return `${String(count).padEnd(8)} |${'*'.repeat(stars).padEnd(width)}|`;
}

/** The double nearest to numerator / denominator, as Python divides integers of any size. */
function divide(numerator: bigint, denominator: bigint): number {
  if (Number.isSafeInteger(Number(numerator))) return Number(numerator) / Number(denominator);
  const scaled = numerator << 64n;
  const sticky = scaled % denominator === 0n ? 0n : 1n;
  return Number((scaled / denominator) | sticky) / 2 ** 64;
}

function jsonData(counts: bigint[]): string {
  const last = Math.max(0, lastNonzero(counts));
  const entries: string[] = [];
  let start = 0n;
  for (let slot = 1; slot <= last; slot++) {
    const next = 1n << BigInt(slot);
    entries.push(`{'interval-start': ${start}, 'interval-end': ${next - 1n}, 'count': ${counts[slot]}}`);
    start = next;
  }
  return `[${entries.join(', ')}]`;
}

function lastNonzero(counts: bigint[]): number {
  return counts.findLastIndex((count) => count !== 0n);
}

/** `2026-01-31 23:59:59` in local time. */
function timestamp(now: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const date = [now.getFullYear(), two(now.getMonth() + 1), two(now.getDate())].join('-');
  return `${date} ${[now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join(':')}`;
}

/** A section as Python's repr() writes it: text from a `char` array is bytes there. */
function pythonValue(value: unknown, layout: Layout | undefined): string {
  if (typeof value === 'string') return layout === undefined ? pythonText(value) : pythonBytes(Buffer.from(value));
  if (value instanceof Uint8Array) return pythonBytes(value);
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (value === undefined || value === null) return 'None';
  return typeof value === 'object' ? brief(value) : String(value);
}

function pythonText(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let body = '';
  for (const character of text) body += escaped(character, character.codePointAt(0)!, quote);
  return quote + body + quote;
}

function pythonBytes(bytes: Uint8Array): string {
  const quote = bytes.includes(0x27) && !bytes.includes(0x22) ? '"' : "'";
  let body = '';
  for (const byte of bytes)
    body += byte < 0x7f ? escaped(String.fromCharCode(byte), byte, quote) : `\\x${byte.toString(16).padStart(2, '0')}`;
  return `b${quote}${body}${quote}`;
}

function escaped(character: string, code: number, quote: string): string {
  if (character === quote || character === '\\') return `\\${character}`;
  if (character === '\n') return '\\n';
  if (character === '\r') return '\\r';
  if (character === '\t') return '\\t';
  if (code < 0x20 || code === 0x7f) return `\\x${code.toString(16).padStart(2, '0')}`;
  return character;
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
