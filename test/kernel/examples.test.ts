import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { closeSync, fsyncSync, mkdtempSync, openSync, readFileSync, rmSync, symlinkSync, writeSync } from 'node:fs';
import path from 'node:path';
import { itIf, kernelHas, requireRoot, stopProcess } from '../helpers';

requireRoot();

const ROOT = path.join(__dirname, '../..');
/** In the VMs a compilation alone takes up to half a minute. */
const TIMEOUT = 240_000;

let folder: string;
let child: ChildProcess | undefined;

beforeAll(() => {
  execFileSync(process.execPath, [path.join(ROOT, 'scripts/build.mjs')], { stdio: ['ignore', 'ignore', 'inherit'] });
  folder = mkdtempSync(path.join(ROOT, 'build', 'examples-test-'));
  // A shell under a name of its own: what it forks is told apart from the machine's other processes.
  symlinkSync('/bin/bash', path.join(folder, 'greeter'));
}, TIMEOUT);

afterEach(async () => {
  if (child) await stopProcess(child);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Makes a process named `greeter` fork, by clone(2). */
function greet(): void {
  spawnSync(path.join(folder, 'greeter'), ['-c', '(:); :']);
}

function writeToDisk(): void {
  const fd = openSync(path.join(folder, 'data'), 'w');
  writeSync(fd, Buffer.alloc(1 << 18, 'x'));
  fsyncSync(fd);
  closeSync(fd);
}

interface Outcome {
  stdout: string;
  stderr: string;
  code: number | null;
}

/**
 * Runs an example while `trigger` makes the events it waits for. It ends by itself, or is sent Ctrl-C once its output
 * has `until`.
 */
function runExample(name: string, args: string[], trigger: () => void, until?: RegExp): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const running = spawn(process.execPath, [path.join(ROOT, 'build/examples', `${name}.js`), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child = running;
    let stdout = '';
    let stderr = '';
    let interrupted = false;
    const timer = setInterval(trigger, 200);
    running.stdout.on('data', (chunk) => {
      stdout += chunk;
      if (!until?.test(stdout) || interrupted) return;
      interrupted = true;
      running.kill('SIGINT');
    });
    running.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    running.on('error', reject);
    running.on('close', (code) => {
      clearInterval(timer);
      resolve({ stdout, stderr, code });
    });
  });
}

const NOTE = /^this kernel has no kprobes: (\w+) is attached to the tracepoint syscalls:sys_enter_(\w+)$/m;

it(
  'hello-ring-buffer ends after as many events as --count says',
  async () => {
    const { stdout, stderr, code } = await runExample('hello-ring-buffer', ['--count', '3'], greet);
    expect(stdout).toMatch(/^(Hello world! comm = \S.*\n){3}$/);
    expect(code).toBe(0);
    expect(NOTE.test(stderr)).toBe(!kernelHas('kprobes'));
  },
  TIMEOUT,
);

it(
  'hello-ring-buffer names the process that forked, and ends well at Ctrl-C',
  async () => {
    const { code } = await runExample('hello-ring-buffer', [], greet, /^Hello world! comm = greeter$/m);
    expect(code).toBe(0);
  },
  TIMEOUT,
);

it(
  'hello-world prints lines of trace_pipe',
  async () => {
    const { code } = await runExample('hello-world', [], greet, /^ *greeter-\d+ .* Hello, World!$/m);
    expect(code).toBe(0);
  },
  TIMEOUT,
);

it(
  'hello-fields prints the fields of trace_pipe in columns',
  async () => {
    const row = /^\d+\.\d+ +greeter +\d+ +Hello, fields!$/m;
    const { stdout, code } = await runExample('hello-fields', [], greet, row);
    expect(stdout).toMatch(/^TIME\(s\) +COMM +PID +MESSAGE\n/);
    expect(code).toBe(0);
  },
  TIMEOUT,
);

it(
  'hello-perf-output prints a struct per process start',
  async () => {
    const row = /^\d+\.\d{9} +greeter +\d+ +Hello, perf_output!$/m;
    const { stdout, code } = await runExample('hello-perf-output', [], greet, row);
    expect(stdout).toMatch(/^TIME\(s\) +COMM +PID +MESSAGE\n0\.000000000 /);
    expect(code).toBe(0);
  },
  TIMEOUT,
);

it(
  'sync-count counts calls of sync',
  async () => {
    const { stdout, code } = await runExample('sync-count', ['--count', '3'], () => spawnSync('sync'));
    expect(stdout).toMatch(
      /^sync 1\nsync 2, [\d.]+ ms after the one before\nsync 3, [\d.]+ ms after the one before\n$/m,
    );
    expect(code).toBe(0);
  },
  TIMEOUT,
);

const onDisk = readFileSync('/proc/mounts', 'utf8')
  .split('\n')
  .some((line) => /^\/dev\/\S+ \/ /.test(line));

itIf(
  { when: onDisk, reason: 'the root filesystem is on no block device' },
  'bitehist prints a histogram of the requests to the disk',
  async () => {
    const { stdout, code } = await runExample('bitehist', ['--count', '3'], writeToDisk);
    expect(stdout).toMatch(/^ +kbytes +: count +distribution$/m);
    const counted = [...stdout.matchAll(/^ +\d+ -> \d+ +: (\d+) /gm)].reduce((sum, [, n]) => sum + Number(n), 0);
    expect(counted).toBeGreaterThanOrEqual(3);
    expect(code).toBe(0);
  },
  TIMEOUT,
);

it('a limit that is no number is refused', async () => {
  const { stderr, code } = await runExample('hello-world', ['--count', 'three'], () => {});
  expect(stderr).toBe("--count takes a number above 0, not 'three'\n");
  expect(code).toBe(2);
});
