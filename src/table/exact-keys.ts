import { isDeepStrictEqual } from 'node:util';
import { ByteSource, type Codec } from '../layout/codec';
import type { Layout } from '../layout/layout';

/**
 * The bytes of keys whose values do not tell them all: padding that a program left as it was, text with something behind
 * its NUL. The kernel compares every byte, so that a key which a table gave must find its element by these.
 */
export class ExactKeys<K> {
  readonly #codec: Codec<K>;
  readonly #hidden: HiddenBytes;
  readonly #encoded: ByteSource;
  readonly #bytes = new WeakMap<object, Uint8Array>();
  #some = false;

  /** Undefined for keys that are all value. */
  static of<K>(codec: Codec<K>): ExactKeys<K> | undefined {
    const hidden = { gaps: [], texts: [], opaque: false };
    findHidden(codec.layout, 0, hidden);
    return hidden.opaque || hidden.gaps.length + hidden.texts.length > 0 ? new ExactKeys(codec, hidden) : undefined;
  }

  private constructor(codec: Codec<K>, hidden: HiddenBytes) {
    this.#codec = codec;
    this.#hidden = hidden;
    this.#encoded = new ByteSource(new Uint8Array(codec.size));
  }

  /** Notes what encoding a key, which was decoded from `offset` on, would not give back. */
  note(key: K, source: ByteSource, offset: number): void {
    if (typeof key !== 'object' || key === null || !holdsMore(this.#hidden, source.raw, offset)) return;
    const size = this.#codec.size;
    this.#codec.encode(key, this.#encoded, 0);
    if (this.#encoded.bytes.compare(source.raw, offset, offset + size) === 0) return;
    this.#bytes.set(key, source.raw.slice(offset, offset + size));
    this.#some = true;
  }

  /** Writes the bytes that were noted of a key; false where none were, or the key has been changed since. */
  write(key: K, target: ByteSource, offset: number): boolean {
    if (!this.#some || typeof key !== 'object' || key === null) return false;
    const bytes = this.#bytes.get(key);
    if (bytes === undefined || !isDeepStrictEqual(this.#codec.decode(new ByteSource(bytes), 0), key)) return false;
    target.raw.set(bytes, offset);
    return true;
  }
}

/** Where two keys of the same value may differ; offsets from the key's start. */
interface HiddenBytes {
  /** Padding. */
  gaps: { start: number; end: number }[];
  /** Text, of which what is behind the first NUL counts. */
  texts: { start: number; end: number }[];
  /** Unions and bitfields, of which only encoding tells. */
  opaque: boolean;
}

function findHidden(layout: Layout, start: number, hidden: HiddenBytes): void {
  if (layout.kind === 'union') hidden.opaque = true;
  if (layout.kind === 'array') {
    const { element } = layout;
    if (element.kind === 'int' && element.char === true) hidden.texts.push({ start, end: start + layout.size });
    else for (let i = 0; i < layout.length; i++) findHidden(element, start + i * element.size, hidden);
  }
  if (layout.kind !== 'struct') return;
  let end = start;
  for (const { offset, type, bits } of [...layout.fields].sort((a, b) => a.offset - b.offset)) {
    if (bits) hidden.opaque = true;
    if (start + offset > end) hidden.gaps.push({ start: end, end: start + offset });
    end = Math.max(end, start + offset + type.size);
    findHidden(type, start + offset, hidden);
  }
  if (start + layout.size > end) hidden.gaps.push({ start: end, end: start + layout.size });
}

function holdsMore({ gaps, texts, opaque }: HiddenBytes, raw: Uint8Array, offset: number): boolean {
  if (opaque) return true;
  for (const { start, end } of gaps) {
    for (let at = offset + start; at < offset + end; at++) if (raw[at] !== 0) return true;
  }
  for (const { start, end } of texts) {
    let at = offset + start;
    while (at < offset + end && raw[at] !== 0) at++;
    for (; at < offset + end; at++) if (raw[at] !== 0) return true;
  }
  return false;
}
