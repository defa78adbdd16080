import { join } from 'node:path';
import { BCC, BPFProgType } from '../../src';
import { itIf } from '../helpers';

const { programType, readCorpus } = require('./corpus.mjs') as {
  programType(functionName: string): keyof typeof BPFProgType;
  readCorpus(folder: string): { name: string; text: string; headers: string[]; functions: string[] }[];
};

/*
 * The corpus against the running kernel, with headers made from its BTF alone. test/headers/other-kernels.mjs does the
 * same for the kernels of stock distributions.
 */

const corpus = readCorpus(join(__dirname, 'corpus'));

describe('the corpus', () => {
  it('is as broad as it claims', () => {
    expect(corpus.length).toBeGreaterThanOrEqual(60);
    expect(new Set(corpus.flatMap(({ headers }) => headers)).size).toBeGreaterThanOrEqual(40);
  });

  for (const { name, text, functions } of corpus) {
    itIf(['root', 'btf'], `${name} compiles from BTF and is accepted by the kernel`, () => {
      const b = new BCC({ text, headers: 'btf' });
      try {
        expect(functions.length).toBeGreaterThan(0);
        for (const fnName of functions) {
          expect(b.loadFunc(fnName, BPFProgType[programType(fnName)]).fd).toBeGreaterThan(0);
          expect(b.disassembleFunc(fnName)).not.toMatch(/unknown/);
        }
      } finally {
        b.close();
      }
    });
  }
});
