import { BCC } from '../../src';
import { itIf } from '../helpers';
import { corpus, programType } from './corpus';

/*
 * The corpus against the running kernel, with headers made from its BTF alone. In a VM (`npm run vm -- --kernel 6.1 --
 * npx jest test/headers/corpus`) that is another kernel.
 */

describe('the corpus', () => {
  it('is as broad as it claims', () => {
    expect(corpus.length).toBeGreaterThanOrEqual(60);
    expect(new Set(corpus.flatMap(({ headers }) => headers)).size).toBeGreaterThanOrEqual(40);
  });

  for (const { name, text } of corpus) {
    itIf(['root', 'btf'], `${name} compiles from BTF and is accepted by the kernel`, () => {
      const b = new BCC({ text, headers: 'btf' });
      try {
        const names = [...text.matchAll(/^int (\w+)\(/gm)].map((match) => match[1]!);
        expect(names.length).toBeGreaterThan(0);
        for (const fnName of names) expect(b.loadFunc(fnName, programType(fnName)).fd).toBeGreaterThan(0);
      } finally {
        b.close();
      }
    });
  }
});
