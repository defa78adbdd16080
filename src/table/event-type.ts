import { inspect } from 'node:util';
import { BCCError, didYouMean } from '../errors';
import type { BatchDecoder } from '../events/batch-stream';
import type { DecodeRecord } from '../events/drain-buffer';
import { ByteSource, type Codec, codecFor } from '../layout/codec';
import type { ArrayLayout, Layout } from '../layout/layout';
import type { Int64Mode } from './spec';

/** How an event's type is chosen where the program sends several through one table. */
export interface EventTypeOptions {
  /** The C name of the struct: `data_t`, or `struct data_t`. */
  type?: string;
}

/** What the decoder must know of a table. */
export interface EventTable {
  name: string;
  /** The types that the program sends through it. */
  events: readonly Layout[];
  int64: Int64Mode;
  /** How many bytes the kernel tells for an event of `size` bytes: perf buffers round up. */
  recordSize(size: number): number;
}

/** Decodes the records of one table: see the tables' `event()`. */
export class EventDecoder<T> implements BatchDecoder<T> {
  readonly #table: EventTable;
  readonly #layouts: readonly Layout[];
  /** The codec of the one type there is to choose from, or of the type last chosen and the size that chose it. */
  #codec: Codec<T> | undefined;
  #size = -1;
  readonly #always: boolean;

  constructor(table: EventTable, options: EventTypeOptions = {}) {
    this.#table = table;
    this.#layouts = candidates(table, options.type);
    this.#always = this.#layouts.length === 1 && !isScalar(this.#layouts[0]!);
    if (this.#always) this.#codec = codecFor<T>(this.#layouts[0]!, { int64: table.int64 });
  }

  /** The codec for records of `size` bytes. */
  codec(size: number): Codec<T> {
    if (this.#always || size === this.#size) return this.#codec!;
    const codec = codecFor<T>(this.#choose(size), { int64: this.#table.int64 });
    this.#codec = codec;
    this.#size = size;
    return codec;
  }

  readonly decode: DecodeRecord<T> = (source, offset, size) => this.codec(size).decode(source, offset, size);

  /** Reads one field of each event: for ordering by it. */
  field(name: string): DecodeRecord<number | bigint> {
    for (const layout of this.#layouts) {
      const fields = layout.kind === 'struct' ? layout.fields : [];
      const type = fields.find((field) => field.name === name)?.type.kind;
      if (type === 'int' || type === 'enum' || type === 'float') continue;
      const names = fields.map((field) => field.name);
      throw new BCCError(
        'ERR_BCC_EVENT_ORDER',
        `table '${this.#table.name}': ${describe(layout)} has no number '${name}' to order by`,
        { hint: didYouMean(name, names) ?? `its fields are ${names.join(', ')}` },
      );
    }
    return (source, offset, size) =>
      (this.codec(size).lazy(source, offset, size) as Record<string, number | bigint>)[name]!;
  }

  #choose(size: number): Layout {
    const layouts = this.#layouts;
    const { name, recordSize } = this.#table;
    if (layouts.length === 1) return this.#scalar(layouts[0]!, size);
    const fitting = layouts.filter((layout) => layout.size === size || recordSize(layout.size) === size);
    if (fitting.length === 1) return fitting[0]!;
    const types = (fitting.length > 0 ? fitting : layouts).map(describe).join(', ');
    const example = layouts.find((layout) => layout.name)?.name ?? 'data_t';
    throw new BCCError(
      'ERR_BCC_EVENT_AMBIGUOUS',
      fitting.length > 0
        ? `table '${name}': an event of ${size} bytes may be any of ${types}`
        : `table '${name}': an event of ${size} bytes is none of ${types}`,
      {
        hint:
          `say which it is: table.event(data, { type: '${example}' }), ` +
          `or one type for all of them: b.getTable('${name}', { leafType })`,
      },
    );
  }

  /**
   * A scalar stands for what a pointer to it points at: as many of them as the record holds. A perf buffer does not tell
   * one byte from four: that is text where it is `char`, and else one value.
   */
  #scalar(layout: Layout, size: number): Layout {
    const isText = layout.kind === 'int' && layout.char === true;
    if (size < 2 * layout.size || (size === this.#table.recordSize(layout.size) && !isText)) return layout;
    const length = Math.floor(size / layout.size);
    return { kind: 'array', element: layout, length, size: length * layout.size } satisfies ArrayLayout;
  }
}

/** A decoder for each type asked for, and the bytes last looked at: what `event(data)` needs from call to call. */
export class EventReader {
  readonly #table: EventTable;
  readonly #decoders = new Map<string | undefined, EventDecoder<unknown>>();
  #usual: EventDecoder<unknown> | undefined;
  #buffer: ArrayBufferLike | undefined;
  #source: ByteSource | undefined;

  constructor(table: EventTable) {
    this.#table = table;
  }

  decoder(type?: string): EventDecoder<unknown> {
    const known = this.#decoders.get(type);
    if (known) return known;
    const decoder = new EventDecoder(this.#table, { type });
    this.#decoders.set(type, decoder);
    return decoder;
  }

  /** Makes the decoder of the usual type before the first event waits for it. */
  prepare(): void {
    if (this.#table.events.length > 0) this.#usual ??= this.decoder();
  }

  /** The event that `data` holds. */
  read(data: Uint8Array, type: string | undefined): unknown {
    const { buffer, byteOffset, byteLength } = data ?? {};
    // Records of one batch share their buffer.
    if (buffer === undefined || buffer !== this.#buffer) {
      if (!(data instanceof Uint8Array)) {
        throw new TypeError(`event(data) takes the data that the callback was given, not ${inspect(data)}`);
      }
      this.#source = new ByteSource(new Uint8Array(buffer));
      this.#buffer = buffer;
    }
    if (type !== undefined) return this.decoder(type).decode(this.#source!, byteOffset, byteLength);
    this.#usual ??= this.decoder();
    return this.#usual.decode(this.#source!, byteOffset, byteLength);
  }
}

function candidates(table: EventTable, type: string | undefined): readonly Layout[] {
  const { name, events } = table;
  if (events.length === 0) {
    throw new BCCError('ERR_BCC_EVENT_UNKNOWN', `table '${name}': it is not known what struct its events are`, {
      hint: `give the type yourself: b.getTable('${name}', { leafType }), or read the bytes that the callback gets`,
    });
  }
  if (type === undefined) return events;
  const wanted = type.replace(/^(struct|union|enum)\s+/, '');
  const found = events.filter((layout) => layout.name?.replace(/^(struct|union|enum)\s+/, '') === wanted);
  if (found.length > 0) return found;
  throw new BCCError('ERR_BCC_EVENT_UNKNOWN', `table '${name}': the program sends no '${type}' through it`, {
    hint:
      didYouMean(
        wanted,
        events.map((layout) => layout.name ?? ''),
      ) ?? `it sends ${events.map(describe).join(', ')}`,
  });
}

function isScalar(layout: Layout): boolean {
  return layout.kind !== 'struct' && layout.kind !== 'union' && layout.kind !== 'array' && layout.kind !== 'custom';
}

function describe(layout: Layout): string {
  return `${layout.name ?? `an unnamed ${layout.kind}`} (${layout.size} bytes)`;
}
