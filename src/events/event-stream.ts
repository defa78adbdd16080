import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { inspect } from 'node:util';
import {
  Arena,
  type DecodeRecord,
  type DrainBuffer,
  ENTRY_HEADER,
  entryStride,
  LOST_ENTRY,
  lossAt,
  type Stretch,
} from './drain-buffer';
import { Loss } from './loss';
import { OrderedQueue, type OrderKey } from './ordered-queue';
import {
  RECORD_OPTIONS,
  type RecordSource,
  RecordStream,
  type RecordStreamOptions,
  type StreamRing,
} from './record-stream';

/**
 * What happens to events that come while the consumer is busy:
 * - 'block' leaves them in the kernel's buffer, which drops new ones only when it is full;
 * - 'drop-oldest' and 'drop-newest' keep the kernel's buffer empty, hold up to `maxBuffered` events and drop from the one
 *   end or the other: a consumer that lags then sees the latest, or the first.
 */
export type OverflowPolicy = 'block' | 'drop-oldest' | 'drop-newest';

/** How a stream of events treats what it cannot deliver at once. */
export interface EventStreamOptions extends RecordStreamOptions {
  /** Events held outside the kernel, at most; 65,536 by default. */
  maxBuffered?: number;
  /** 'block' by default. */
  overflow?: OverflowPolicy;
  /** Yields a {@link Loss} among the events, in its place, wherever some were lost. */
  lossEvents?: boolean;
}

/** The names of {@link EventStreamOptions}. */
export const STREAM_OPTIONS: readonly string[] = [...RECORD_OPTIONS, 'maxBuffered', 'overflow', 'lossEvents'];

const USUAL_MAX_BUFFERED = 65536;
const POLICIES: readonly unknown[] = ['block', 'drop-oldest', 'drop-newest'];
/** How long after an event was seen an older one of another CPU may still come, in milliseconds. */
const ORDER_WINDOW_MS = 1;

/** Entries that were drained together, and how far they have been consumed. */
interface Chunk extends Stretch {
  /** Records in it, losses not counted. */
  records: number;
  cpu: number | undefined;
}

/**
 * Decoded events as they come, for `for await`: the event loop waits on the kernel's buffer, so that nothing is polled
 * and an idle stream costs nothing. Leaving the loop closes the stream.
 *
 * Events are plain values that outlive the stream. An event that does not decode ends it with that error.
 */
export class EventStream<T> extends RecordStream<T> {
  readonly #decode: DecodeRecord<T>;
  readonly #policy: OverflowPolicy;
  readonly #maxBuffered: number;
  readonly #lossEvents: boolean;
  readonly #queue: (Chunk | Loss)[] = [];
  readonly #arena = new Arena();
  readonly #ordered: OrderedQueue | undefined;
  #orderTimer: NodeJS.Timeout | undefined;
  #buffered = 0;
  /** Dropped from the queue's front since the last event was taken. */
  #droppedAhead = 0;
  #cpu: number | undefined;
  #readable: Readable | undefined;

  /** Use a table's `events()`. `orderKey` reads what events of several CPUs are ordered by. */
  constructor(
    source: RecordSource,
    decode: DecodeRecord<T>,
    options: EventStreamOptions & { orderKey?: OrderKey } = {},
  ) {
    checkOptions(options);
    super(source, options);
    this.#decode = decode;
    this.#policy = options.overflow ?? 'block';
    this.#maxBuffered = options.maxBuffered ?? USUAL_MAX_BUFFERED;
    this.#lossEvents = options.lossEvents ?? false;
    this.#ordered = options.orderKey && new OrderedQueue(options.orderKey, ORDER_WINDOW_MS);
    this.begin();
    if (this.#policy !== 'block') this.pump();
  }

  /** The CPU whose perf buffer the event last taken came through; undefined for ring buffers. */
  get cpu(): number | undefined {
    return this.#cpu;
  }

  /** The same events as a Node stream in object mode; destroying it closes this stream. */
  get readable(): Readable {
    this.#readable ??= Readable.from(this, { objectMode: true, highWaterMark: 64 });
    return this.#readable;
  }

  /** The same events as a web stream; cancelling it closes this stream. */
  toWeb(): ReadableStream<T> {
    // Node's global of that name loads web streams when it is first used: few do.
    return new globalThis.ReadableStream<T>({
      pull: async (controller) => {
        const { value, done } = await this.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: () => this.close(),
    });
  }

  protected override get bufferedCount(): number {
    return this.#buffered;
  }

  protected override get wanting(): boolean {
    if (this.#policy !== 'block') return true;
    return this.#ordered ? this.awaited && this.#buffered < this.#maxBuffered : this.awaited;
  }

  protected override get room(): number {
    return this.#policy === 'block' ? this.#maxBuffered - this.#buffered : 0xffffffff;
  }

  protected override accept(count: number, bytes: number, stride: number, { cpu }: StreamRing): void {
    const records = stride === 0 ? count - this.#countLosses(bytes) : count;
    this.#buffered += records;
    if (this.#ordered) {
      this.#ordered.add(this.#arena.keep(this.scratch, bytes), cpu);
      this.#limitOrdered(this.#ordered);
    } else if (this.#policy === 'block') {
      // Consumed before the next batch is drained into the same buffer.
      this.#queue.push({ buffer: this.scratch, position: 0, end: bytes, records, cpu });
    } else if (this.#policy === 'drop-newest' && this.#buffered > this.#maxBuffered) {
      this.#dropNewest(records, bytes, cpu);
    } else {
      this.#enqueue(records, bytes, cpu);
      while (this.#buffered > this.#maxBuffered) this.#dropOldest();
    }
  }

  protected override acceptLoss(loss: Loss): void {
    if (this.#ordered) this.#ordered.addLoss(loss);
    else this.#queue.push(loss);
  }

  protected override take(): IteratorYieldResult<T> | undefined {
    if (this.#ordered) return this.#takeOrdered(this.#ordered);
    for (;;) {
      if (this.#droppedAhead > 0) {
        const loss = new Loss(this.#droppedAhead, 'overflow');
        this.#droppedAhead = 0;
        const told = this.#loss(loss);
        if (told) return told;
      }
      const head = this.#queue[0];
      if (head === undefined) return undefined;
      if (head instanceof Loss) {
        this.#queue.shift();
        const told = this.#loss(head);
        if (told) return told;
        continue;
      }
      const { buffer, position } = head;
      if (position >= head.end) {
        this.#queue.shift();
        continue;
      }
      const size = buffer.words[(position >> 2) + 1]!;
      head.position = position + entryStride(size);
      if (buffer.words[position >> 2] === LOST_ENTRY) {
        const told = this.#loss(new Loss(lossAt(buffer, position), 'kernel', head.cpu));
        if (told) return told;
        continue;
      }
      head.records--;
      this.#cpu = head.cpu;
      return this.#event(buffer, position, size);
    }
  }

  protected override takeAlone({ cpu }: StreamRing): IteratorYieldResult<T> | undefined {
    if (this.#policy !== 'block' || this.#ordered || this.#queue.length > 0) return undefined;
    const { source, words } = this.scratch;
    this.#cpu = cpu;
    const value = this.#decode(source, ENTRY_HEADER, words[1]!);
    this.receivedCount++;
    return { value, done: false };
  }

  protected override exhausted(): void {
    const ordered = this.#ordered;
    if (!ordered || ordered.empty) return;
    ordered.endRound(performance.now());
    if (ordered.ready || this.#orderTimer) return;
    // What is held back is let go when the window has passed without anything older.
    this.#orderTimer = setTimeout(() => {
      this.#orderTimer = undefined;
      this.pump();
    }, ORDER_WINDOW_MS + 1);
  }

  protected override discard(): void {
    clearTimeout(this.#orderTimer);
    this.#queue.length = 0;
    this.#ordered?.clear();
    this.#buffered = 0;
  }

  #event(buffer: DrainBuffer, position: number, size: number): IteratorYieldResult<T> {
    this.#buffered--;
    const value = this.#decode(buffer.source, position + ENTRY_HEADER, size);
    this.receivedCount++;
    return { value, done: false };
  }

  /** Tells a loss; the result where it is to be yielded. */
  #loss(loss: Loss): IteratorYieldResult<T> | undefined {
    this.tellLoss(loss);
    // Whoever asks for lossEvents has typed the stream T | Loss: see the tables' overloads.
    return this.#lossEvents ? { value: loss as T, done: false } : undefined;
  }

  /** Counts the losses that the drained batch tells; returns how many entries they are. */
  #countLosses(bytes: number): number {
    const { words } = this.scratch;
    let entries = 0;
    for (let at = 0; at < bytes; at += entryStride(words[(at >> 2) + 1]!)) {
      if (words[at >> 2] !== LOST_ENTRY) continue;
      entries++;
      this.lostCount += lossAt(this.scratch, at);
    }
    return entries;
  }

  #enqueue(records: number, bytes: number, cpu: number | undefined): void {
    if (bytes === 0) return;
    const stretch = this.#arena.keep(this.scratch, bytes);
    const tail = this.#queue.at(-1);
    if (tail && !(tail instanceof Loss) && tail.cpu === cpu && tail.buffer === stretch.buffer) {
      tail.end = stretch.end;
      tail.records += records;
    } else {
      this.#queue.push({ ...stretch, records, cpu });
    }
  }

  /** Drops the record at the queue's front; losses before it are told together with it. */
  #dropOldest(): void {
    const head = this.#queue[0]!;
    if (head instanceof Loss) {
      this.#droppedAhead += head.lost;
      this.#queue.shift();
      return;
    }
    const { words } = head.buffer;
    const at = head.position;
    head.position = at + entryStride(words[(at >> 2) + 1]!);
    if (words[at >> 2] === LOST_ENTRY) {
      this.#droppedAhead += lossAt(head.buffer, at);
    } else {
      head.records--;
      this.#buffered--;
      this.lostCount++;
      this.#droppedAhead++;
    }
    if (head.position >= head.end) this.#queue.shift();
  }

  /** Keeps of the drained batch what there is room for. */
  #dropNewest(records: number, bytes: number, cpu: number | undefined): void {
    const { words } = this.scratch;
    const excess = this.#buffered - this.#maxBuffered;
    const kept = records - excess;
    let end = 0;
    for (let passed = 0; passed < kept; end += entryStride(words[(end >> 2) + 1]!)) {
      if (words[end >> 2] !== LOST_ENTRY) passed++;
    }
    let lost = excess;
    for (let at = end; at < bytes; at += entryStride(words[(at >> 2) + 1]!)) {
      if (words[at >> 2] === LOST_ENTRY) lost += lossAt(this.scratch, at);
    }
    this.#buffered -= excess;
    this.lostCount += excess;
    this.#enqueue(kept, end, cpu);
    const tail = this.#queue.at(-1);
    if (tail instanceof Loss && tail.cause === 'overflow') {
      this.#queue.pop();
      lost += tail.lost;
    }
    this.#queue.push(new Loss(lost, 'overflow'));
  }

  #limitOrdered(ordered: OrderedQueue): void {
    const excess = this.#buffered - this.#maxBuffered;
    if (this.#policy === 'block' || excess <= 0) return;
    const lost = this.#policy === 'drop-oldest' ? ordered.dropOldest(excess) : ordered.dropNewest(excess);
    this.#buffered -= lost;
    this.lostCount += lost;
  }

  #takeOrdered(ordered: OrderedQueue): IteratorYieldResult<T> | undefined {
    if (!ordered.ready && this.#buffered >= this.#maxBuffered) ordered.releaseSome();
    for (;;) {
      const entry = ordered.shift();
      if (entry === undefined) return undefined;
      if (entry instanceof Loss) {
        const told = this.#loss(entry);
        if (told) return told;
        continue;
      }
      this.#cpu = entry.cpu;
      return this.#event(entry.buffer, entry.position, entry.size);
    }
  }
}

function checkOptions({ overflow, maxBuffered }: EventStreamOptions): void {
  if (overflow !== undefined && !POLICIES.includes(overflow)) {
    throw new TypeError(`overflow must be 'block', 'drop-oldest' or 'drop-newest', not ${inspect(overflow)}`);
  }
  if (maxBuffered !== undefined && !(Number.isSafeInteger(maxBuffered) && maxBuffered > 0)) {
    throw new RangeError(`maxBuffered must be a whole number of events from 1 on, not ${inspect(maxBuffered)}`);
  }
}
