import { BCCError, ClosedError, isNativeError } from '../errors';
import type { NativeRecordReader } from '../native';
import { DrainBuffer, ENTRY_HEADER, entryStride, LOST_ENTRY, lossAt } from './drain-buffer';

/** One ring with its callbacks. */
export interface PolledRing {
  /** Called for each record; a negative number stops the poll. `data` is valid during the call only. */
  record(data: Buffer, size: number): unknown;
  lost?(count: number): void;
}

const NO_LIMIT = 0xffffffff;

/**
 * BCC's way to events: callbacks that run inside a poll. Whatever stops a poll in the middle of a batch (an exception, a
 * negative number) loses nothing: the undelivered rest is kept and delivered first by the next poll.
 */
export class Poller<Reader extends NativeRecordReader = NativeRecordReader> {
  readonly reader: Reader;
  readonly #what: string;
  readonly #opener: string;
  readonly #rings = new Map<number, PolledRing>();
  readonly #buffer = new DrainBuffer();
  /** The ring that #buffer was filled from, and the part of it that is still to be delivered. */
  #ring = -1;
  #position = 0;
  #end = 0;
  #delivering = false;
  #closed = false;
  /** Counts removals, so that a delivery notices one without looking for its ring at each record. */
  #removals = 0;
  /** The Buffers given to callbacks, by eighth of their position: batch after batch has its records in the same places. */
  #views: Buffer[] = [];

  /** `what` names the buffers in messages, `opener` the method that opens one. The poller closes `reader`. */
  constructor(what: string, opener: string, reader: Reader) {
    this.#what = what;
    this.#opener = opener;
    this.reader = reader;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Begins to deliver a ring that was added to the reader. */
  add(index: number, ring: PolledRing): void {
    this.#rings.set(index, ring);
  }

  remove(index: number): void {
    if (!this.#rings.delete(index)) return;
    this.#removals++;
    this.reader.remove(index);
  }

  /**
   * Waits up to `timeout` milliseconds (-1 for ever, 0 not at all) for events and delivers what has come. This blocks the
   * event loop, as BCC's poll does.
   * @returns the number of events delivered, or the negative number with which a callback stopped the poll
   */
  poll(timeout = -1): number {
    if (!Number.isInteger(timeout) || timeout < -1 || timeout > 0x7fffffff) {
      throw new RangeError(`timeout must be a whole number of milliseconds, or -1 to wait for ever, not ${timeout}`);
    }
    this.#check();
    if (this.#position < this.#end) return this.#deliver();
    let ready: number;
    try {
      ready = this.reader.wait(timeout);
    } catch (error) {
      throw readFailure(this.#what, error);
    }
    return ready > 0 ? this.#deliver() : 0;
  }

  /** Delivers what is there, waiting for nothing and asking for no wake-up. */
  consume(): number {
    this.#check();
    return this.#deliver();
  }

  /** Harmless when repeated, and allowed inside a callback: no further event is delivered then. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#rings.clear();
    this.#removals++;
    this.#views = [];
    this.#end = this.#position = 0;
    this.reader.close();
  }

  #check(): void {
    if (this.#closed) throw new ClosedError(`the ${this.#what}s' BCC object`);
    if (this.#delivering) {
      throw new BCCError('ERR_BCC_POLL_NESTED', `a ${this.#what} callback polls the ${this.#what}s again`, {
        hint: 'let the callback return: the poll that called it goes on with the next event',
      });
    }
    if (this.#rings.size === 0) {
      throw new BCCError('ERR_BCC_NO_BUFFER', `no ${this.#what} is open, so there is nothing to poll`, {
        hint: `open one first, with ${this.#opener}(callback) on its table`,
      });
    }
  }

  /** Fills #buffer from a ring; the number of entries. */
  #fill(index: number): number {
    try {
      return this.#buffer.fill(this.reader, index, NO_LIMIT);
    } catch (error) {
      throw readFailure(this.#what, error);
    }
  }

  #deliver(): number {
    this.#delivering = true;
    let delivered = 0;
    try {
      const rest = this.#deliverBatch();
      if (rest < 0) return rest;
      delivered += rest;
      for (const index of this.#rings.keys()) {
        // No more than was there when the turn began: a producer that never stops must not keep the poll from returning.
        let left = this.#rings.has(index) ? this.reader.available(index) : 0;
        while (left > 0 && this.#rings.has(index)) {
          if (this.#fill(index) === 0) break;
          this.#ring = index;
          this.#position = 0;
          this.#end = this.reader.bytes;
          left -= this.#end;
          const batch = this.#deliverBatch();
          if (batch < 0) return batch;
          delivered += batch;
        }
      }
      return delivered;
    } finally {
      this.#delivering = false;
    }
  }

  /** Delivers what #buffer holds; the position moves on before each call, so that an exception skips nothing else. */
  #deliverBatch(): number {
    const ring = this.#rings.get(this.#ring);
    if (!ring) this.#position = this.#end;
    const { words } = this.#buffer;
    let removals = this.#removals;
    let delivered = 0;
    while (ring && this.#position < this.#end) {
      const at = this.#position;
      const size = words[(at >> 2) + 1]!;
      this.#position = at + entryStride(size);
      if (words[at >> 2] === LOST_ENTRY) {
        ring.lost?.(lossAt(this.#buffer, at));
      } else {
        delivered++;
        const answer = ring.record(this.#view(at + ENTRY_HEADER, size), size);
        if (typeof answer === 'number' && answer < 0) return answer;
      }
      if (this.#removals === removals) continue;
      removals = this.#removals;
      if (this.#rings.get(this.#ring) !== ring) this.#position = this.#end;
    }
    return delivered;
  }

  /** The bytes of a record as a Buffer, which is valid until the next batch: the same object may come again then. */
  #view(start: number, size: number): Buffer {
    const { buffer } = this.#buffer.source.raw;
    const known = this.#views[start >> 3];
    if (known !== undefined && known.length === size && known.buffer === buffer) return known;
    const view = Buffer.from(buffer, start, size);
    this.#views[start >> 3] = view;
    return view;
  }
}

/** An error of a native reader as this library's own. */
export function readFailure(what: string, error: unknown): unknown {
  if (!isNativeError(error)) return error;
  return new BCCError('ERR_BCC_EVENTS', `reading a ${what} failed: ${error.message}`, {
    errno: error.errno,
    cause: error,
    hint: `see that nothing else consumes the same ${what}`,
  });
}
