import type { Codec } from '../layout/codec';
import { type DrainBuffer, ENTRY_HEADER, entryStride, LOST_ENTRY, lossAt } from './drain-buffer';
import { Loss } from './loss';
import { type RecordSource, RecordStream, type RecordStreamOptions, type StreamRing } from './record-stream';

/** A loss within a batch. */
export class BatchLoss extends Loss {
  constructor(
    { lost, cause, cpu }: Loss,
    /** The index of the first event after it; the batch's length where it comes last. */
    readonly index: number,
  ) {
    super(lost, cause, cpu);
  }
}

/** How a batch reads its records: by the codec for records of a size. */
export interface BatchDecoder<T> {
  codec(size: number): Pick<Codec<T>, 'decode' | 'lazy'>;
}

/**
 * The events that one wake-up (or one turn of the event loop) brought, still in the kernel's form: a view over a buffer
 * that the next batch overwrites. What must live longer is decoded (`toArray`, `decode`) or copied (`raw(i)` into a new
 * Buffer).
 */
export class EventBatch<T> implements Iterable<T> {
  readonly #buffer: DrainBuffer;
  readonly #decoder: BatchDecoder<T>;
  readonly #bytes: number;
  readonly #stride: number;
  /** Where each record begins, made when it is first needed; a batch of one size needs none. */
  #offsets: Uint32Array | undefined;

  constructor(
    decoder: BatchDecoder<T>,
    buffer: DrainBuffer,
    bytes: number,
    stride: number,
    /** How many events. */
    readonly length: number,
    /** What was lost among or after these events, in order of occurrence. */
    readonly losses: readonly BatchLoss[],
    /** The CPU whose perf buffer they came through; undefined for ring buffers. */
    readonly cpu: number | undefined,
  ) {
    this.#decoder = decoder;
    this.#buffer = buffer;
    this.#bytes = bytes;
    this.#stride = stride;
  }

  /** How many events were lost among or after these. */
  get lost(): number {
    return this.losses.reduce((sum, loss) => sum + loss.lost, 0);
  }

  /**
   * Event `index` (from the end where negative) as an object whose fields are decoded when they are read; undefined
   * beyond the ends. It is valid until the next batch.
   */
  at(index: number): T | undefined {
    if (index < 0) index += this.length;
    if (!(index >= 0 && index < this.length)) return undefined;
    const start = this.#start(index);
    const size = this.#size(start);
    return this.#decoder.codec(size).lazy(this.#buffer.source, start, size);
  }

  /** Event `index` in plain values that outlive the batch; undefined beyond the ends. */
  decode(index: number): T | undefined {
    if (index < 0) index += this.length;
    if (!(index >= 0 && index < this.length)) return undefined;
    const start = this.#start(index);
    const size = this.#size(start);
    return this.#decoder.codec(size).decode(this.#buffer.source, start, size);
  }

  /** The bytes of event `index`, valid until the next batch; undefined beyond the ends. */
  raw(index: number): Buffer | undefined {
    if (index < 0) index += this.length;
    if (!(index >= 0 && index < this.length)) return undefined;
    const start = this.#start(index);
    return this.#buffer.source.bytes.subarray(start, start + this.#size(start));
  }

  /** All events in plain values that outlive the batch. */
  toArray(): T[] {
    const { source, words } = this.#buffer;
    const events = new Array<T>(this.length);
    for (let at = 0, i = 0; i < events.length; ) {
      const size = words[(at >> 2) + 1]!;
      if (words[at >> 2] !== LOST_ENTRY)
        events[i++] = this.#decoder.codec(size).decode(source, at + ENTRY_HEADER, size);
      at += entryStride(size);
    }
    return events;
  }

  /** As `at()`, one after the other. */
  [Symbol.iterator](): Iterator<T, undefined> {
    let index = 0;
    return {
      next: () => (index < this.length ? { value: this.at(index++)!, done: false } : { value: undefined, done: true }),
    };
  }

  #start(index: number): number {
    if (this.#stride > 0) return index * this.#stride + ENTRY_HEADER;
    this.#offsets ??= this.#index();
    return this.#offsets[index]!;
  }

  #size(start: number): number {
    return this.#buffer.words[(start >> 2) - 1]!;
  }

  #index(): Uint32Array {
    const offsets = new Uint32Array(this.length);
    const { words } = this.#buffer;
    let count = 0;
    for (let at = 0; at < this.#bytes; at += entryStride(words[(at >> 2) + 1]!)) {
      if (words[at >> 2] !== LOST_ENTRY) offsets[count++] = at + ENTRY_HEADER;
    }
    return offsets;
  }
}

/** Whole batches as they come, for `for await`: see {@link EventBatch}. Leaving the loop closes the stream. */
export class BatchStream<T> extends RecordStream<EventBatch<T>> {
  readonly #decoder: BatchDecoder<T>;
  #batch: EventBatch<T> | undefined;
  /** Losses that came when no batch was there to tell them. */
  #losses: Loss[] = [];

  /** Use a table's `batches()`. */
  constructor(source: RecordSource, decoder: BatchDecoder<T>, options: RecordStreamOptions = {}) {
    super(source, options);
    this.#decoder = decoder;
    this.begin();
  }

  protected override get bufferedCount(): number {
    return this.#batch?.length ?? 0;
  }

  protected override get wanting(): boolean {
    return this.awaited;
  }

  protected override get room(): number {
    return 0xffffffff;
  }

  protected override accept(count: number, bytes: number, stride: number, { cpu }: StreamRing): void {
    const losses = this.#losses.map((loss) => new BatchLoss(loss, 0));
    this.#losses = [];
    let records = count;
    if (stride === 0) {
      records = 0;
      const { words } = this.scratch;
      for (let at = 0; at < bytes; at += entryStride(words[(at >> 2) + 1]!)) {
        if (words[at >> 2] !== LOST_ENTRY) {
          records++;
          continue;
        }
        const loss = new Loss(lossAt(this.scratch, at), 'kernel', cpu);
        this.lostCount += loss.lost;
        losses.push(new BatchLoss(loss, records));
      }
    }
    this.#batch = new EventBatch(this.#decoder, this.scratch, bytes, stride, records, losses, cpu);
  }

  protected override acceptLoss(loss: Loss): void {
    this.#losses.push(loss);
  }

  protected override take(): IteratorYieldResult<EventBatch<T>> | undefined {
    const batch = this.#batch ?? this.#lossesAlone();
    if (!batch) return undefined;
    this.#batch = undefined;
    this.receivedCount += batch.length;
    for (const loss of batch.losses) this.tellLoss(loss);
    return { value: batch, done: false };
  }

  protected override discard(): void {
    this.#batch = undefined;
    this.#losses = [];
  }

  /** A batch of no events, where losses came after the last one. */
  #lossesAlone(): EventBatch<T> | undefined {
    if (this.#losses.length === 0) return undefined;
    const losses = this.#losses.map((loss) => new BatchLoss(loss, 0));
    this.#losses = [];
    return new EventBatch(this.#decoder, this.scratch, 0, 0, 0, losses, undefined);
  }
}
