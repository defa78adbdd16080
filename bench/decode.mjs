// How fast codecs are: `node bench/decode.mjs`. No kernel is needed.
import { requireSource } from '../scripts/bundle.mjs';

const { ByteSource, codecFor } = requireSource('layout/codec');

const u32 = { kind: 'int', size: 4, signed: false };
const u64 = { kind: 'int', size: 8, signed: false };
const char = { kind: 'int', size: 1, signed: true, char: true };
const text = (length) => ({ kind: 'array', element: char, length, size: length });
const struct = (name, size, ...fields) => ({
  kind: 'struct',
  name,
  size,
  fields: fields.map(([field, offset, type, bits]) => ({ name: field, offset, type, ...(bits && { bits }) })),
});

const event = struct(
  'event',
  48,
  ['pid', 0, u32],
  ['uid', 4, u32],
  ['ts', 8, u64],
  ['delta', 16, u64],
  ['bytes', 24, u64],
  ['comm', 32, text(16)],
);
const key = struct('key', 16, ['pid', 0, u32], ['op', 4, u32], ['address', 8, u64]);
const path = struct('path', 136, ['pid', 0, u32], ['flags', 4, u32], ['name', 8, text(128)]);
const bits = struct(
  'bits',
  8,
  ['a', 0, u32, { offset: 0, width: 3 }],
  ['b', 0, u32, { offset: 3, width: 20 }],
  ['c', 4, u32],
);

const COUNT = 1 << 14;
const NAMES = Array.from({ length: 200 }, (_, i) => `process-${i}`);

const samples = {
  event: (i) => ({ pid: i, uid: 0, ts: BigInt(i) << 20n, delta: 5n, bytes: 4096n, comm: NAMES[i % NAMES.length] }),
  key: (i) => ({ pid: i, op: i & 3, address: 0xffff888000000000n + BigInt(i) }),
  path: (i) => ({ pid: i, flags: 1, name: `/proc/${i}/task/${i}/stat` }),
  bits: (i) => ({ a: i & 7, b: i, c: i }),
};

/** Millions of calls a second: the best of several rounds, because others use the machine too. */
function rate(work) {
  let best = 0;
  for (let round = 0; round < 12; round++) {
    const start = process.hrtime.bigint();
    let sum = 0;
    for (let i = 0; i < 20; i++) sum += work();
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    if (Number.isNaN(sum)) throw new Error('nothing was decoded');
    best = Math.max(best, (20 * COUNT) / seconds / 1e6);
  }
  return best.toFixed(1).padStart(7);
}

console.log('million structs a second  decode  number    lazy  encode');
for (const layout of [event, key, path, bits]) {
  const source = new ByteSource(new Uint8Array(layout.size * COUNT));
  const codec = codecFor(layout);
  const numbers = codecFor(layout, { int64: 'number' });
  const values = Array.from({ length: COUNT }, (_, i) => samples[layout.name](i));
  values.forEach((value, i) => {
    codec.encode(value, source, i * layout.size);
  });
  const [first] = layout.fields;
  const all = (one) => () => {
    let sum = 0;
    for (let i = 0, at = 0; i < COUNT; i++, at += layout.size) sum += one(at, i);
    return sum;
  };
  // A key's address is no safe integer: there is nothing to measure.
  const decodeNumbers = layout === key ? undefined : all((at) => numbers.decode(source, at)[first.name]);
  const columns = [
    rate(all((at) => codec.decode(source, at)[first.name])),
    decodeNumbers ? rate(decodeNumbers) : '      -',
    rate(all((at) => codec.lazy(source, at)[first.name])),
    rate(
      all((at, i) => {
        codec.encode(values[i], source, at);
        return 1;
      }),
    ),
  ];
  console.log(`${layout.name.padEnd(8)} ${String(layout.size).padStart(4)} bytes    ${columns.join(' ')}`);
}
