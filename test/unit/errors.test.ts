import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { inspect } from 'node:util';
import { BCCError, CompileError, LoadError } from '../../src';
import { didYouMean, nearest } from '../../src/errors';

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

test('every code that the library throws stands in docs/errors.md', () => {
  const root = path.join(__dirname, '../..');
  const codesIn = (text: string) => new Set(text.match(/\bERR_BCC(?:_[A-Z0-9]+)+/g));
  const sources = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(path.join(root, 'src', name), 'utf8'));
  const [, listed] = readFileSync(path.join(root, 'docs/errors.md'), 'utf8').split('\n## Codes\n');
  expect([...codesIn(listed!)].sort()).toEqual([...codesIn(sources.join('\n'))].sort());
});

describe('a name that does not exist', () => {
  test('brings the nearest ones to mind, those that only lack its end included', () => {
    const names = ['sys_enter_tkill', 'sys_enter_kill', 'sys_enter_brk'];
    expect(nearest('sys_enter_kil', names)[0]).toBe('sys_enter_kill');
    expect(nearest('kill', names)).toEqual(['sys_enter_kill', 'sys_enter_tkill']);
    expect(didYouMean('vfs_reed', ['vfs_read', 'vfs_write', 'do_exit'])).toBe('did you mean vfs_read?');
    expect(didYouMean('nothing_alike', names)).toBeUndefined();
  });
});
