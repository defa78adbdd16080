import { barsText, Heatmap } from '../../src/cli/picture';
import type { HistogramBucket } from '../../src/table/histogram';

/** log2 buckets from the lowest on, as `table.histogram()` gives them. */
function log2(...counts: number[]): HistogramBucket[] {
  return counts.map((count, i) => ({ low: i === 0 ? 0 : 2 ** i, high: 2 ** (i + 1) - 1, count }));
}

function widthOf(text: string): number {
  return Math.max(...text.split('\n').map((line) => [...line].length));
}

const CONTROL = /[^\x20-\x7e\n]/;

describe('bars', () => {
  it('are as long as their counts, to an eighth of a column', () => {
    expect(barsText(log2(0, 8, 4, 1), { unit: 'usecs', width: 37 })).toBe(
      [
        ' usecs count',
        '2 -  3     8  61.5% ████████████████',
        '4 -  7     4  30.8% ████████',
        '8 - 15     1   7.7% ██',
        '',
      ].join('\n'),
    );
  });

  it('of ASCII have nothing else in them, and none that counts anything is empty', () => {
    const text = barsText(log2(100_000, 1), { unit: 'msecs', width: 50, ascii: true });
    expect(text).not.toMatch(CONTROL);
    expect(text).toMatch(/^2 - 3 +1 +0\.0% #$/m);
  });

  it('fill the width and keep to it', () => {
    const buckets = log2(1, 5, 900, 12_345, 3, 0, 0, 7);
    for (const width of [20, 28, 40, 80, 200]) {
      expect(widthOf(barsText(buckets, { unit: 'microseconds', width }))).toBeLessThanOrEqual(width);
    }
    expect(widthOf(barsText(buckets, { unit: 'usecs', width: 80 }))).toBeGreaterThan(76);
  });

  it('leave out what is empty at both ends, and are nothing where all is', () => {
    expect(barsText(log2(0, 0, 3, 0, 0), { unit: 'x', width: 40 }).split('\n')).toHaveLength(3);
    expect(barsText(log2(0, 0), { unit: 'x', width: 40 })).toBe('');
    expect(barsText([], { unit: 'x', width: 40 })).toBe('');
  });

  it('of a linear histogram have a value for each, not a range', () => {
    const text = barsText([{ low: 3, high: 3, count: 2n }], { unit: 'fds', width: 40 });
    expect(text).toMatch(/^3 +2 100\.0% █+$/m);
  });
});

describe('a heatmap', () => {
  it('draws its axis once, and a line for each moment, darker where there is more', () => {
    const map = new Heatmap({ unit: 'usecs', ascii: true });
    const first = map.row('10:00:00', log2(0, 100, 1), 41);
    expect(first).toMatch(/^usecs +0 .*\n10:00:00 {2}@\.$/m);
    expect(map.row('10:00:01', log2(100), 41)).toBe('10:00:01 @\n');
  });

  it('shows a moment without events as a blank line', () => {
    const map = new Heatmap({ unit: 'usecs' });
    map.row('10:00:00', log2(5), 80);
    expect(map.row('10:00:01', [], 80)).toBe('10:00:01\n');
  });

  it('draws a new axis where larger values come', () => {
    const map = new Heatmap({ unit: 'usecs', ascii: true });
    map.row('10:00:00', log2(1), 120);
    expect(map.row('10:00:01', log2(...new Array(30).fill(1)), 120).split('\n')).toHaveLength(3);
  });

  it('keeps to the width, neighbours in one cell where need be', () => {
    const wide = log2(...new Array(40).fill(2));
    for (const width of [12, 20, 40, 80, 200]) {
      expect(widthOf(new Heatmap({ unit: 'microseconds' }).row('10:00:00', wide, width))).toBeLessThanOrEqual(width);
    }
  });
});
