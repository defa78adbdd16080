import { inspect } from 'node:util';
import { BCCError } from '../errors';
import { type NativeFdWatcher, type NativeRecordReader, runtime } from '../native';
import { Drain } from './drain';
import type { DrainBuffer } from './drain-buffer';
import { Loss } from './loss';
import { readFailure } from './poller';

/** One of the kernel's rings that a stream reads. */
export interface StreamRing {
  /** Its index in the reader, and in the list of rings. */
  index: number;
  /** Perf buffers have one ring for each CPU. */
  cpu?: number;
}

/** What a stream reads from; it is released with the stream. */
export interface RecordSource {
  /** 'ring buffer' or 'perf buffer', and the table's name: for messages. */
  what: string;
  name: string;
  reader: NativeRecordReader;
  rings: readonly StreamRing[];
  /** Bytes that one ring holds. */
  size: number;
  /** Losses not told yet, by a counter of the program's own, where it keeps one. */
  takeLost?: () => number;
  release(): void;
}

/** What every stream may be told. */
export interface RecordStreamOptions {
  /** Ends the stream when it is aborted: a pending `next()` is answered with `done`, as after `close()`. */
  signal?: AbortSignal;
  /** Called for each loss, in order of occurrence among the events; for a summary see `stats.lost`. */
  onLost?: (loss: Loss) => void;
}

/** The names of {@link RecordStreamOptions}. */
export const RECORD_OPTIONS: readonly string[] = ['signal', 'onLost'];

/** Figures since the stream was opened. `received + lost + buffered` is all that left the kernel's hands. */
export interface StreamStats {
  /** Events handed to the consumer. */
  received: number;
  /** Events that the kernel or the overflow policy dropped, as far as the kernel lets it be known. */
  lost: number;
  /** Events taken from the kernel and not yet consumed. */
  buffered: number;
  /** How often events were fetched from the kernel. */
  batches: number;
}

export const DONE: IteratorReturnResult<undefined> = Object.freeze({ value: undefined, done: true });

interface Waiter<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/** Bytes to drain in one turn of the event loop, so that timers and sockets have theirs. */
const TURN_BYTES = 256 * 1024;
/** How often the descriptor may be readable with nothing to read before it is left alone for a moment. */
const EMPTY_WAKES = 2;
const EMPTY_WAKE_PAUSE_MS = 1;

/**
 * What streams of events and of batches have in common: waiting for the rings on the event loop, draining them in turn,
 * and ending. Nothing runs and no timer is set while nobody waits or nothing comes.
 */
export abstract class RecordStream<T> implements AsyncIterableIterator<T, undefined>, AsyncDisposable {
  protected readonly source: RecordSource;
  readonly #drain: Drain;
  protected receivedCount = 0;
  protected lostCount = 0;
  protected batchCount = 0;
  readonly #onLost: ((loss: Loss) => void) | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => this.close();
  readonly #watcher: NativeFdWatcher;
  #watching = false;
  #waiters: Waiter<T>[] = [];
  #refs = true;
  /** libuv's handles begin referenced. */
  #held = true;
  #closed = false;
  #failure: { error: unknown } | undefined;
  #turnBytes = 0;
  #turnScheduled = false;
  #emptyWakes = 0;
  #pause: NodeJS.Timeout | undefined;
  #uncheckedBytes = 0;

  constructor(source: RecordSource, options: RecordStreamOptions) {
    this.source = source;
    this.#onLost = options.onLost;
    this.#signal = options.signal;
    this.#drain = new Drain(source.reader);
    this.#watcher = new (runtime().FdWatcher)(source.reader.pollFd, source.reader);
  }

  /** To be called at the end of a subclass's constructor. */
  protected begin(): void {
    if (this.#signal?.aborted) this.close();
    else this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Whether the stream has ended. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Reading them asks the kernel what it has lost meanwhile. */
  get stats(): StreamStats {
    if (!this.#closed) this.checkLost();
    return {
      received: this.receivedCount,
      lost: this.lostCount,
      buffered: this.bufferedCount,
      batches: this.batchCount,
    };
  }

  /** The next value, when it comes; `done` once the stream is closed. */
  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#waiters.length === 0) {
      try {
        const result = this.take();
        if (result) return Promise.resolve(result);
      } catch (error) {
        this.#fail(error);
      }
      if (this.#closed) return this.#end();
    }
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#pump();
    });
  }

  /** Ends the stream: `break` in a `for await` comes here. */
  async return(): Promise<IteratorReturnResult<undefined>> {
    this.close();
    return DONE;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** While somebody waits for its next value, an open stream keeps the process alive; this is the default. */
  ref(): this {
    this.#refs = true;
    this.#hold();
    return this;
  }

  /** Lets the process end although somebody waits. */
  unref(): this {
    this.#refs = false;
    this.#hold();
    return this;
  }

  /** Releases the buffer; events not yet consumed are gone, and whoever waits is told `done`. Harmless when repeated. */
  close(): void {
    if (this.#closed) return;
    this.checkLost();
    this.#closed = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    clearTimeout(this.#pause);
    this.#watcher.close();
    this.source.release();
    this.discard();
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) this.#end().then(waiter.resolve, waiter.reject);
  }

  [inspect.custom](_depth: number, options: { stylize(text: string, style: string): string }): string {
    const { received, lost, buffered } = this.stats;
    const state = this.#closed ? ' (closed)' : '';
    const title = `${options.stylize(this.constructor.name, 'special')} of '${this.source.name}'${state}`;
    return `${title}: ${received} received, ${lost} lost, ${buffered} buffered`;
  }

  protected abstract get bufferedCount(): number;
  /** The next result from what has been drained, or undefined where the kernel must be asked. */
  protected abstract take(): IteratorYieldResult<T> | undefined;
  /** The result from the one record in `scratch`, where nothing is held back; undefined where it must be accepted first. */
  protected takeAlone(_ring: StreamRing): IteratorYieldResult<T> | undefined {
    return undefined;
  }
  /** Whether more may be drained now: there is room, or somebody waits. */
  protected abstract get wanting(): boolean;
  /** Takes over `count` entries, `bytes` long, that lie in `scratch`. */
  protected abstract accept(count: number, bytes: number, stride: number, ring: StreamRing): void;
  /** How many entries one drain may bring. */
  protected abstract get room(): number;
  /** A loss that comes after all that was accepted. */
  protected abstract acceptLoss(loss: Loss): void;
  /** Every ring has been found empty. */
  protected exhausted(): void {}
  /** The stream is closed: forgets what it holds. */
  protected abstract discard(): void;

  /** What was drained last: it is overwritten by the next drain. */
  protected get scratch(): DrainBuffer {
    return this.#drain.buffer;
  }

  /** Whether somebody waits for a value. */
  protected get awaited(): boolean {
    return this.#waiters.length > 0;
  }

  protected tellLoss(loss: Loss): void {
    this.#onLost?.(loss);
  }

  /** Drains without anybody waiting: for policies that keep the kernel's ring empty. */
  protected pump(): void {
    this.#pump();
  }

  /** Sees whether the kernel, or the program's own counter, knows of losses that are not told yet. */
  protected checkLost(): void {
    this.#uncheckedBytes = 0;
    for (const { index, cpu } of this.source.rings) {
      const lost = this.source.reader.takeLost(index);
      if (lost > 0) this.#lose(new Loss(lost, 'kernel', cpu));
    }
    const counted = this.source.takeLost?.() ?? 0;
    if (counted > 0) this.#lose(new Loss(counted, 'kernel'));
  }

  #lose(loss: Loss): void {
    this.lostCount += loss.lost;
    this.acceptLoss(loss);
  }

  /** Ends the stream with an error, which the next answer carries. */
  #fail(error: unknown): void {
    this.#failure = { error };
    this.close();
  }

  /** `done`, or once the error that ended the stream. */
  #end(): Promise<IteratorReturnResult<undefined>> {
    const failure = this.#failure;
    this.#failure = undefined;
    return failure ? Promise.reject(failure.error) : Promise.resolve(DONE);
  }

  /** Answers waiters and drains until nobody wants more, this turn's share is used up, or there is nothing. */
  #pump(): void {
    while (!this.#closed) {
      this.#answer();
      if (this.#closed || !this.wanting || this.#turnScheduled) return;
      if (this.#turnBytes >= TURN_BYTES) {
        this.#scheduleTurn();
        return;
      }
      if (!this.#drainOne()) {
        if (this.#closed) return;
        this.exhausted();
        this.#answer();
        if (!this.#closed && this.wanting) this.#watch();
        return;
      }
    }
  }

  #answer(): void {
    while (this.#waiters.length > 0) {
      let result: IteratorYieldResult<T> | undefined;
      try {
        result = this.take();
      } catch (error) {
        this.#fail(error);
        return;
      }
      if (!result) return;
      this.#waiters.shift()?.resolve(result);
    }
  }

  /**
   * One batch of the next ring that has something; false where all are empty. The search goes on after the ring last
   * drained, so that a busy CPU does not keep the others from their turn.
   */
  #drainOne(): boolean {
    try {
      const count = this.#drain.next(this.#drain.ring + 1, this.source.rings.length, this.room);
      if (count > 0) {
        this.#takeUp(count);
        return true;
      }
      // A ring refuses records when it is full; until that much has passed it cannot have been.
      if (this.source.takeLost && this.#uncheckedBytes >= this.source.size / 4) this.checkLost();
    } catch (error) {
      this.#fail(readFailure(`${this.source.what} '${this.source.name}'`, error));
    }
    return false;
  }

  #takeUp(count: number): void {
    const { ring, bytes, stride } = this.#drain;
    this.#turnBytes += bytes;
    this.#uncheckedBytes += bytes;
    this.batchCount++;
    this.#emptyWakes = 0;
    this.accept(count, bytes, stride, this.source.rings[ring]!);
  }

  /** Goes on in the event loop's next turn. */
  #scheduleTurn(): void {
    this.#turnScheduled = true;
    setImmediate(() => {
      this.#turnScheduled = false;
      this.#turnBytes = 0;
      this.#pump();
    });
  }

  #watch(): void {
    this.#hold();
    this.#drain.wanted = this.room;
    if (this.#watching || this.#pause) return;
    this.#watching = true;
    this.#watcher.start(this.#onReadable);
    // libuv registers the descriptor when the event loop next comes to wait. What a perf buffer has signalled until then
    // is swallowed by the registration, so that afterwards the rings are looked at once more: in the second turn, because
    // the first may end without a wait where this runs in an I/O callback.
    setImmediate(() => setImmediate(() => this.#pump()));
  }

  /** Makes the wait keep the process alive, or not. */
  #hold(): void {
    const held = this.#refs && this.#waiters.length > 0;
    if (this.#closed || held === this.#held) return;
    this.#held = held;
    this.#drain.held = held;
    // During a wake-up the watcher sees to it afterwards, when it is known whether somebody waits again.
    if (held && !this.#drain.waking) this.#watcher.ref();
    else if (!this.#drain.waking) this.#watcher.unref();
    if (held) this.#pause?.ref();
    else this.#pause?.unref();
  }

  #unwatch(): void {
    if (!this.#watching) return;
    this.#watching = false;
    this.#watcher.stop();
  }

  /** `drained`: entries that lie in the scratch already. */
  readonly #onReadable = (errno: number, drained: number): void => {
    if (drained === 1 && this.#answerAlone()) return;
    if (this.#closed) return;
    if (errno !== 0) {
      this.#fail(
        new BCCError('ERR_BCC_EVENTS', `waiting for the ${this.source.what} '${this.source.name}' failed`, {
          errno,
          hint: 'open the stream again',
        }),
      );
      return;
    }
    this.#turnBytes = 0;
    if (drained > 0) {
      try {
        this.#takeUp(drained);
      } catch (error) {
        this.#fail(error);
        return;
      }
    } else if (this.wanting) {
      this.#emptyWakes++;
    } else {
      this.#unwatch();
      return;
    }
    this.#pump();
    // A record that a program has reserved and not yet submitted makes the descriptor readable without giving anything.
    if (!this.#closed && this.#emptyWakes > EMPTY_WAKES) this.#rest();
    this.#hold();
  };

  /**
   * The usual wake-up of a quiet stream, one event for one who waits: false where it is anything else. It is kept short,
   * for what runs a hundred times a second runs on cold caches.
   */
  #answerAlone(): boolean {
    if (this.#waiters.length !== 1) return false;
    const { ring, bytes, stride } = this.#drain;
    if (stride === 0) return false;
    let result: IteratorYieldResult<T> | undefined;
    try {
      result = this.takeAlone(this.source.rings[ring]!);
    } catch (error) {
      this.#fail(error);
      return true;
    }
    if (!result) return false;
    this.#uncheckedBytes += bytes;
    this.batchCount++;
    this.#turnBytes = this.#emptyWakes = 0;
    const waiter = this.#waiters.pop()!;
    this.#hold();
    waiter.resolve(result);
    return true;
  }

  #rest(): void {
    this.#unwatch();
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      this.#pump();
    }, EMPTY_WAKE_PAUSE_MS);
    if (!this.#held) this.#pause.unref();
  }
}
