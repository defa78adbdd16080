import { inspect } from 'node:util';
import { BCCError, ClosedError, isNativeError } from '../errors';
import type { NativeRecordReader } from '../native';
import { Drain, NO_LIMIT } from './drain';
import { ENTRY_HEADER, entryStride, LOST_ENTRY, lossAt } from './drain-buffer';

/** One ring with its callbacks. */
export interface PolledRing {
  /** Called for each record; a negative number stops the poll. `data` is valid during the call only. */
  record(data: Buffer, size: number): unknown;
  lost?(count: number): void;
}

/**
 * BCC's way to events: callbacks that run inside a poll. Whatever stops a poll in the middle of a batch (an exception, a
 * negative number) loses nothing: the undelivered rest is kept and delivered first by the next poll.
 */
export class Poller<Reader extends NativeRecordReader = NativeRecordReader> {
  readonly reader: Reader;
  readonly #what: string;
  readonly #opener: string;
  /** By index; empty where one was removed. */
  readonly #rings: (PolledRing | undefined)[] = [];
  #open = 0;
  readonly #drain: Drain;
  /** The ring that was drained last, and the part of its entries that is still to be delivered. */
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
    this.#drain = new Drain(reader);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Begins to deliver a ring that was added to the reader. */
  add(index: number, ring: PolledRing): void {
    this.#rings[index] = ring;
    this.#open++;
  }

  remove(index: number): void {
    if (!this.#rings[index]) return;
    this.#rings[index] = undefined;
    this.#open--;
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
      throw new RangeError(
        `timeout must be a whole number of milliseconds, or -1 to wait for ever, not ${inspect(timeout)}`,
      );
    }
    this.#check();
    const rings = this.#rings.length;
    if (this.#position < this.#end) return this.#deliver(0, 0, rings);
    let count: number;
    try {
      count = this.#drain.poll(timeout);
    } catch (error) {
      throw readFailure(this.#what, error);
    }
    if (count === 0) return 0;
    this.#takeUp();
    return this.#deliver(this.#drain.available - this.#end, this.#ring + 1, rings - 1);
  }

  /** Delivers what is there, waiting for nothing and asking for no wake-up. */
  consume(): number {
    this.#check();
    return this.#deliver(0, 0, this.#rings.length);
  }

  /** Harmless when repeated, and allowed inside a callback: no further event is delivered then. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#rings.fill(undefined);
    this.#open = 0;
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
    if (this.#open === 0) {
      throw new BCCError('ERR_BCC_NO_BUFFER', `no ${this.#what} is open, so there is nothing to poll`, {
        hint: `open one first, with ${this.#opener}(callback) on its table`,
      });
    }
  }

  /** Drains the first of `span` rings, from ring `from` on and around, that has something; false where none has. */
  #fill(from: number, span: number): boolean {
    if (this.#closed) return false;
    try {
      return this.#drain.next(from, span, NO_LIMIT) > 0 && this.#takeUp();
    } catch (error) {
      throw readFailure(this.#what, error);
    }
  }

  #takeUp(): true {
    this.#ring = this.#drain.ring;
    this.#position = 0;
    this.#end = this.#drain.bytes;
    return true;
  }

  /**
   * Delivers what has been drained already, then what waited in the same ring, `left` bytes, then `span` other rings, from
   * ring `from` on. A ring has one turn, and in it no more than was there when it began: a producer that never stops must
   * not keep the poll from returning.
   */
  #deliver(left: number, from: number, span: number): number {
    this.#delivering = true;
    try {
      let delivered = 0;
      for (;;) {
        const batch = this.#deliverBatch();
        if (batch < 0) return batch;
        delivered += batch;
        if (left > 0 && this.#fill(this.#ring, 1)) {
          left -= this.#end;
        } else if (span > 0 && this.#fill(from, span)) {
          const count = this.#rings.length;
          span -= 1 + ((this.#ring - from + count) % count);
          from = this.#ring + 1;
          left = this.#drain.available - this.#end;
        } else {
          return delivered;
        }
      }
    } finally {
      this.#delivering = false;
    }
  }

  /** Delivers what has been drained; the position moves on before each call, so that an exception skips nothing else. */
  #deliverBatch(): number {
    const ring = this.#rings[this.#ring];
    if (!ring) this.#position = this.#end;
    const { buffer } = this.#drain;
    const { words } = buffer;
    let removals = this.#removals;
    let delivered = 0;
    while (ring && this.#position < this.#end) {
      const at = this.#position;
      const size = words[(at >> 2) + 1]!;
      this.#position = at + entryStride(size);
      if (words[at >> 2] === LOST_ENTRY) {
        ring.lost?.(lossAt(buffer, at));
      } else {
        delivered++;
        const answer = ring.record(this.#view(at + ENTRY_HEADER, size), size);
        if (typeof answer === 'number' && answer < 0) return answer;
      }
      if (this.#removals === removals) continue;
      removals = this.#removals;
      if (this.#rings[this.#ring] !== ring) this.#position = this.#end;
    }
    return delivered;
  }

  /** The bytes of a record as a Buffer, which is valid until the next batch: the same object may come again then. */
  #view(start: number, size: number): Buffer {
    const { buffer } = this.#drain.buffer.source.raw;
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
