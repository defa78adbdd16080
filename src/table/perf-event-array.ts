import { inspect } from 'node:util';
import { knownOptions } from '../arguments';
import { perfEventHint } from '../capabilities';
import { BCCError, errnoText, isNativeError } from '../errors';
import { BatchStream } from '../events/batch-stream';
import { EventStream, type EventStreamOptions, STREAM_OPTIONS } from '../events/event-stream';
import type { Loss } from '../events/loss';
import { PerfManager } from '../events/perf-manager';
import {
  RECORD_OPTIONS,
  type RecordSource,
  type RecordStream,
  type RecordStreamOptions,
  type StreamRing,
} from '../events/record-stream';
import { onlineCpus } from '../kernel/cpus';
import { perfEventAttr } from '../kernel/perf-attr';
import { type NativeFd, type NativePerfReader, runtime } from '../native';
import { claimConsumer, isConsumed, openFailure, streamOn } from './event-consumer';
import { type EventDecoder, EventReader, type EventTypeOptions } from './event-type';
import type { TableSpec } from './spec';
import { Table, type Untyped } from './table';
import { tableError } from './table-error';

/** Called for each event; `data` is valid during the call only, and may end with a few bytes of padding. */
export type PerfBufferCallback = (cpu: number, data: Buffer, size: number) => void;

/** How large the perf buffers are, and when they wake the reader. */
export interface PerfRingOptions {
  /** Pages of 4 KiB (on most machines) for each CPU, a power of two; 8 by default. */
  pageCnt?: number;
  /** How many events come before the consumer is woken; 1 by default. Fewer that are there when it closes are not read. */
  wakeupEvents?: number;
}

/** What `openPerfBuffer` may be told. */
export interface PerfBufferOptions extends PerfRingOptions {
  /** Called with the number of events that the kernel had no room for, in its place among the events of that CPU. */
  lostCb?: (count: number) => void;
}

/** What `events()` of a perf buffer may be told. */
export interface PerfEventStreamOptions extends EventStreamOptions, PerfRingOptions, EventTypeOptions {
  /** The field (a clock) by which events of different CPUs are merged; without it each CPU's come in order, batch by batch. */
  orderBy?: string;
}

const PERF_OPTIONS = ['pageCnt', 'wakeupEvents', 'type'];

/** Bytes before the sample of a raw perf record (its size), and what whole records are rounded up to. */
const RAW_HEADER = 4;
const RECORD_ALIGNMENT = 8;
/** The smallest page there is: rings of larger ones are only looked after more often. */
const PAGE_BYTES = 4096;
const MOST_PAGES = 2 ** 24;
const PERF_FLAG_FD_CLOEXEC = 8;
const ENOENT = 2;
const EOPNOTSUPP = 95;

/** The size that the kernel tells for a sample of `size` bytes. */
export function perfRecordSize(size: number): number {
  return Math.ceil((size + RAW_HEADER) / RECORD_ALIGNMENT) * RECORD_ALIGNMENT - RAW_HEADER;
}

/**
 * An array of perf events (BPF_PERF_OUTPUT, BPF_PERF_ARRAY): buffers for events, one for each CPU, or counters that the
 * program reads with `perf_read`.
 */
export class PerfEventArrayTable<T = Untyped> extends Table {
  readonly #events: EventReader;
  #close: (() => void) | undefined;
  #closeCounters: (() => void) | undefined;

  constructor(spec: TableSpec) {
    super(spec);
    this.#events = new EventReader({
      name: spec.name,
      events: spec.events,
      int64: spec.int64,
      recordSize: perfRecordSize,
    });
  }

  /** Whether a callback or a stream consumes this table's buffers now. */
  get opened(): boolean {
    return isConsumed(this.spec);
  }

  /**
   * Delivers events to a callback, from within the BCC object's `perfBufferPoll` and `perfBufferConsume`. Buffers are made
   * for the CPUs that are online now.
   * @throws RangeError where `pageCnt` is no power of two or `wakeupEvents` less than 1
   * @throws BCCError `ERR_BCC_BUFFER_OPEN` where the table has a consumer
   */
  openPerfBuffer(callback: PerfBufferCallback, options: PerfBufferOptions = {}): void {
    if (typeof callback !== 'function') throw new TypeError('openPerfBuffer takes a callback (cpu, data, size) => …');
    const { lostCb } = knownOptions('openPerfBuffer', options, ['pageCnt', 'lostCb', 'wakeupEvents']);
    const ringOptions = checkRingOptions(options);
    this.checkOpen();
    this.#events.prepare();
    const release = claimConsumer(this.spec, 'perf buffer');
    let rings: StreamRing[];
    const manager = PerfManager.of(this.spec.host);
    try {
      rings = this.#addRings(manager.reader, ringOptions);
    } catch (error) {
      release();
      throw openFailure(this.spec, 'perf buffer', error);
    }
    for (const { index, cpu } of rings) {
      manager.add(index, {
        // Only a ring buffer's callback can stop a poll by what it returns.
        record: (data, size) => void callback(cpu!, data, size),
        lost: lostCb && ((count) => lostCb(count)),
      });
    }
    this.#close = () => {
      for (const { index } of rings) manager.remove(index);
      release();
    };
  }

  /** Undoes `openPerfBuffer`: events not delivered are gone. Harmless where nothing is open. */
  closePerfBuffer(): void {
    this.#close?.();
    this.#close = undefined;
  }

  /**
   * Puts a counter of every online CPU into the table, for `perf_read` in the program: `typ` and `config` as in
   * `struct perf_event_attr` (PerfType, PerfHWConfig, PerfSWConfig).
   * @throws BCCError `ERR_BCC_PERF_EVENT` where this machine has no such counter
   */
  openPerfEvent(typ: number, config: number | bigint, pid = -1): void {
    if (!Number.isInteger(typ)) throw new TypeError(`typ must be a value of PerfType, not ${inspect(typ)}`);
    if (typeof config !== 'bigint' && !Number.isSafeInteger(config)) {
      throw new TypeError(`config must be an integer, not ${inspect(config)}`);
    }
    if (!Number.isInteger(pid)) throw new TypeError(`pid must be an integer, not ${inspect(pid)}`);
    this.closePerfEvent();
    const attributes = perfEventAttr({ type: typ, config });
    const key = Buffer.alloc(4);
    const value = Buffer.alloc(4);
    const slot = new (runtime().MapAccess)(this.getFd(), key, value);
    const counters: NativeFd[] = [];
    const cpus: number[] = [];
    const close = () => {
      unregister();
      for (const cpu of cpus) {
        key.writeUInt32LE(cpu);
        slot.delete();
      }
      for (const counter of counters) counter.close();
    };
    const unregister = this.spec.host.onClose(close);
    try {
      for (const cpu of onlineCpus()) {
        const counter = runtime().perfEventOpen(attributes, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);
        counters.push(counter);
        key.writeUInt32LE(cpu);
        value.writeInt32LE(counter.fd);
        const errno = slot.update(0);
        if (errno !== 0) throw tableError(this, `setting the counter of CPU ${cpu}`, errno);
        cpus.push(cpu);
      }
    } catch (error) {
      close();
      throw this.#counterFailure(error, typ, config);
    }
    this.#closeCounters = close;
  }

  /** Undoes `openPerfEvent`. Harmless where nothing is open. */
  closePerfEvent(): void {
    this.#closeCounters?.();
    this.#closeCounters = undefined;
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
  events<E = T>(options: PerfEventStreamOptions & { lossEvents: true }): EventStream<E | Loss>;
  events<E = T>(options?: PerfEventStreamOptions): EventStream<E>;
  events<E = T>(options: PerfEventStreamOptions = {}): EventStream<E> {
    const { type, orderBy } = knownOptions('events', options, [...STREAM_OPTIONS, ...PERF_OPTIONS, 'orderBy']);
    const decoder = this.#events.decoder(type) as EventDecoder<E>;
    const orderKey = orderBy === undefined ? undefined : decoder.field(orderBy);
    return this.#stream(options, (source) => new EventStream(source, decoder.decode, { ...options, orderKey }));
  }

  /**
   * Opens a stream of whole batches, each of one CPU, whose events are decoded as far as they are read: see
   * {@link BatchStream}.
   */
  batches<E = T>(options: RecordStreamOptions & PerfRingOptions & EventTypeOptions = {}): BatchStream<E> {
    const { type } = knownOptions('batches', options, [...RECORD_OPTIONS, ...PERF_OPTIONS]);
    const decoder = this.#events.decoder(type) as EventDecoder<E>;
    return this.#stream(options, (source) => new BatchStream(source, decoder, options));
  }

  /** `for await (const event of table)`: as `events()`. */
  [Symbol.asyncIterator](): EventStream<T> {
    return this.events();
  }

  #stream<S extends RecordStream<unknown>>(options: PerfRingOptions, make: (source: RecordSource) => S): S {
    const ringOptions = checkRingOptions(options);
    return streamOn(this.spec, 'perf buffer', () => this.#source(ringOptions), make);
  }

  #source(options: Required<PerfRingOptions>): RecordSource {
    const reader = new (runtime().PerfReader)();
    try {
      const rings = this.#addRings(reader, options);
      const size = options.pageCnt * PAGE_BYTES;
      return { what: 'perf buffer', name: this.name, reader, rings, size, release: () => reader.close() };
    } catch (error) {
      reader.close();
      throw error;
    }
  }

  /** A ring for each online CPU. */
  #addRings(reader: NativePerfReader, { pageCnt, wakeupEvents }: Required<PerfRingOptions>): StreamRing[] {
    const rings: StreamRing[] = [];
    try {
      for (const cpu of onlineCpus()) {
        rings.push({ index: reader.add(this.getFd(), { cpu, pages: pageCnt, wakeupEvents }), cpu });
      }
    } catch (error) {
      for (const { index } of rings) reader.remove(index);
      throw error;
    }
    return rings;
  }

  #counterFailure(error: unknown, typ: number, config: number | bigint): unknown {
    if (!isNativeError(error)) return error;
    const { errno } = error;
    return new BCCError(
      'ERR_BCC_PERF_EVENT',
      `table '${this.name}': the counter of type ${typ}, config ${config} cannot be opened: ${errnoText(errno)}`,
      {
        errno,
        cause: error,
        hint:
          perfEventHint(errno) ??
          (errno === ENOENT || errno === EOPNOTSUPP
            ? 'this machine has no such counter (virtual machines often have no hardware counters): take one of PerfSWConfig'
            : undefined),
      },
    );
  }
}

function checkRingOptions({ pageCnt = 8, wakeupEvents = 1 }: PerfRingOptions): Required<PerfRingOptions> {
  if (!Number.isSafeInteger(pageCnt) || pageCnt < 1 || (pageCnt & (pageCnt - 1)) !== 0 || pageCnt > MOST_PAGES) {
    throw new RangeError(`pageCnt must be a power of two, not ${inspect(pageCnt)}`);
  }
  if (!Number.isSafeInteger(wakeupEvents) || wakeupEvents < 1 || wakeupEvents > 0x7fffffff) {
    throw new RangeError(`wakeupEvents must be a whole number from 1 on, not ${inspect(wakeupEvents)}`);
  }
  return { pageCnt, wakeupEvents };
}
