import { createHash } from 'node:crypto';
import { BCCError } from '../../src/errors';
import { decodeProgram, encodeProgram } from '../../src/program/codec';
import type { CompiledProgram } from '../../src/program/compiled';

const LD_MAP = [0x18, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const EXIT = [0x95, 0, 0, 0, 0, 0, 0, 0];

function sample(): CompiledProgram {
  const table = {
    name: 'counts',
    type: 1,
    keySize: 4,
    leafSize: 8,
    maxEntries: 10240,
    flags: 0,
    keyDesc: '"unsigned int"',
    leafDesc: '"unsigned long long"',
    btfKeyTypeId: 1,
    btfValueTypeId: 2,
    eventFields: [],
  };
  return {
    functions: [
      {
        name: 'hello',
        insns: Uint8Array.from([...LD_MAP, ...EXIT]),
        relocations: [{ insn: 0, table: 'counts' }],
        funcInfo: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
        funcInfoRecSize: 8,
        lineInfo: new Uint8Array(16),
        lineInfoRecSize: 16,
      },
    ],
    tables: [table],
    license: 'GPL',
    kernVersion: 0x060c00,
    btf: Uint8Array.of(0x9f, 0xeb, 1, 0),
    events: [{ table: 'counts', btfTypeId: 7 }],
    lostTables: [],
    origin: {
      text: 'ü',
      cflags: ['-DX'],
      libbcc: '0.26.0',
      kernelRelease: '6.12',
      btf: '',
      headers: 'btf:1',
      arch: 'x64',
    },
    warnings: '',
  };
}

/** A file with a right digest over a description that was tampered with. */
function forged(change: (program: CompiledProgram) => void): Buffer {
  const program = sample();
  change(program);
  return encodeProgram(program);
}

const refusal = expect.objectContaining({ code: 'ERR_BCC_PROGRAM_FILE' });

it('gives back what was written, byte arrays included', () => {
  expect(decodeProgram(encodeProgram(sample()))).toEqual(sample());
});

it('refuses every one of 10,000 mutations', () => {
  const bytes = encodeProgram(sample());
  // A linear congruential generator: the same mutations at every run.
  let state = 20261123;
  const next = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state % below;
  };
  let refused = 0;
  for (let i = 0; i < 10_000; i++) {
    const changed = Buffer.from(bytes);
    const at = next(changed.length);
    changed[at] = changed[at]! ^ (1 + next(255));
    try {
      decodeProgram(changed);
    } catch (error) {
      if (!(error instanceof BCCError) || error.code !== 'ERR_BCC_PROGRAM_FILE') throw error;
      refused++;
    }
  }
  expect(refused).toBe(10_000);
});

it('refuses every truncation', () => {
  const bytes = encodeProgram(sample());
  for (let length = 0; length < bytes.length; length += 7) {
    expect(() => decodeProgram(bytes.subarray(0, length))).toThrow(refusal);
  }
});

it('says that another format version is one', () => {
  const bytes = encodeProgram(sample());
  bytes.writeUInt32LE(99, 8);
  expect(() => decodeProgram(bytes)).toThrow(/version 99/);
});

describe('a forged file with a right digest', () => {
  it('may not load a table where there is no such instruction', () => {
    expect(() => decodeProgram(forged(({ functions }) => (functions[0]!.relocations[0]!.insn = 1)))).toThrow(
      /loads a table/,
    );
  });

  it('may not use a table it does not have', () => {
    expect(() => decodeProgram(forged(({ functions }) => (functions[0]!.relocations[0]!.table = 'x')))).toThrow(
      /table x/,
    );
  });

  it('may not leave fields out', () => {
    expect(() => decodeProgram(forged(({ tables }) => Reflect.deleteProperty(tables[0]!, 'keySize')))).toThrow(
      /incomplete/,
    );
  });

  it('may not point outside itself', () => {
    const bytes = encodeProgram(sample());
    const json = bytes.toString('utf8', 48, 48 + bytes.readUInt32LE(12));
    const changed = Buffer.from(json.replace('"$bytes":[0,24]', '"$bytes":[9,99]'));
    expect(changed).toHaveLength(json.length + 1);
    const body = Buffer.concat([changed, bytes.subarray(48 + bytes.readUInt32LE(12))]);
    const header = Buffer.from(bytes.subarray(0, 48));
    header.writeUInt32LE(changed.length, 12);
    createHash('sha256').update(body).digest().copy(header, 16);
    expect(() => decodeProgram(Buffer.concat([header, body]))).toThrow(/lies outside/);
  });
});
