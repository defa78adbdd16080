import {
  type DecodeRecord,
  type DrainBuffer,
  ENTRY_HEADER,
  entryStride,
  LOST_ENTRY,
  lossAt,
  type Stretch,
} from './drain-buffer';
import { Loss } from './loss';

/** Reads the value that events are ordered by. */
export type OrderKey = DecodeRecord<number | bigint>;

/** A record that waits for its turn. */
export interface OrderedRecord {
  key: number | bigint;
  cpu: number | undefined;
  buffer: DrainBuffer;
  position: number;
  size: number;
}

interface OrderedLoss {
  key: number | bigint;
  cpu: number | undefined;
  loss: Loss;
}

type Entry = OrderedRecord | OrderedLoss;

const EARLIEST = Number.NEGATIVE_INFINITY;

/**
 * Merges what several CPUs send, each in its own ring, by a key that all share. An event is let go when every ring has
 * been drained once more, at least `windowMs` after anything as late was first seen: whatever was still being written
 * then has come in.
 */
export class OrderedQueue {
  readonly #key: OrderKey;
  readonly #windowMs: number;
  /** Not sorted. */
  #held: Entry[] = [];
  #ready: Entry[] = [];
  /** How far #ready has been consumed. */
  #next = 0;
  /** The latest key of all, and of each CPU: a loss that follows belongs there. */
  #latest: number | bigint = EARLIEST;
  readonly #latestOf = new Map<number | undefined, number | bigint>();
  /** The latest key when the round before ended, and when that was. */
  #settled: number | bigint = EARLIEST;
  #roundEnd = Number.NEGATIVE_INFINITY;

  constructor(key: OrderKey, windowMs: number) {
    this.#key = key;
    this.#windowMs = windowMs;
  }

  /** Whether anything is held back or ready. */
  get empty(): boolean {
    return this.#held.length === 0 && !this.ready;
  }

  get ready(): boolean {
    return this.#next < this.#ready.length;
  }

  /** Takes over entries of one CPU. */
  add({ buffer, position, end }: Stretch, cpu: number | undefined): void {
    const { words, source } = buffer;
    while (position < end) {
      const size = words[(position >> 2) + 1]!;
      if (words[position >> 2] === LOST_ENTRY) {
        this.addLoss(new Loss(lossAt(buffer, position), 'kernel', cpu));
      } else {
        const key = this.#key(source, position + ENTRY_HEADER, size);
        this.#held.push({ key, cpu, buffer, position, size });
        this.#latestOf.set(cpu, key);
        if (key > this.#latest) this.#latest = key;
      }
      position += entryStride(size);
    }
  }

  /** A loss comes after what its CPU sent last. */
  addLoss(loss: Loss): void {
    this.#held.push({ key: this.#latestOf.get(loss.cpu) ?? this.#latest, cpu: loss.cpu, loss });
  }

  /** All rings have been found empty at `now` (milliseconds). */
  endRound(now: number): void {
    if (now - this.#roundEnd < this.#windowMs) return;
    this.#release(this.#settled);
    this.#settled = this.#latest;
    this.#roundEnd = now;
  }

  /** For a full queue: lets go what no CPU that has sent something can still send anything before. */
  releaseSome(): void {
    const latest = [...new Set(this.#held.map(({ cpu }) => cpu))].map((cpu) => this.#latestOf.get(cpu) ?? EARLIEST);
    const [slowest] = latest.sort(compare);
    if (slowest !== undefined) this.#release(slowest);
    if (!this.ready) this.#release(this.#latest);
  }

  /** The next record or loss that is ready. */
  shift(): OrderedRecord | Loss | undefined {
    if (this.#next >= this.#ready.length) return undefined;
    const entry = this.#ready[this.#next++]!;
    if (this.#next === this.#ready.length) {
      this.#ready = [];
      this.#next = 0;
    }
    return 'loss' in entry ? entry.loss : entry;
  }

  /** Drops the `count` earliest records; a loss stands in their place. Returns how many there were. */
  dropOldest(count: number): number {
    return this.#drop((all) => all.findIndex((entry) => !('loss' in entry)), count);
  }

  /** Drops the `count` latest records, as {@link dropOldest}. */
  dropNewest(count: number): number {
    return this.#drop((all) => {
      let from = all.length;
      for (let records = 0; from > 0 && records < count; ) if (!('loss' in all[--from]!)) records++;
      return from;
    }, count);
  }

  clear(): void {
    this.#held = [];
    this.#ready = [];
    this.#next = 0;
  }

  /** Replaces `count` records by one loss, and with them the losses in between. */
  #drop(first: (all: readonly Entry[]) => number, count: number): number {
    this.#held.sort(byKey);
    const ready = this.#ready.length - this.#next;
    const all = [...this.#ready.slice(this.#next), ...this.#held];
    const from = first(all);
    let records = 0;
    let lost = 0;
    let to = from;
    for (; to < all.length && records < count; to++) {
      const entry = all[to]!;
      if ('loss' in entry) lost += entry.loss.lost;
      else records++;
    }
    if (records === 0) return 0;
    all.splice(from, to - from, { key: all[from]!.key, cpu: undefined, loss: new Loss(lost + records, 'overflow') });
    // What was ready stays so; the loss is ready where the first of what it stands for was.
    const readyLeft = from < ready ? from + 1 + Math.max(0, ready - to) : ready;
    this.#ready = all.slice(0, readyLeft);
    this.#held = all.slice(readyLeft);
    this.#next = 0;
    return records;
  }

  #release(upTo: number | bigint): void {
    // Sorting is stable: what one CPU sent with equal keys stays in its order.
    this.#held.sort(byKey);
    let count = 0;
    while (count < this.#held.length && this.#held[count]!.key <= upTo) count++;
    if (count === 0) return;
    this.#ready = [...this.#ready.slice(this.#next), ...this.#held.slice(0, count)];
    this.#held = this.#held.slice(count);
    this.#next = 0;
  }
}

function compare(a: number | bigint, b: number | bigint): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function byKey(a: Entry, b: Entry): number {
  return compare(a.key, b.key);
}
