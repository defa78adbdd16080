import { Transform, type TransformCallback } from 'node:stream';
import { knownOptions, requireText } from '../arguments';
import { BCCError } from '../errors';
import { Loss } from './loss';

/*
 * Newline-delimited JSON that loses nothing. One value a line, as JSON.stringify writes it, and what JSON has no form for
 * as an object with a single member:
 *
 *   a bigint                      {"$bigint":"18446744073709551615"}
 *   bytes (Uint8Array, Buffer)    {"$bytes":"3q2+7w=="}            base64
 *   NaN, an infinity, -0          {"$number":"NaN"}
 *   a Loss of a stream            {"$lost":12,"cause":"kernel","cpu":0}
 *   an object that would look so  {"$object":{…}}                  one whose first member begins with '$'
 *
 * With `plain` it is meant for other programs instead: bigints are integer literals of all their digits (valid JSON,
 * which jq and Python read exactly), bytes are hexadecimal strings, and such numbers are null.
 */

/** How values become lines of JSON. */
export interface NdjsonOptions {
  /** Write what other programs read most easily, giving up the way back. */
  plain?: boolean;
}

/** One value as a line of JSON, without the line's end. */
export function toNdjson(value: unknown, options: NdjsonOptions = {}): string {
  const { plain = false } = knownOptions('toNdjson', options, ['plain']);
  return (plain ? plainText(value) : JSON.stringify(tagged(value))) ?? 'null';
}

/**
 * The value that {@link toNdjson} wrote. Bytes come back as Uint8Array, losses as {@link Loss}.
 * @throws SyntaxError where the line is no JSON, or none that toNdjson wrote
 */
export function fromNdjson(line: string): unknown {
  requireText(line, 'line');
  return untagged(JSON.parse(line));
}

/** A transform from values to text: `stream.readable.pipe(ndjsonWriter()).pipe(process.stdout)`. */
export function ndjsonWriter(options: NdjsonOptions = {}): Transform {
  return new Transform({
    writableObjectMode: true,
    transform(value: unknown, _encoding: BufferEncoding, done: TransformCallback) {
      try {
        done(null, `${toNdjson(value, options)}\n`);
      } catch (error) {
        done(error as Error);
      }
    },
  });
}

/**
 * The values in a text of lines, which may come in pieces of any kind (a Readable, a file's lines, an array).
 * @throws BCCError `ERR_BCC_NDJSON` with the number of the line that is no JSON
 */
export async function* ndjsonReader(
  chunks: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>,
): AsyncGenerator<unknown, void, undefined> {
  const decoder = new TextDecoder();
  let text = '';
  let number = 0;
  for await (const chunk of chunks) {
    text += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    const lines = text.split('\n');
    text = lines.pop()!;
    for (const line of lines) {
      number++;
      if (line.trim() !== '') yield parseLine(line, number);
    }
  }
  text += decoder.decode();
  if (text.trim() !== '') yield parseLine(text, number + 1);
}

function parseLine(line: string, number: number): unknown {
  try {
    return fromNdjson(line);
  } catch (cause) {
    throw new BCCError('ERR_BCC_NDJSON', `line ${number} is not NDJSON: ${(cause as Error).message}`, { cause });
  }
}

/** An object as its members: lazily decoded structs have theirs behind toJSON. */
function members(value: object): [string, unknown][] {
  const { toJSON } = value as { toJSON?: unknown };
  const plain: unknown = typeof toJSON === 'function' ? toJSON.call(value) : value;
  return typeof plain === 'object' && plain !== null ? Object.entries(plain) : [];
}

function tagged(value: unknown): unknown {
  if (typeof value === 'bigint') return { $bigint: String(value) };
  if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0))) {
    return { $number: Object.is(value, -0) ? '-0' : String(value) };
  }
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return { $bytes: base64(value) };
  if (value instanceof Loss) return { $lost: value.lost, cause: value.cause, cpu: value.cpu };
  if (Array.isArray(value)) return value.map(tagged);
  const entries = members(value);
  const object = Object.fromEntries(entries.map(([name, member]) => [name, tagged(member)]));
  return entries[0]?.[0].startsWith('$') ? { $object: object } : object;
}

function untagged(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(untagged);
  const object = value as Record<string, unknown>;
  switch (Object.keys(object)[0]) {
    case '$bigint':
      return integerOf(object.$bigint);
    case '$bytes':
      return bytesOf(object.$bytes);
    case '$number':
      return Number(object.$number);
    case '$lost':
      if (typeof object.$lost !== 'number') throw unlike('$lost', 'a count', object.$lost);
      return new Loss(object.$lost, object.cause as Loss['cause'], object.cpu as number | undefined);
    case '$object':
      if (typeof object.$object !== 'object' || object.$object === null) {
        throw unlike('$object', 'an object', object.$object);
      }
      return untaggedMembers(object.$object);
    default:
      return untaggedMembers(object);
  }
}

function integerOf(digits: unknown): bigint {
  if (typeof digits === 'string' && /^-?\d+$/.test(digits)) return BigInt(digits);
  throw unlike('$bigint', "an integer's digits", digits);
}

function bytesOf(text: unknown): Uint8Array {
  if (typeof text === 'string') return new Uint8Array(Buffer.from(text, 'base64'));
  throw unlike('$bytes', 'base64', text);
}

function unlike(tag: string, wanted: string, found: unknown): SyntaxError {
  return new SyntaxError(`{"${tag}":…} holds ${wanted}, not ${JSON.stringify(found)}`);
}

function untaggedMembers(object: object): object {
  return Object.fromEntries(Object.entries(object).map(([name, member]) => [name, untagged(member)]));
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** JSON as JSON.stringify writes it, but with bigints as literals; undefined for what JSON leaves out. */
function plainText(value: unknown): string | undefined {
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (value instanceof Uint8Array) {
    return `"${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}"`;
  }
  if (Array.isArray(value)) return `[${value.map((element) => plainText(element) ?? 'null').join(',')}]`;
  const entries = value instanceof Loss ? Object.entries(value) : members(value);
  const texts = entries.flatMap(([name, member]) => {
    const text = plainText(member);
    return text === undefined ? [] : [`${JSON.stringify(name)}:${text}`];
  });
  return `{${texts.join(',')}}`;
}
