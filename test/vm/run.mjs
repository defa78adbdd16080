/*
 * The kernel tests on stock distribution kernels, side by side, in several VMs one after the other for each.
 *
 *   node test/vm/run.mjs [--reports FOLDER] [--kernel VERSION]... [--shards COUNT] [--compile host|guest]
 *     [--timeout SECONDS] [-- jest's arguments]
 *
 * Programs are compiled on the host and loaded in the VM, whose emulated processor takes twenty times as long; where the
 * host is not root, or with `--compile guest`, in the VM. Each VM leaves jest's results as vm-SHARD-VERSION.json in the
 * folder, build/test by default, and is ended after the timeout. The exit status is 0 where every VM ran its tests and
 * every test passed. A VM that dies is started once more: emulated processors do that by themselves.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
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

const LONG = 'a process of Node for each test: two to five minutes for each kernel';
/** What of test/kernel is left out here, each with the reason. Everything may be named by hand. */
const LEFT_OUT = {
  cache: 'what is kept on disk, and no kernel sees',
  compiler: "the compiler's process, which asks the kernel for nothing that the others do not",
  compiling: "the compiler's messages and the user's files, compiled in the VM, which takes minutes",
  examples: LONG,
  'other-kernel': 'compiles for a kernel that is not the running one',
  shell: 'what is started, which no kernel changes; watching every exec takes an emulated processor six minutes',
  tools: LONG,
  tutorial: LONG,
  threads:
    'what one process does with its threads: several compilers at once, for which an emulated processor is no place',
  'vm-compile': "the host's side of these VMs",
  'wrong-arguments': 'more than 20,000 calls that are refused before the kernel is asked',
};

const separator = process.argv.indexOf('--');
const own = process.argv.slice(2, separator < 0 ? undefined : separator);
const { values } = parseArgs({
  args: own,
  options: {
    reports: { type: 'string', default: join(projectFolder, 'build', 'test') },
    kernel: { type: 'string', multiple: true, default: [...kernelNames] },
    shards: { type: 'string', default: separator < 0 ? '2' : '1' },
    compile: { type: 'string', default: canCompile() ? 'host' : 'guest' },
    timeout: { type: 'string', default: '1500' },
  },
});
const LEFT_OUT_PATHS = `test/kernel/(${Object.keys(LEFT_OUT).join('|')})\\.test`;
const tests =
  separator < 0 ? ['test/kernel', '--testPathIgnorePatterns', LEFT_OUT_PATHS] : process.argv.slice(separator + 1);
const shards = Number(values.shards);
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
  let passed = true;
  for (let shard = 1; shard <= shards && !ending.signal.aborted; shard++) {
    passed = (await testShard(kernel, shard, stderr)) && passed;
  }
  stderr.end();
  return passed;
}

async function testShard(kernel, shard, stderr) {
  const say = (line) => stderr.write(`${line}\n`);
  const report = join(reports, `vm-${shard}-${kernel}.json`);
  const run = (into, what) =>
    attempt(kernel, into, what, stderr, say).catch((error) => {
      if (!(error instanceof VmDied)) throw error;
      say(`${error.message}\nonce more`);
      return attempt(kernel, into, what, stderr, say);
    });
  try {
    if (await run(report, [`--shard=${shard}/${shards}`, ...tests])) return true;
    const failed = failedFiles(report);
    if (failed.length === 0 || failed.length > FEW) return false;
    say(`once more, in a VM of their own: ${failed.map((file) => basename(file)).join(', ')}`);
    const again = join(reports, `again-${shard}-${kernel}.json`);
    const passed = await run(again, failed);
    if (existsSync(again)) replaceResults(report, again);
    return passed;
  } catch (error) {
    say(error.message);
    return false;
  }
}

/**
 * An emulated processor takes minutes for seconds now and then, and what waits for it fails: a few files get a second
 * try, and their second results count. What is wrong fails twice.
 */
const FEW = 3;

function readReport(file) {
  return JSON.parse(readFileSync(file, 'utf8'));
}

function failedFiles(report) {
  if (!existsSync(report)) return [];
  return readReport(report).testResults.flatMap(({ name, status }) => (status === 'failed' ? [name] : []));
}

function replaceResults(report, again) {
  const first = readReport(report);
  const { testResults } = readReport(again);
  const names = new Set(testResults.map(({ name }) => name));
  first.testResults = [...first.testResults.filter(({ name }) => !names.has(name)), ...testResults];
  writeFileSync(report, JSON.stringify(first));
}

async function attempt(kernel, report, what, stderr, say) {
  rmSync(report, { force: true });
  const result = await runInVm({
    kernel,
    command: [
      ...[process.execPath, 'node_modules/.bin/jest', '--runInBand', '--ci', '--testTimeout', String(TEST_TIMEOUT)],
      ...['--json', '--outputFile', report, ...what],
    ],
    memory: MEMORY,
    headers: WITH_HEADERS.includes(kernel),
    compile: values.compile === 'host',
    // Of the host's cache what is too old would be taken away here, entry by entry through two file systems: minutes.
    env: { XDG_CACHE_HOME: '/run/tsbcc-cache' },
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
// What is not built here is built in every VM by the tests that run whole programs.
const { status } = spawnSync(process.execPath, [join(projectFolder, 'scripts/build.mjs')], { stdio: 'inherit' });
if (status !== 0) process.exit(1);
// Before the VMs, so that what is to be downloaded does not count as their time.
for (const name of values.kernel) {
  const kernel = await getKernel(name);
  if (WITH_HEADERS.includes(name)) await getHeaders(kernel);
}
const passed = await Promise.all(values.kernel.map(testOn));
process.exitCode = passed.every(Boolean) ? 0 : 1;
