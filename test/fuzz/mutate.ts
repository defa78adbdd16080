/** A small generator of numbers that one seed repeats (xorshift32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1;
  }

  /** A whole number from 0 to `end - 1`. */
  below(end: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % end;
  }

  of<T>(list: ArrayLike<T>): T {
    return list[this.below(list.length)]!;
  }
}

const EDGES = [0, 1, 2, 7, 8, 16, 31, 32, 63, 64, 127, 128, 255, 256, 4095, 4096, 32767, 32768, 65535, 65536];
const WIDE_EDGES = [0x7fffffff, 0x80000000, 0xffffffff, 2 ** 32, 2 ** 53, -1, -8, -128];

/** What mutations draw from: literals of the code under test, as bytes. */
export function dictionary(words: Iterable<string | number>): Buffer[] {
  const entries: Buffer[] = [];
  for (const word of words) {
    entries.push(Buffer.from(String(word)));
    if (typeof word === 'number' && Number.isInteger(word)) entries.push(integer(word, word > 0xffff ? 4 : 2));
  }
  return entries;
}

function integer(value: number, size: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt.asIntN(64, BigInt(value)));
  return bytes.subarray(0, size);
}

/** One input made of others: some of a dozen small changes, one upon the other. */
export function mutate(random: Random, corpus: readonly Buffer[], words: readonly Buffer[], maxLength: number): Buffer {
  // What was found last is where there may be more to find.
  const recent = corpus.length - 1 - random.below(Math.max(1, corpus.length >> 2));
  let data: Buffer = Buffer.from(corpus[random.below(2) === 0 ? recent : random.below(corpus.length)]!);
  for (let steps = 1 << random.below(5); steps > 0; steps--) {
    data = change(random, data, corpus, words).subarray(0, maxLength);
  }
  return data;
}

function change(random: Random, data: Buffer, corpus: readonly Buffer[], words: readonly Buffer[]): Buffer {
  if (data.length === 0) return Buffer.from(random.of(corpus));
  const at = random.below(data.length);
  const length = 1 + random.below(Math.min(data.length - at, 1 << random.below(8)));
  const insert = (piece: Uint8Array, removed = 0) =>
    Buffer.concat([data.subarray(0, at), piece, data.subarray(at + removed)]);
  switch (random.below(14)) {
    case 0:
      data[at]! ^= 1 << random.below(8);
      return data;
    case 1:
      data[at] = random.below(256);
      return data;
    case 2:
      data[at]! += random.below(35) - 17;
      return data;
    case 3:
      return insert(Buffer.alloc(0), length);
    case 4:
      return insert(data.subarray(at, at + length));
    case 5:
      return insert(Buffer.concat(Array.from({ length: 1 << random.below(8) }, () => data.subarray(at, at + length))));
    case 6: {
      const size = 1 << random.below(4);
      return insert(integer(random.of(random.below(2) === 0 ? EDGES : WIDE_EDGES), size), size);
    }
    case 7: {
      const text = String(random.of(random.below(2) === 0 ? EDGES : WIDE_EDGES));
      const digits = /^\d+/.exec(data.toString('latin1', at, at + 20))?.[0].length ?? 0;
      return insert(Buffer.from(text), digits);
    }
    case 8:
    case 9:
      return words.length === 0 ? data : insert(random.of(words), random.below(2) === 0 ? 0 : length);
    case 10: {
      const other = random.of(corpus);
      return Buffer.concat([data.subarray(0, at), other.subarray(random.below(other.length + 1))]);
    }
    case 11: {
      const other = random.of(corpus);
      const from = random.below(other.length + 1);
      return insert(other.subarray(from, from + length), random.below(2) === 0 ? 0 : length);
    }
    case 12: {
      const lines = data.toString('latin1').split('\n');
      const line = lines.splice(random.below(lines.length), 1);
      if (random.below(2) === 0) lines.splice(random.below(lines.length + 1), 0, ...line);
      return Buffer.from(lines.join('\n'), 'latin1');
    }
    default:
      return data.subarray(0, at);
  }
}

/** A shorter input of which `fails` still holds, as far as a bounded number of tries brings it. */
export async function shrink(
  input: Buffer,
  fails: (candidate: Buffer) => Promise<boolean>,
  tries = 2_000,
): Promise<Buffer> {
  let best = input;
  for (let size = best.length >> 1; size > 0 && tries > 0; size >>= 1) {
    for (let at = 0; at < best.length && tries > 0; tries--) {
      const shorter = Buffer.concat([best.subarray(0, at), best.subarray(at + size)]);
      if (await fails(shorter)) best = shorter;
      else at += size;
    }
  }
  return best;
}
