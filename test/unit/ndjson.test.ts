import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { Loss } from '../../src/events/loss';
import { fromNdjson, ndjsonReader, ndjsonWriter, toNdjson } from '../../src/events/ndjson';
import { ByteSource, codecFor } from '../../src/layout/codec';

const EVENT = {
  pid: 12,
  ts: 18446744073709551615n,
  delta: -5n,
  comm: 'a\n"b"',
  bytes: Uint8Array.of(0xde, 0xad),
  nested: { list: [1, 2n, [Number.NaN, -0, Number.NEGATIVE_INFINITY]], nothing: null },
};

async function collect(chunks: Iterable<string | Uint8Array>): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const value of ndjsonReader(chunks)) values.push(value);
  return values;
}

describe('NDJSON', () => {
  it('brings bigints, bytes and odd numbers back as they were', () => {
    const line = toNdjson(EVENT);
    expect(line).not.toContain('\n');
    expect(fromNdjson(line)).toEqual(EVENT);
    expect(line).toContain('"ts":{"$bigint":"18446744073709551615"}');
    expect(line).toContain('"bytes":{"$bytes":"3q0="}');
  });

  it('keeps objects that look like its own forms', () => {
    const value = { a: { $bigint: 'x' }, b: { $object: { $lost: 1n } } };
    expect(fromNdjson(toNdjson(value))).toEqual(value);
  });

  it('tells losses', () => {
    const loss = fromNdjson(toNdjson(new Loss(3, 'kernel', 1)));
    expect(loss).toBeInstanceOf(Loss);
    expect(loss).toEqual(new Loss(3, 'kernel', 1));
  });

  it('writes what other programs read, on request', () => {
    expect(
      toNdjson({ ts: 18446744073709551615n, b: Uint8Array.of(1, 255), n: Number.NaN, u: undefined }, { plain: true }),
    ).toBe('{"ts":18446744073709551615,"b":"01ff","n":null}');
  });

  it('writes the fields of lazily decoded structs', () => {
    const layout = {
      kind: 'struct' as const,
      size: 8,
      fields: [{ name: 'ts', offset: 0, type: { kind: 'int' as const, size: 8, signed: false } }],
    };
    const lazy = codecFor(layout).lazy(new ByteSource(Uint8Array.of(7, 0, 0, 0, 0, 0, 0, 0)), 0);
    expect(toNdjson(lazy)).toBe('{"ts":{"$bigint":"7"}}');
  });

  it('goes through streams, however the text is cut', async () => {
    const written = await text(Readable.from([EVENT, { n: 1 }]).pipe(ndjsonWriter()));
    const bytes = Buffer.from(written);
    const pieces = Array.from({ length: bytes.length }, (_, i) => bytes.subarray(i, i + 1));
    expect(await collect(pieces)).toEqual([EVENT, { n: 1 }]);
    expect(await collect([written.trimEnd()])).toEqual([EVENT, { n: 1 }]);
  });

  it('names the line that is none', async () => {
    await expect(collect(['{}\n\nnonsense\n'])).rejects.toMatchObject({
      code: 'ERR_BCC_NDJSON',
      message: expect.stringContaining('line 3'),
    });
  });

  it.each(['{"$bigint":"l"}', '{"$bigint":{}}', '{"$bytes":[1]}', '{"$object":null}', '{"$lost":"many"}'])(
    'refuses %s by a SyntaxError',
    (line) => {
      expect(() => fromNdjson(line)).toThrow(expect.objectContaining({ name: 'SyntaxError' }));
    },
  );
});
