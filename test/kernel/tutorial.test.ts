import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { BCC } from '../../src';
import { tracefsRoot } from '../../src/kernel/tracefs';
import { itIf, kernelHas, requireRoot } from '../helpers';
import { DISK, type Outcome, ROOT, SCRIPT_TIMEOUT, useScripts } from '../helpers/scripts';

requireRoot();

const ANSWERS = path.join(ROOT, 'docs/tutorial/answers');
const scripts = useScripts('tutorial');
const { writeToDisk } = scripts;

// Lines that the lesson before has left in trace_pipe are the next reader's; writing nothing to `trace` empties it.
beforeEach(() => writeFileSync(path.join(tracefsRoot(), 'trace'), ''));

/** Runs a lesson's answer while `trigger` makes what it watches; where `until` is given, ends it by Ctrl-C after that. */
function runAnswer(name: string, args: string[], trigger: () => void, until?: RegExp): Promise<Outcome> {
  return scripts.run([path.join(ROOT, 'build/docs/tutorial/answers', `${name}.js`), ...args], trigger, until);
}

function lesson(name: string, args: string[], trigger: () => void, output: RegExp, until?: RegExp): void {
  it(`lesson ${name}`, () => check(name, args, trigger, output, until), SCRIPT_TIMEOUT);
}

async function check(name: string, args: string[], trigger: () => void, output: RegExp, until?: RegExp): Promise<void> {
  const { stdout, stderr, code } = await runAnswer(name, args, trigger, until);
  expect({ code, stderr, stdout }).toEqual({
    code: 0,
    stderr: expect.any(String),
    stdout: expect.stringMatching(output),
  });
}

/** bash forks by clone(2). */
const fork = () => spawnSync('/bin/bash', ['-c', '(:); :']);
const sync = () => spawnSync('sync');
const readRandom = () =>
  spawnSync('/usr/bin/python3', ['-c', "import os; os.getrandom(40); open('/dev/urandom', 'rb').read(40)"]);
const listFiles = () => spawnSync('ls', ['/'], { env: { ...process.env, QUOTING_STYLE: 'literal' } });

lesson('01-hello-world', ['--count', '2'], fork, /^(.*\S+-\d+ .*\n){2}$/);
lesson('01-hello-world', [], fork, /bash-\d+ .* Hello, World!$/m, /bash-\d+ .* Hello, World!\n/);
lesson(
  '02-sync',
  [],
  sync,
  /^Tracing.*\n[\s\S]* sync-\d+ .*sys_sync\(\) called\n[\s\S]*Done\.\n$/,
  /sync-\d+ .* called\n/,
);
lesson(
  '03-hello-fields',
  [],
  fork,
  /^TIME\(s\) .*\n[\s\S]*^\d+\.\d{9} +bash +\d+ +Hello, fields!$/m,
  / bash .* fields!\n/,
);
lesson(
  '04-sync-timing',
  ['--count', '2'],
  sync,
  /^Tracing.*\n(At time \d+\.\d\d s: another sync, .* \d+ ms ago\n){2}$/,
);
lesson(
  '05-sync-count',
  ['--count', '2'],
  sync,
  /^(sync number \d+, \d+ ms after the one before\n){2}\d+ calls in all\n$/m,
);

const bars = (unit: string) =>
  new RegExp(`^ +${unit} +: count +distribution\\n( +\\d+ -> \\d+ +: \\d+ +\\|.*\\|\\n)+$`, 'm');

itIf(
  DISK,
  'lesson 06-disksnoop',
  () => check('06-disksnoop', [], writeToDisk, /^\d+\.\d{6} +W \d+ +\d+\.\d\d$/m, /^\d+\.\d{6} +W [1-9]\d* /m),
  SCRIPT_TIMEOUT,
);
lesson(
  '07-hello-perf-output',
  [],
  fork,
  /^TIME[\s\S]*^\d+\.\d{9} +bash +\d+ +Hello, perf_output!$/m,
  / bash .*output!\n/,
);
lesson('08-sync-perf-output', ['--count', '2'], sync, /^Tracing.*\n(At time \d+\.\d\d s: .* \d+ ms ago\n){2}$/);
itIf(
  DISK,
  'lesson 09-bitehist',
  () => check('09-bitehist', ['--count', '2'], writeToDisk, bars('kbytes')),
  SCRIPT_TIMEOUT,
);
itIf(
  DISK,
  'lesson 10-disk-latency',
  () => check('10-disk-latency', ['--count', '2'], writeToDisk, bars('usecs')),
  SCRIPT_TIMEOUT,
);
lesson(
  '11-vfs-read-latency',
  ['0.5', '--count', '2'],
  listFiles,
  /^Tracing reads.*\n([\s\S]*usecs +: count[\s\S]*){2}/,
);
lesson('12-urandomread', [], readRandom, /^TIME[\s\S]*^\d+\.\d{9} +python3 +\d+ +320$/m, / python3 +\d+ +320\n/);
itIf(
  DISK,
  'lesson 13-disksnoop-fixed',
  () =>
    check('13-disksnoop-fixed', [], writeToDisk, /^\d+\.\d{6} +\S*W\S* +[1-9]\d* +\d+\.\d\d$/m, / \S*W\S* +[1-9]\d* /),
  SCRIPT_TIMEOUT,
);
itIf(
  'uprobes',
  'lesson 14-getenv-count',
  () => check('14-getenv-count', ['--duration', '3'], listFiles, /^ +COUNT VARIABLE\n[\s\S]*^ +\d+ "QUOTING_STYLE"$/m),
  SCRIPT_TIMEOUT,
);

/** Distributions may build Python without its probes. */
function pythonHasProbes(): boolean {
  return existsSync('/usr/bin/python3') && readFileSync('/usr/bin/python3').includes('import__find__load__start');
}

itIf(
  kernelHas('uprobes') ? { when: pythonHasProbes(), reason: '/usr/bin/python3 has no USDT probes' } : 'uprobes',
  'lesson 15-python-imports',
  () => check('15-python-imports', [], readRandom, /^python3 +\d+ +\w+$/m, /^python3 +\d+ +\w+$/m),
  SCRIPT_TIMEOUT,
);
lesson('16-task-switch', ['--count', '20'], fork, /^Counting.*\n(task_switch\[ *\d+ -> +\d+\] = \d+\n)+$/);
lesson('17-opens', [], listFiles, /^PID [\s\S]*^\d+ +ls +-?\d+ +\d+ \S*libc\.so\.6$/m, / ls .*libc\.so\.6\n/);
lesson(
  '17-opens',
  ['json', '--count', '2'],
  listFiles,
  /^(\{"pid":\d+,"result":-?\d+,"took_ns":.*,"path":".*"\}\n){2}$/,
);

it(
  'every lesson but those without a program has an answer, and a kernel with kprobes needs no stand-in',
  async () => {
    const numbers = readdirSync(ANSWERS)
      .filter((name) => name.endsWith('.ts'))
      .map((name) => Number.parseInt(name, 10));
    expect(numbers).toEqual(Array.from({ length: 17 }, (_, i) => i + 1));
    const { stderr } = await runAnswer('02-sync', ['--count', '1'], sync);
    expect(/no kprobes/.test(stderr)).toBe(!kernelHas('kprobes'));
  },
  SCRIPT_TIMEOUT,
);

it('the answers are C that compiles for kprobes as well', () => {
  const { functions } = BCC.compile({ srcFile: path.join(ANSWERS, '16-task-switch.c') });
  expect(functions.map(({ name }) => name)).toEqual(['at_kprobe', 'at_tracepoint']);
});
