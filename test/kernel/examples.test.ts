import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { createServer, get, type Server } from 'node:http';
import path from 'node:path';
import { itIf, kernelHas, type Need, requireRoot, stopProcess } from '../helpers';
import { compileC } from '../helpers/c-program';
import { DISK, type Outcome, ROOT, SCRIPT_TIMEOUT, useScripts } from '../helpers/scripts';

requireRoot();

const scripts = useScripts('examples');
const { writeToDisk } = scripts;

beforeAll(() => {
  // A shell under a name of its own: what it forks is told apart from the machine's other processes.
  symlinkSync('/bin/bash', path.join(scripts.folder, 'greeter'));
});

/** Makes a process named `greeter` fork, by clone(2). */
function greet(): void {
  spawnSync(path.join(scripts.folder, 'greeter'), ['-c', '(:); :']);
}

/** Runs an example while `trigger` makes the events it waits for, and ends it once its output has `until`. */
function runExample(name: string, args: string[], trigger: () => void, until?: RegExp): Promise<Outcome> {
  return scripts.run([path.join(ROOT, 'build/examples', `${name}.js`), ...args], trigger, until);
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
  SCRIPT_TIMEOUT,
);

it(
  'hello-ring-buffer names the process that forked, and ends well at Ctrl-C',
  async () => {
    const { code } = await runExample('hello-ring-buffer', [], greet, /^Hello world! comm = greeter$/m);
    expect(code).toBe(0);
  },
  SCRIPT_TIMEOUT,
);

it(
  'hello-world prints lines of trace_pipe',
  async () => {
    const { code } = await runExample('hello-world', [], greet, /^ *greeter-\d+ .* Hello, World!$/m);
    expect(code).toBe(0);
  },
  SCRIPT_TIMEOUT,
);

it(
  'hello-fields prints the fields of trace_pipe in columns',
  async () => {
    const row = /^\d+\.\d+ +greeter +\d+ +Hello, fields!$/m;
    const { stdout, code } = await runExample('hello-fields', [], greet, row);
    expect(stdout).toMatch(/^TIME\(s\) +COMM +PID +MESSAGE\n/);
    expect(code).toBe(0);
  },
  SCRIPT_TIMEOUT,
);

it(
  'hello-perf-output prints a struct per process start',
  async () => {
    const row = /^\d+\.\d{9} +greeter +\d+ +Hello, perf_output!$/m;
    const { stdout, code } = await runExample('hello-perf-output', [], greet, row);
    expect(stdout).toMatch(/^TIME\(s\) +COMM +PID +MESSAGE\n0\.000000000 /);
    expect(code).toBe(0);
  },
  SCRIPT_TIMEOUT,
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
  SCRIPT_TIMEOUT,
);

itIf(
  DISK,
  'bitehist prints a histogram of the requests to the disk',
  async () => {
    const { stdout, code } = await runExample('bitehist', ['--count', '3'], writeToDisk);
    expect(stdout).toMatch(/^ +kbytes +: count +distribution$/m);
    const counted = [...stdout.matchAll(/^ +\d+ -> \d+ +: (\d+) /gm)].reduce((sum, [, n]) => sum + Number(n), 0);
    expect(counted).toBeGreaterThanOrEqual(3);
    expect(code).toBe(0);
  },
  SCRIPT_TIMEOUT,
);

interface Example {
  name: string;
  args?: string[] | (() => string[]);
  /** What it takes besides root and tracepoints. */
  need?: Need;
  /** What makes the events it waits for. */
  trigger?: () => void;
  /** What must come to stand in its output. */
  shows: RegExp;
  /** It ends by itself, as those with `--count` or `--duration` do; the others are sent Ctrl-C then. */
  ends?: boolean;
}

const sh = (script: string) => () => {
  spawnSync('bash', ['-c', script], { stdio: 'ignore' });
};

let server: Server;
let serverPort = 0;
beforeAll(async () => {
  server = createServer((_request, response) => response.end('hello'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  serverPort = (server.address() as { port: number }).port;
});
afterAll(() => server.close());

const query = Buffer.concat([
  Buffer.from('04d201000001000000000000', 'hex'),
  Buffer.from('\x07example\x03com\x00\x00\x01\x00\x01', 'latin1'),
]);

/** Sends a datagram to this machine itself, `times` times. */
function sendTo(port: number, message: Uint8Array | string, times = 1): void {
  const socket = createSocket('udp4');
  socket.on('error', () => {});
  let left = times;
  for (let i = 0; i < times; i++)
    socket.send(message, port, '127.0.0.1', () => {
      if (--left === 0) socket.close();
    });
}

/** A process that goes on allocating, to be looked at from outside. */
let allocating: ChildProcess;
beforeAll(() => {
  allocating = spawn(process.execPath, ['-e', 'setInterval(() => Buffer.allocUnsafeSlow(100000), 5)'], {
    stdio: 'ignore',
  });
});
afterAll(() => stopProcess(allocating));

/** A library with the probes that glibc has where it was built with them; Debian's is not. */
const PROBES = `
#include <sys/sdt.h>
int main(void) {
  DTRACE_PROBE2(libc, memory_sbrk_more, 0x5000, 135168);
  DTRACE_PROBE2(libc, memory_sbrk_less, 0x6000, 4096);
  DTRACE_PROBE2(libc, memory_mallopt_free_dyn_thresholds, 7, 9);
  return 0;
}
`;

const PYTHON = '/usr/bin/python3';
const pythonProbes = existsSync(PYTHON) && readFileSync(PYTHON).includes('gc__start');
const KVM = '/sys/kernel/tracing/events/kvm/kvm_hypercall';

const EXAMPLES: Example[] = [
  {
    name: 'disksnoop',
    need: DISK,
    trigger: writeToDisk,
    shows: /^TIME\(s\) +T +BYTES +LAT\(ms\)\n(?:.*\n)*\d+\.\d{9} +W +\d+ +\d+\.\d\d$/m,
  },
  { name: 'urandomread', trigger: sh(': $SRANDOM'), shows: /^\d+\.\d+ +bash +\d+ +\d+$/m },
  { name: 'urandomread-explicit', trigger: sh(': $SRANDOM'), shows: /^ *bash-\d+ .*: \d+$/m },
  { name: 'extract-arg', trigger: () => spawnSync('/bin/true'), shows: /: execve: \/bin\/true$/m },
  {
    name: 'table',
    ends: true,
    shows:
      /^12 squared is 144\n13 is not there; there are 3\n3 -> 9\n12 -> 144\n4000000000 -> 16000000000000000000\nafter clear\(\) there are 0$/m,
  },
  {
    name: 'usdt',
    need: { when: pythonProbes && kernelHas('uprobes'), reason: 'no Python with USDT probes, or no uprobes' },
    trigger: () => spawnSync(PYTHON, ['-c', 'import gc; gc.collect(2)']),
    shows: /^python3\S* +\d+ +0x2$/m,
  },
  {
    name: 'sbrk-trace',
    need: ['uprobes', 'sdt', 'cc'],
    args: () => ['heaps', compileC(scripts.folder, 'heaps', PROBES)],
    trigger: () => spawnSync(path.join(scripts.folder, 'heaps')),
    shows:
      /pid=(\d+) comm=heaps probe=memory_sbrk_more addr=0x5000 size=135168\n.*pid=\1 .*_less addr=0x6000 size=4096\n.*mmap=7 trim=9$/m,
  },
  {
    name: 'mallocstack',
    need: 'uprobes',
    args: () => [String(allocating.pid), '--duration', '2'],
    shows: /^\d+ bytes allocated at:\n(\t.*\n)*\tnode::Start\(int, char\*\*\)\+0x/m,
  },
  {
    name: 'collectsyscall',
    args: () => [String(process.pid), '--duration', '2'],
    trigger: () => process.kill(process.pid, 0),
    shows: new RegExp(`^${process.pid} +\\S.* kill +[1-9]\\d* +\\d+\\.\\d{3}$`, 'm'),
  },
  { name: 'syscalluname', trigger: () => spawnSync('uname'), shows: /^uname +\d+ +\d+\.\d+\S*$/m },
  {
    name: 'kvm-hypercall',
    need: { when: existsSync(KVM), reason: 'no tracepoints of KVM here' },
    args: ['--duration', '1'],
    shows: /^TIME\(s\) +PID +EVENT\n/,
  },
  {
    name: 'dddos',
    args: ['20', '--count', '2'],
    trigger: () => sendTo(9, 'x', 200),
    shows: /^\S+Z +flood: 20 packets, each within 1 ms of the one before$/m,
  },
  {
    name: 'dns-blocker',
    args: ['lo', 'example.com', '--count', '2'],
    trigger: () => sendTo(53, query),
    shows: /^(dropped query 1234 for example\.com from 127\.0\.0\.1\n){2}$/m,
  },
  {
    name: 'lsm-sockblock',
    need: 'lsm',
    args: ['block', '--count', '1'],
    trigger: () => spawnSync(PYTHON, ['-c', 'import socket; socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)']),
    shows: /^python3\S* \(\d+\) AF_ALG type 5: forbidden$/m,
  },
  {
    name: 'http-parse-simple',
    trigger: () => get({ port: serverPort, path: '/from-a-test' }, (answer) => answer.resume()).on('error', () => {}),
    shows: /^GET \/from-a-test HTTP\/1\.1\n(.*\n)*?HTTP\/1\.1 200 OK$/m,
  },
  {
    name: 'bashreadline',
    need: { when: existsSync('/usr/bin/script') && kernelHas('uprobes'), reason: 'no script(1), or no uprobes' },
    trigger: () =>
      spawnSync('script', ['-qfc', 'bash --norc -i', '/dev/null'], {
        input: 'echo typed\n',
        stdio: ['pipe', 'ignore', 'ignore'],
      }),
    shows: /^\d\d:\d\d:\d\d +\d+ +echo typed$/m,
  },
  { name: 'runqlat', args: ['--duration', '1'], shows: /^ +usecs +: count +distribution\n +0 -> 1 +: \d+/m },
  { name: 'execsnoop', trigger: () => spawnSync('/bin/true'), shows: /^true +\d+ +0 +\/bin\/true$/m },
  {
    name: 'node-http',
    args: ['--count', '2'],
    shows: /^(GET \/page HTTP\/1\.1 -> HTTP\/1\.1 200 OK \d+\.\d ms\n){2}$/m,
  },
  {
    name: 'cgroup-device',
    need: 'cgroup2',
    ends: true,
    shows: /^\/dev\/random: read\n\/dev\/urandom: .*Operation not permitted\n\/dev\/urandom, detached: read$/m,
  },
];

for (const { name, args = [], need, trigger = () => {}, shows, ends = false } of EXAMPLES) {
  itIf(
    need ?? { when: true, reason: '' },
    `${name} shows what it is for`,
    async () => {
      const list = typeof args === 'function' ? args() : args;
      const until = ends || list.some((arg) => arg.startsWith('--')) ? undefined : shows;
      const { stdout, stderr, code } = await runExample(name, list, trigger, until);
      expect({ stdout, stderr, code }).toEqual({
        stdout: expect.stringMatching(shows),
        stderr: expect.anything(),
        code: 0,
      });
    },
    SCRIPT_TIMEOUT,
  );
}

itIf(
  'bpffs',
  'pin-maps-a pins maps that pin-maps-b opens, and takes the pins away again',
  async () => {
    const pins = `/sys/fs/bpf/tsbcc-test-${process.pid}`;
    let second = '';
    const trigger = () => {
      if (!existsSync(`${pins}/total`)) return;
      const run = spawnSync(process.execPath, [path.join(ROOT, 'build/examples/pin-maps-b.js'), pins], {
        encoding: 'utf8',
      });
      second += run.stdout;
    };
    const { stdout, code } = await runExample('pin-maps-a', [pins], trigger, /^execve total: (?!1$)\d+$/m);
    expect(code).toBe(0);
    expect(stdout).toContain(`Pinned by_pid and total in ${pins}`);
    expect(second).toMatch(/^total: \d+\n(pid \d+: \d+\n)*total after mine: \d+, of which 1 by pid \d+$/m);
    expect(existsSync(pins)).toBe(false);
  },
  SCRIPT_TIMEOUT,
);

it('every example is run by a test', () => {
  const text = readFileSync(__filename, 'utf8');
  for (const file of readdirSync(path.join(ROOT, 'examples')).filter((name) => name.endsWith('.ts'))) {
    expect(text).toMatch(new RegExp(`['/]${path.basename(file, '.ts')}['.]`));
  }
});

it('a limit that is no number is refused', async () => {
  const { stderr, code } = await runExample('hello-world', ['--count', 'three'], () => {});
  expect(stderr).toBe("--count takes a number above 0, not 'three'\n");
  expect(code).toBe(2);
});
