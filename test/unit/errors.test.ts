import { inspect } from 'node:util';
import { BCCError, CompileError, LoadError } from '../../src';

describe('an error that is printed', () => {
  test('shows its message, its code and its errno, and nothing twice', () => {
    const text = inspect(new BCCError('ERR_BCC_LOAD', 'no', { errno: 1, hint: 'run as root' }));
    expect(text).toMatch(/^BCCError: no\n {2}hint: run as root\n {4}at /);
    expect(text.slice(text.indexOf('{'))).toBe("{\n  code: 'ERR_BCC_LOAD',\n  errno: 1\n}");
  });

  test('shows its cause where it has one', () => {
    expect(inspect(new BCCError('ERR_BCC_LOAD', 'no'))).not.toMatch(/cause|undefined/);
    expect(inspect(new BCCError('ERR_BCC_LOAD', 'no', { cause: new Error('why') }))).toMatch(/\[cause\]: Error: why/);
  });

  test('leaves a log of thousands of lines to programs', () => {
    const load = new LoadError('refused', { log: 'R0 invalid mem access' });
    const compile = new CompileError('wrong', { output: 'all that clang said', diagnostics: [] });
    expect(inspect(load) + inspect(compile)).not.toMatch(/R0|clang|diagnostics/);
    expect([load.log, compile.output, compile.diagnostics, load.hint]).toEqual([
      'R0 invalid mem access',
      'all that clang said',
      [],
      undefined,
    ]);
  });
});
