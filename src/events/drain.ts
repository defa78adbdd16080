import { type NativeRecordReader, Report } from '../native';
import { DrainBuffer, ENTRY_HEADER } from './drain-buffer';

/** The most that one entry can take: a perf record's size is 16 bits wide, a ring buffer's 30. */
const MOST_BYTES = 2 ** 30 + 2 * ENTRY_HEADER;

/** As many entries as there are. */
export const NO_LIMIT = 0xffffffff;

/** A reader with the buffer it drains into, which grows where a single record needs it, and what it tells of its last drain. */
export class Drain {
  readonly #reader: NativeRecordReader;
  readonly #report = new Uint32Array(Report.Words);
  #buffer = new DrainBuffer();

  constructor(reader: NativeRecordReader) {
    this.#reader = reader;
    this.held = true;
    reader.target(this.#buffer.source.raw, this.#report);
  }

  /** Where the entries of the last drain lie. */
  get buffer(): DrainBuffer {
    return this.#buffer;
  }

  get ring(): number {
    return this.#report[Report.Ring]!;
  }

  /** Bytes of entries. */
  get bytes(): number {
    return this.#report[Report.Bytes]!;
  }

  /** Bytes from entry to entry where all are records of one size, else 0. */
  get stride(): number {
    return this.#report[Report.Stride]!;
  }

  /** Bytes that waited in the ring before. */
  get available(): number {
    return this.#report[Report.Available]!;
  }

  /** How many entries the reader's watcher may drain, before it calls back, at the next wake-up. */
  set wanted(entries: number) {
    this.#report[Report.Wanted] = entries;
  }

  /** Whether the reader's watcher keeps the process alive, from the end of this wake-up on. */
  set held(held: boolean) {
    this.#report[Report.Held] = held ? 1 : 0;
  }

  /** Whether this is a wake-up: the watcher's callback, or what runs because of a promise resolved there. */
  get waking(): boolean {
    return this.#report[Report.Waking] === 1;
  }

  /** Drains the first of `span` rings, from ring `from` on and around, that has something: the number of entries. */
  next(from: number, span: number, most: number): number {
    let count: number;
    do count = this.#reader.drain(from, span, most);
    while (count === 0 && this.#grow());
    return count;
  }

  /** Waits up to `timeout` milliseconds for any ring and drains the first that has something. */
  poll(timeout: number): number {
    const count = this.#reader.poll(timeout);
    return count === 0 && this.#grow() ? this.next(this.ring, 1, NO_LIMIT) : count;
  }

  /** Makes room where the last drain found an entry that is too large. */
  #grow(): boolean {
    const needed = this.#report[Report.Needed]!;
    if (needed === 0 || needed > MOST_BYTES) return false;
    this.#buffer = new DrainBuffer(Math.max(needed, 2 * this.#buffer.source.raw.length));
    this.#reader.target(this.#buffer.source.raw, this.#report);
    return true;
  }
}
