import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { requireRoot } from '../helpers';

requireRoot();

const main = path.join(__dirname, '..', '..', 'lib', 'cli', 'main.js');
const tsbcc = (args: string[], input = '') =>
  spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', input, timeout: 60_000 });

const PROGRAM = `
struct event { u32 pid; char comm[16]; };
BPF_RINGBUF_OUTPUT(events, 4);
BPF_HASH(counts, u32, u64);
int tracepoint__sched__sched_process_exec(void *ctx) {
  struct event e = { .pid = bpf_get_current_pid_tgid() >> 32 };
  bpf_get_current_comm(&e.comm, sizeof(e.comm));
  events.ringbuf_output(&e, sizeof(e), 0);
  counts.increment(e.pid);
  return 0;
}
`;

let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-cli-'));
  file = path.join(folder, 'prog.c');
  writeFileSync(file, PROGRAM);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('tells its commands and tools, and more about each', () => {
  const { stdout, status } = tsbcc(['--help']);
  expect(status).toBe(0);
  for (const name of ['repl', 'run', 'doctor', 'types', 'compile', 'cache', 'execsnoop'])
    expect(stdout).toContain(`  ${name} `);
  expect(tsbcc(['run', '--help']).stdout).toMatch(/^Usage: tsbcc run \[options\] prog\.c/);
  expect(tsbcc([]).status).toBe(2);
});

it('names the nearest command or option for one that does not exist, without a stack', () => {
  const command = tsbcc(['execsnop']);
  expect([command.status, command.stderr]).toEqual([
    2,
    'tsbcc: there is no command "execsnop": did you mean execsnoop?\n',
  ]);
  const option = tsbcc(['run', '--jsonn', file]);
  expect([option.status, option.stderr]).toEqual([2, 'tsbcc: unknown option --jsonn: did you mean json?\n']);
});

it('shows a C error with its line and a caret', () => {
  const { status, stderr } = tsbcc([
    'run',
    '-e',
    'int tracepoint__sched__sched_process_exec(void *ctx) {\n  return nobody;\n}',
  ]);
  expect(status).toBe(1);
  expect(stderr).toMatch(/line 2, column 10: use of undeclared identifier 'nobody'/);
  expect(stderr).toMatch(/return nobody;\n\s+\^/);
  expect(stderr).not.toMatch(/\bat .*\.js:/);
});

it('says that a file does not exist', () => {
  const { status, stderr } = tsbcc(['run', '/no/such/prog.c']);
  expect([status, stderr]).toEqual([1, expect.stringContaining('/no/such/prog.c does not exist')]);
});

it('prints types', () => {
  const { stdout } = tsbcc(['types', file]);
  expect(stdout).toContain('export interface EventsEvent {');
  expect(stdout).toContain('comm: string;');
  expect(stdout).toContain('export type CountsLeaf = bigint;');
});

it('compiles ahead of time and runs what came out, as JSON', () => {
  const output = path.join(folder, 'prog.tsbcc');
  expect(tsbcc(['compile', file, '-o', output]).stdout).toMatch(/prog\.tsbcc: 1 functions, 2 tables/);
  const starts = 'while kill -0 $$; do /bin/true; sleep 0.1; done >/dev/null 2>&1';
  const script = `${starts} & exec "$0" "$1" run --json -d 3 "$2"`;
  const { stdout, status } = spawnSync('/bin/sh', ['-c', script, process.execPath, main, output], { encoding: 'utf8' });
  expect(status).toBe(0);
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines).toContainEqual({ table: 'events', event: { pid: expect.any(Number), comm: 'true' } });
  expect(lines).toContainEqual({ table: 'counts', entry: { key: expect.any(Number), leaf: expect.any(Number) } });
});

it('tells what the machine can do, and whether hello would run', () => {
  const { stdout, status } = tsbcc(['doctor', '--json']);
  const findings = JSON.parse(stdout) as { name: string; state: string; remedy?: string }[];
  expect(status).toBe(findings.some(({ state }) => state === 'missing') ? 1 : 0);
  expect(findings.find(({ name }) => name === 'runtime')?.state).toBe('ok');
  expect(findings.filter(({ state, remedy }) => state !== 'ok' && !remedy)).toEqual([]);
});

it('says what it could not try for want of privileges, and that hello would not run', () => {
  const without = ['--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all'];
  const { stdout, status } = spawnSync('setpriv', [...without, process.execPath, main, 'doctor', '--json'], {
    encoding: 'utf8',
  });
  const findings = JSON.parse(stdout) as { name: string; state: string; what: string }[];
  const stateOf = (wanted: string) => findings.find(({ name }) => name === wanted)?.state;
  expect(status).toBe(1);
  expect(stateOf('privileges')).toBe('missing');
  expect(findings.find(({ name }) => name === 'features')?.what).toMatch(/^not tried/);
  expect([stateOf('ring buffers'), stateOf('tracepoints')]).toEqual([undefined, undefined]);
});

it('lists the cache', () => {
  expect(tsbcc(['cache']).stdout).toMatch(/\d+ programs, \d+ bytes in /);
});

it('explores a program in a REPL, and detaches everything on leaving', () => {
  const typed = ['.probes', '.tables', 'b.table("counts").set(1, 2n).get(1)', '.stack 1'];
  const { stdout, status } = tsbcc(['repl', file], `${typed.join('\n')}\n.exit\n`);
  expect(status).toBe(0);
  expect(stdout).toContain('tracepoint sched:sched_process_exec → tracepoint__sched__sched_process_exec');
  expect(stdout).toMatch(/counts +HASH, key 4 bytes, leaf 8 bytes/);
  expect(stdout).toMatch(/events +RINGBUF, 16384 bytes/);
  expect(stdout).toContain('the program has no table of stacks');
  expect(stdout).toContain('2n');
});

it('ends quietly where nobody reads on', () => {
  const { stderr, status } = spawnSync('/bin/sh', ['-c', '"$0" "$1" --help | head -n 1', process.execPath, main], {
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([0, '']);
});
