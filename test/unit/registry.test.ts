import { OwnedLink } from '../../src/attach/link';
import { LinkRegistry } from '../../src/attach/registry';

describe('the links of an object that is closed', () => {
  it('are detached latest first, each once, and all of them where one fails', () => {
    const registry = new LinkRegistry();
    const detached: string[] = [];
    const add = (target: string, release = () => {}) =>
      registry.add(
        new OwnedLink('tracepoint', target, 'f', () => {
          detached.push(target);
          release();
        }),
      );
    add('first');
    add('second', () => {
      throw new Error('second stays');
    });
    const third = add('third');
    add('fourth');
    third.detach();
    expect(() => registry.close()).toThrow('second stays');
    expect(detached).toEqual(['third', 'fourth', 'second', 'first']);
    registry.close();
    expect(detached).toHaveLength(4);
  });
});
