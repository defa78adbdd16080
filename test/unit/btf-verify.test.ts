import { BCCError } from '../../src/errors';
import { dumpBtf } from '../../src/kernel/headers/tree';
import { BTF_KINDS, Btf, type BtfKind } from '../../src/layout/btf';
import { verifyBtf } from '../../src/layout/btf-verify';

/** One type: kind, name's offset, the word behind `info`, and what follows. */
type Type = [kind: BtfKind, name: number, word: number, ...rest: number[]];

const STRINGS = Buffer.from('\0a\0b\0');
const LENGTHS: Partial<Record<BtfKind, number>> = {
  struct: 3,
  union: 3,
  enum: 2,
  func_proto: 2,
  datasec: 3,
  enum64: 3,
};

function blob(...types: Type[]): Buffer {
  const words = types.flatMap(([kind, name, word, ...rest]) => {
    const entry = LENGTHS[kind];
    return [name, ((BTF_KINDS.indexOf(kind) << 24) | (entry ? rest.length / entry : 0)) >>> 0, word, ...rest];
  });
  const records = Buffer.alloc(4 * words.length);
  for (const [i, word] of words.entries()) records.writeUInt32LE(word >>> 0, 4 * i);
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0x01eb9f, 0);
  for (const [i, word] of [24, 0, records.length, records.length, STRINGS.length].entries()) {
    header.writeUInt32LE(word, 4 + 4 * i);
  }
  return Buffer.concat([header, records, STRINGS]);
}

const INT: Type = ['int', 1, 4, 32];

describe('a BTF blob that is to be turned into C', () => {
  it('is taken where it is sound', () => {
    const sound = blob(
      INT,
      ['ptr', 0, 3],
      ['struct', 3, 16, 1, 1, 0, 3, 2, 64],
      ['typedef', 1, 3],
      ['array', 0, 0, 4, 1, 8],
    );
    expect(() => verifyBtf(new Btf(sound))).not.toThrow();
    expect(dumpBtf(sound, 'sound')).toContain('struct b {');
  });

  it.each<[string, Type[]]>([
    ['refers to a type that is not there', [['ptr', 0, 99]]],
    ['has a name beyond its strings', [['int', 77, 4, 32]]],
    ['has an integer without size', [['int', 1, 0, 0]]],
    ['has a member of no type', [INT, ['struct', 1, 8, 1, 1, 0, 1, 0, 32]]],
    [
      'has a member of a constant nothing',
      [
        ['const', 0, 0],
        ['union', 1, 8, 1, 1, 0],
      ],
    ],
    [
      'has elements of a struct that is only declared',
      [INT, ['fwd', 1, 0], ['array', 0, 0, 2, 1, 4], ['struct', 1, 8, 1, 3, 0]],
    ],
    ['has a pointer to itself', [['ptr', 0, 1]]],
    [
      'has a typedef of itself',
      [
        ['typedef', 1, 2],
        ['const', 0, 1],
      ],
    ],
    ['has a struct that holds itself', [['struct', 1, 8, 3, 1, 0]]],
    ['has an array of itself', [['array', 0, 0, 1, 1, 2]]],
    ['has a member beyond its end', [INT, ['struct', 1, 4, 3, 1, 640]]],
    ['has a struct of 4 GiB', [['struct', 1, 0xffffffff]]],
    [
      'has a function that points at a function',
      [
        ['func_proto', 0, 0],
        ['func', 1, 1],
        ['ptr', 0, 2],
      ],
    ],
    ['has a function without a prototype', [INT, ['func', 1, 1]]],
    [
      'doubles at every level',
      [INT, ...Array.from({ length: 40 }, (_, i): Type => ['struct', 0, 4, 0, i + 1, 0, 0, i + 1, 0])],
    ],
    [
      'is deeper than any stack',
      [INT, ...Array.from({ length: 5000 }, (_, i): Type => ['const', 0, i + 1])].reverse() as Type[],
    ],
  ])('is refused where it %s', (_, types) => {
    const bytes = blob(...types);
    expect(() => verifyBtf(new Btf(bytes))).toThrow(BCCError);
    expect(() => dumpBtf(bytes, 'hostile')).toThrow(expect.objectContaining({ code: 'ERR_BCC_HEADERS_BAD_BTF' }));
  });

  it('is refused where any part of it is cut off', () => {
    const whole = blob(INT, ['struct', 3, 16, 1, 1, 0], ['typedef', 1, 2]);
    for (let end = 0; end < whole.length; end++) {
      expect(() => dumpBtf(whole.subarray(0, end), 'cut')).toThrow(BCCError);
    }
  });
});
