import { knownOptions } from '../arguments';
import { BatchStream } from '../events/batch-stream';
import { EventStream, type EventStreamOptions, STREAM_OPTIONS } from '../events/event-stream';
import type { Loss } from '../events/loss';
import { RECORD_OPTIONS, type RecordSource, type RecordStreamOptions } from '../events/record-stream';
import { RingManager } from '../events/ring-manager';
import { runtime } from '../native';
import { claimConsumer, isConsumed, openFailure, streamOn } from './event-consumer';
import { type EventDecoder, EventReader, type EventTypeOptions } from './event-type';
import type { TableSpec } from './spec';
import { Table, type Untyped } from './table';

/** Called for each event; `data` is valid during the call only. A negative number stops the poll. */
export type RingBufferCallback<Context = undefined> = (ctx: Context, data: Buffer, size: number) => number | void;

/**
 * A ring buffer (BPF_RINGBUF_OUTPUT, Linux 5.8): one queue of events for all CPUs, in order. It has one consumer at a
 * time: callbacks (`openRingBuffer`), decoded events (`events`, `for await`) or batches.
 */
export class RingBufferTable<T = Untyped> extends Table {
  readonly #events: EventReader;
  #close: (() => void) | undefined;

  constructor(spec: TableSpec) {
    super(spec);
    this.#events = new EventReader({
      name: spec.name,
      events: spec.events,
      int64: spec.int64,
      recordSize: (size) => size,
    });
  }

  /** Whether a callback or a stream consumes this buffer now. */
  get opened(): boolean {
    return isConsumed(this.spec);
  }

  /**
   * Delivers events to a callback, from within the BCC object's `ringBufferPoll` and `ringBufferConsume`.
   * @throws BCCError `ERR_BCC_BUFFER_OPEN` where the buffer has a consumer
   */
  openRingBuffer<Context = undefined>(callback: RingBufferCallback<Context>, ctx?: Context): void {
    if (typeof callback !== 'function') throw new TypeError('openRingBuffer takes a callback (ctx, data, size) => …');
    this.checkOpen();
    this.#events.prepare();
    const release = claimConsumer(this.spec, 'ring buffer');
    try {
      const manager = RingManager.of(this.spec.host);
      const index = manager.reader.add(this.getFd());
      manager.add(index, { record: (data, size) => callback(ctx as Context, data, size) });
      this.#close = () => {
        manager.remove(index);
        release();
      };
    } catch (error) {
      release();
      throw openFailure(this.spec, 'ring buffer', error);
    }
  }

  /** Undoes `openRingBuffer`; events from now on stay in the kernel. Harmless where nothing is open. */
  closeRingBuffer(): void {
    this.#close?.();
    this.#close = undefined;
  }

  /**
   * The event that a callback's `data` holds, in plain values that outlive it. Where the program sends several structs
   * through this table, the size tells which, or else `type` must.
   * @throws BCCError `ERR_BCC_EVENT_UNKNOWN`, `ERR_BCC_EVENT_AMBIGUOUS`, `ERR_BCC_DATA_SIZE`
   */
  event(data: Uint8Array, options?: EventTypeOptions): T {
    return this.#events.read(data, options?.type) as T;
  }

  /** Opens a stream of decoded events: see {@link EventStream}. `E` is the type of an event where the caller knows it. */
  events<E = T>(options: EventStreamOptions & EventTypeOptions & { lossEvents: true }): EventStream<E | Loss>;
  events<E = T>(options?: EventStreamOptions & EventTypeOptions): EventStream<E>;
  events<E = T>(options: EventStreamOptions & EventTypeOptions = {}): EventStream<E> {
    const { type } = knownOptions('events', options, [...STREAM_OPTIONS, 'type']);
    const decoder = this.#events.decoder(type) as EventDecoder<E>;
    return streamOn(
      this.spec,
      'ring buffer',
      this.#source,
      (source) => new EventStream(source, decoder.decode, options),
    );
  }

  /** Opens a stream of whole batches, whose events are decoded as far as they are read: see {@link BatchStream}. */
  batches<E = T>(options: RecordStreamOptions & EventTypeOptions = {}): BatchStream<E> {
    const { type } = knownOptions('batches', options, [...RECORD_OPTIONS, 'type']);
    const decoder = this.#events.decoder(type) as EventDecoder<E>;
    return streamOn(this.spec, 'ring buffer', this.#source, (source) => new BatchStream(source, decoder, options));
  }

  /** `for await (const event of table)`: as `events()`. */
  [Symbol.asyncIterator](): EventStream<T> {
    return this.events();
  }

  readonly #source = (): RecordSource => {
    const reader = new (runtime().RingReader)();
    try {
      const rings = [{ index: reader.add(this.getFd()) }];
      return {
        what: 'ring buffer',
        name: this.name,
        reader,
        rings,
        size: this.maxEntries,
        takeLost: this.spec.lost && (() => this.#takeLost(this.spec.lost!())),
        release: () => reader.close(),
      };
    } catch (error) {
      reader.close();
      throw error;
    }
  };

  /** What of `counted` losses no stream of this buffer has told yet. */
  #takeLost(counted: bigint): number {
    const told = this.spec.host.shared('losses told', () => new Map<number, bigint>());
    const { fd } = this.spec.fd;
    const untold = counted - (told.get(fd) ?? 0n);
    told.set(fd, counted);
    return Number(untold);
  }
}
