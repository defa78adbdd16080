import { ByteSource } from '../layout/codec';
import type { NativeRecordReader } from '../native';

/** Bytes before each entry of a drained buffer: its kind and its size. See NativeRecordReader.drain. */
export const ENTRY_HEADER = 8;

/** The kind of an entry that tells a loss. */
export const LOST_ENTRY = 1;

/** Small enough to stay in a core's cache between the copy out of the ring and the decoding. */
const USUAL_BYTES = 256 * 1024;

/** The most that one entry can take: a perf record's size is 16 bits wide, a ring buffer's 30. */
const MOST_BYTES = 2 ** 30 + 2 * ENTRY_HEADER;

const ARENA_BYTES = 64 * 1024;

/** How one record becomes a value. */
export type DecodeRecord<T> = (source: ByteSource, offset: number, size: number) => T;

/** Where records lie between the kernel's ring and their decoding: entries one after the other. */
export class DrainBuffer {
  #source: ByteSource;
  #words: Uint32Array;

  constructor(bytes = USUAL_BYTES) {
    const buffer = new ArrayBuffer(bytes);
    this.#source = new ByteSource(new Uint8Array(buffer));
    this.#words = new Uint32Array(buffer);
  }

  get source(): ByteSource {
    return this.#source;
  }

  /** The same bytes by 32-bit words: kinds and sizes. */
  get words(): Uint32Array {
    return this.#words;
  }

  /** Drains one ring into this buffer, which grows where a single record needs it. Returns the number of entries. */
  fill(reader: NativeRecordReader, ring: number, maxEntries: number): number {
    for (;;) {
      const count = reader.drain(ring, this.#source.bytes, maxEntries);
      const needed = count === 0 ? reader.needed : 0;
      if (needed === 0 || needed > MOST_BYTES) return count;
      const grown = new DrainBuffer(Math.max(needed, 2 * this.#source.bytes.length));
      this.#source = grown.#source;
      this.#words = grown.#words;
    }
  }
}

/** A place in a buffer: entries from `position` to `end`. */
export interface Stretch {
  buffer: DrainBuffer;
  position: number;
  end: number;
}

/** Keeps drained entries for later, in buffers that many small batches share. */
export class Arena {
  #buffer: DrainBuffer | undefined;
  #end = 0;

  /** Copies the first `bytes` bytes of `from`. */
  keep(from: DrainBuffer, bytes: number): Stretch {
    if (!this.#buffer || this.#end + bytes > this.#buffer.source.raw.length) {
      this.#buffer = new DrainBuffer(Math.max(ARENA_BYTES, bytes));
      this.#end = 0;
    }
    const position = this.#end;
    this.#buffer.source.raw.set(from.source.raw.subarray(0, bytes), position);
    this.#end += bytes;
    return { buffer: this.#buffer, position, end: this.#end };
  }
}

/** The bytes from one entry to the next, given the size in its header. */
export function entryStride(size: number): number {
  return ENTRY_HEADER + ((size + 7) & ~7);
}

/** The count in a loss entry at `position`. */
export function lossAt(buffer: DrainBuffer, position: number): number {
  return Number(buffer.source.view.getBigUint64(position + ENTRY_HEADER, true));
}
