import type { HistogramBucket } from '../table/histogram';

/*
 * Histograms to look at rather than to read. Both fill the width they are given and keep to it, however small it is.
 */

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const SHADES = [' ', '░', '▒', '▓', '█'];
const ASCII_SHADES = [' ', '.', ':', '+', '*', '#', '@'];
/** Below this, bars would tell nothing. */
const LEAST_BAR = 8;

export interface PictureOptions {
  /** What the values are: `usecs`. */
  unit: string;
  /** No character beyond ASCII. */
  ascii?: boolean;
}

/** `123456` as `123k`: for axes, not for counts. */
function brief(value: number | bigint): string {
  let number = Number(value);
  if (number < 10_000) return String(number);
  for (const suffix of ['k', 'M', 'G', 'T', 'P', 'E']) {
    number /= 1000;
    if (number < 1000) return `${number < 10 ? number.toFixed(1) : Math.floor(number)}${suffix}`;
  }
  return `${number.toExponential(0)}`;
}

function bar(share: number, width: number, ascii: boolean): string {
  if (ascii) return '#'.repeat(share > 0 ? Math.max(1, Math.round(share * width)) : 0);
  const eighths = share > 0 ? Math.max(1, Math.round(share * width * 8)) : 0;
  return '█'.repeat(eighths >> 3) + EIGHTHS[eighths & 7];
}

/** A bar for every bucket from the first to the last that is occupied; '' where none is. */
export function barsText(
  buckets: readonly HistogramBucket[],
  { unit, ascii = false, width }: PictureOptions & { width: number },
): string {
  const first = buckets.findIndex(({ count }) => count > 0);
  const shown = first < 0 ? [] : buckets.slice(first, buckets.findLastIndex(({ count }) => count > 0) + 1);
  if (shown.length === 0) return '';
  const lows = shown.map(({ low }) => brief(low));
  const single = shown.every(({ low, high }) => low === high);
  const highs = shown.map(({ high }) => brief(high));
  const lowWidth = Math.max(...lows.map(({ length }) => length));
  const highWidth = Math.max(...highs.map(({ length }) => length));
  const counts = shown.map(({ count }) => String(count));
  const countWidth = Math.max('count'.length, ...counts.map(({ length }) => length));
  const most = Math.max(...shown.map(({ count }) => Number(count)));
  const total = shown.reduce((sum, { count }) => sum + Number(count), 0);

  const ranges = lows.map((low, i) =>
    single ? low.padStart(lowWidth) : `${low.padStart(lowWidth)} - ${highs[i]!.padStart(highWidth)}`,
  );
  const fixed = (parts: string[]) => parts.reduce((sum, part) => sum + part.length + 1, 0);
  const rows = shown.map(({ count }, i) => {
    const percent = `${((100 * Number(count)) / total).toFixed(1)}%`.padStart(6);
    const count_ = counts[i]!.padStart(countWidth);
    const forms = [
      [ranges[i]!, count_, percent],
      [ranges[i]!, count_],
      [lows[i]!.padStart(lowWidth), count_],
    ];
    return forms.find((form) => fixed(form) + LEAST_BAR <= width) ?? forms.at(-1)!;
  });
  const room = Math.max(1, width - Math.max(...rows.map(fixed)) - 1);
  const labelWidth = rows[0]![0]!.length;
  const header = `${unit.slice(0, labelWidth).padStart(labelWidth)} ${'count'.padStart(countWidth)}`;
  const lines = rows.map((parts, i) => {
    const drawn = bar(Number(shown[i]!.count) / most, room, ascii);
    return `${parts.join(' ')} ${drawn}`.trimEnd();
  });
  return `${[header, ...lines].join('\n')}\n`;
}

const LABEL = 'HH:MM:SS '.length;
const FEWEST_SLOTS = 16;

/**
 * A heatmap that grows downwards: a line for each moment, from the smallest values on the left to the largest on the
 * right, shaded by the logarithm of their count.
 */
export class Heatmap {
  readonly #shades: readonly string[];
  readonly #unit: string;
  #slots = FEWEST_SLOTS;
  #most = 1;
  /** What the axis was drawn for; it is drawn again where that changes. */
  #axis = '';

  constructor({ unit, ascii = false }: PictureOptions) {
    this.#unit = unit;
    this.#shades = ascii ? ASCII_SHADES : SHADES;
  }

  /** The text of one moment, after the axis where that is due. `buckets` are log2 buckets from the lowest on. */
  row(label: string, buckets: readonly HistogramBucket[], width: number, title = ''): string {
    this.#slots = Math.max(this.#slots, buckets.length);
    const room = Math.max(1, width - LABEL - 1);
    // Neighbours share a cell where the terminal has fewer columns than there are slots.
    const group = Math.ceil(this.#slots / room);
    const cells = Math.ceil(this.#slots / group);
    const cellWidth = Math.max(1, Math.floor(room / cells));
    const sums = Array.from({ length: cells }, (_, cell) =>
      buckets.slice(cell * group, (cell + 1) * group).reduce((sum, { count }) => sum + Number(count), 0),
    );
    this.#most = Math.max(this.#most, ...sums);
    const drawn = sums.map((sum) => this.#shade(sum).repeat(cellWidth)).join('');
    const axis = this.#axisText(title, cells, group, cellWidth);
    const due = axis === this.#axis ? '' : axis;
    this.#axis = axis;
    return `${due}${(label.padEnd(LABEL) + drawn).trimEnd()}\n`;
  }

  #shade(count: number): string {
    if (count === 0) return this.#shades[0]!;
    const steps = this.#shades.length - 1;
    const level = Math.ceil((steps * Math.log1p(count)) / Math.log1p(this.#most));
    return this.#shades[Math.min(steps, level)]!;
  }

  #axisText(title: string, cells: number, group: number, cellWidth: number): string {
    let marks = '';
    for (let cell = 0; cell < cells; cell++) {
      const slot = cell * group;
      const text = slot === 0 ? '0' : brief(2n ** BigInt(slot));
      const at = cell * cellWidth;
      if (at < marks.length + (cell === 0 ? 0 : 1) || at + text.length > cells * cellWidth) continue;
      marks = marks.padEnd(at) + text;
    }
    const heading = this.#unit.slice(0, LABEL - 1).padEnd(LABEL);
    return `${title === '' ? '' : `\n${title}\n`}${heading}${marks}\n`;
  }
}
