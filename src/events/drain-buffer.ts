import { ByteSource } from '../layout/codec';

/** Bytes before each entry of a drained buffer: its kind and its size. See NativeRecordReader.drain. */
export const ENTRY_HEADER = 8;

/** The kind of an entry that tells a loss. */
export const LOST_ENTRY = 1;

/** Small enough to stay in a core's cache between the copy out of the ring and the decoding. */
const USUAL_BYTES = 256 * 1024;

const ARENA_BYTES = 64 * 1024;

/** How one record becomes a value. */
export type DecodeRecord<T> = (source: ByteSource, offset: number, size: number) => T;

/** Where records lie between the kernel's ring and their decoding: entries one after the other. */
export class DrainBuffer {
  readonly source: ByteSource;
  /** The same bytes by 32-bit words: kinds and sizes. */
  readonly words: Uint32Array;

  constructor(bytes = USUAL_BYTES) {
    const buffer = new ArrayBuffer(bytes);
    this.source = new ByteSource(new Uint8Array(buffer));
    this.words = new Uint32Array(buffer);
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
