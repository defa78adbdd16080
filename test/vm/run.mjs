/*
 * The kernel tests on stock distribution kernels: one VM for each, side by side.
 *
 *   node test/vm/run.mjs [--reports FOLDER] [--kernel VERSION]... [--compile host|guest] [--timeout SECONDS] [-- jest's
 *     arguments]
 *
 * Programs are compiled on the host and loaded in the VM, whose emulated processor takes twenty times as long; where the
 * host is not root, or with `--compile guest`, in the VM. Each kernel leaves jest's results as vm-VERSION.json in the
 * folder, build/test by default. The exit status is 0 where every VM ran its tests and every test passed. A VM that dies
 * is started once more: emulated processors do that by themselves.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Writable } from 'node:stream';
import { parseArgs } from 'node:util';
import { projectFolder, runInVm } from '../../scripts/vm/boot.mjs';
import { canCompile } from '../../scripts/vm/compile-server.mjs';
import { VmDied } from '../../scripts/vm/errors.mjs';
import { getHeaders } from '../../scripts/vm/headers.mjs';
import { getKernel, kernelNames } from '../../scripts/vm/kernels.mjs';

/** Where programs are compiled against packaged headers; elsewhere against what the kernel's BTF tells. */
const WITH_HEADERS = ['6.1'];
/** MiB: jest keeps every file's modules, and the compiler what it allocated, until the end. */
const MEMORY = 3072;
/** Milliseconds: what takes one second on a processor takes twenty on an emulated one, and now and then many more. */
const TEST_TIMEOUT = 1_200_000;

const separator = process.argv.indexOf('--');
const own = process.argv.slice(2, separator < 0 ? undefined : separator);
const { values } = parseArgs({
  args: own,
  options: {
    reports: { type: 'string', default: join(projectFolder, 'build', 'test') },
    kernel: { type: 'string', multiple: true, default: [...kernelNames] },
    compile: { type: 'string', default: canCompile() ? 'host' : 'guest' },
    timeout: { type: 'string', default: '3000' },
  },
});
/**
 * What these kernels add to what the machine's own shows: kprobes, fentry and LSM, older kernels' ways, and one file for
 * each family. The rest of test/kernel runs there as well, by hand: an emulated processor takes an hour for it.
 */
const TESTS = [
  'kprobe',
  'trampoline',
  'facade',
  'layouts',
  'tracepoint',
  'features',
  'ring-reader',
  'perf-reader',
  'ring-events',
  'perf-events',
  'table-hash',
  'table-array',
  'table-kinds',
  'table-storage',
  'bad-input',
  'cgroup',
].map((name) => `test/kernel/${name}.test.ts`);
const tests = separator < 0 ? TESTS : process.argv.slice(separator + 1);
const reports = resolve(values.reports);

/** Writes whole lines to stderr, each with the kernel before it. */
function prefixed(kernel) {
  let rest = '';
  return new Writable({
    write(chunk, _encoding, callback) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop();
      for (const line of lines) process.stderr.write(`${kernel.padEnd(5)}| ${line}\n`);
      callback();
    },
    final(callback) {
      if (rest) process.stderr.write(`${kernel.padEnd(5)}| ${rest}\n`);
      callback();
    },
  });
}

const ending = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => ending.abort());

/** @returns {Promise<boolean>} whether the tests ran and passed */
async function testOn(kernel) {
  const stderr = prefixed(kernel);
  const say = (line) => stderr.write(`${line}\n`);
  try {
    return await attempt(kernel, stderr, say).catch((error) => {
      if (!(error instanceof VmDied)) throw error;
      say(`${error.message}\nonce more`);
      return attempt(kernel, stderr, say);
    });
  } catch (error) {
    say(error.message);
    return false;
  } finally {
    stderr.end();
  }
}

async function attempt(kernel, stderr, say) {
  const report = join(reports, `vm-${kernel}.json`);
  rmSync(report, { force: true });
  const result = await runInVm({
    kernel,
    command: [
      ...[process.execPath, 'node_modules/.bin/jest', '--runInBand', '--ci', '--testTimeout', String(TEST_TIMEOUT)],
      ...['--json', '--outputFile', report, ...tests],
    ],
    memory: MEMORY,
    headers: WITH_HEADERS.includes(kernel),
    compile: values.compile === 'host',
    shares: [reports],
    timeout: Number(values.timeout),
    signal: ending.signal,
    progress: say,
    // jest says on stdout, as JSON, what it leaves in the file.
    stdout: new Writable({ write: (_chunk, _encoding, callback) => callback() }),
    stderr,
  });
  if (result.timedOut) say(`ended after ${values.timeout} s`);
  else say(`ended with status ${result.status} after ${result.seconds.toFixed(0)} s`);
  if (result.compiled) {
    const { programs, milliseconds } = result.compiled;
    say(`${programs} programs were compiled on the host, in ${(milliseconds / 1000).toFixed(1)} s`);
  }
  if (!existsSync(report)) say('left no report');
  return result.status === 0 && existsSync(report);
}

mkdirSync(reports, { recursive: true });
// Before the VMs, so that what is to be downloaded does not count as their time.
for (const name of values.kernel) {
  const kernel = await getKernel(name);
  if (WITH_HEADERS.includes(name)) await getHeaders(kernel);
}
const passed = await Promise.all(values.kernel.map(testOn));
process.exitCode = passed.every(Boolean) ? 0 : 1;
