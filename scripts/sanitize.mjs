/*
 * The native code under the address and undefined-behaviour sanitizers, and what it leaks (as root):
 *
 *   npm run sanitize -- [--all] [--leak-rounds N] [-- jest's arguments]
 *
 * Builds the addons with the sanitizers into build/sanitize, makes sure that a mistake does leave a report, runs kernel
 * tests (a file for each native class; with --all every kernel and unit test), and then compiles, loads, attaches, reads
 * and closes N times (20) under the leak checker, the compiler among it. Ends with status 1 where a test fails or any
 * process left a report. The last step's reports stay in build/sanitize/reports.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const KERNEL_TESTS = [
  'cgroup',
  'facade',
  'grace-periods',
  'network',
  'perf-event',
  'perf-reader',
  'ring-reader',
  'symbols',
  'table-hash',
  'table-kinds',
  'table-pin',
  'tracepoint',
  'uprobe',
].map((name) => `test/kernel/${name}.test.ts`);

/** They start what loads no addon and is at odds with the sanitizers' library: a browser. */
const LEFT_OUT = ['test/unit/flamegraph'];
/** It counts calls of libc's malloc in a process whose malloc is the sanitizers'. */
const LEFT_OUT_TESTS = '^(?!mallocstack )';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const build = path.join(root, 'build', 'sanitize');
const reports = path.join(build, 'reports');
const separator = process.argv.indexOf('--');
const { values } = parseArgs({
  args: process.argv.slice(2, separator < 0 ? undefined : separator),
  options: { all: { type: 'boolean', default: false }, 'leak-rounds': { type: 'string', default: '20' } },
});

let failed = false;

function verdict(name, ok, figures) {
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name}: ${figures}`);
  if (!ok) failed = true;
}

function buildAddons() {
  // cmake-js fetches Node's headers unless it is told where they are: often beside Node itself.
  const nodedir = path.dirname(path.dirname(realpathSync(process.execPath)));
  const headers = existsSync(path.join(nodedir, 'include/node/node_api.h')) && { npm_config_nodedir: nodedir };
  const { status, stdout, stderr } = spawnSync(
    path.join(root, 'node_modules/.bin/cmake-js'),
    ['compile', '--out', build, '--CDTSBCC_SANITIZE=ON'],
    { cwd: root, encoding: 'utf8', env: { ...headers, ...process.env } },
  );
  if (status !== 0) throw new Error(`cmake-js could not build the addons:\n${stdout}${stderr}`);
}

/**
 * Tests give the compiler text on which clang, LLVM or libbcc end the process; they are the distribution's, not checked
 * here, and to be seen as a CompileError by the test.
 */
const FOREIGN_CRASH = /AddressSanitizer: SEGV .*\n(?:==.*\n)*\s+#0 .*\/lib(?:clang-cpp|LLVM|bcc)[-.\d]*\.so/;

const library = (name) => execFileSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();

/** Runs Node with the sanitizers' addons; what it printed, its status, and the reports that it and its children left. */
function run(args, { leaks = false, preload = [], env = {} } = {}) {
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports, { recursive: true });
  const options = [`log_path=${path.join(reports, 'report')}`, 'print_stacktrace=1'];
  const result = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: Number.POSITIVE_INFINITY,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      ...env,
      LD_PRELOAD: [library('libasan.so'), ...preload].join(' '),
      ASAN_OPTIONS: [...options, `detect_leaks=${leaks ? 1 : 0}`].join(':'),
      LSAN_OPTIONS: `suppressions=${path.join(root, 'test', 'leaks.supp')}:print_suppressions=0:exitcode=0`,
      // Beside libasan its reports go to stderr only, whatever log_path says: what makes one must not live on unseen.
      UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1:abort_on_error=1',
      TSBCC_RUNTIME_ADDON: path.join(build, 'Release', 'runtime.node'),
      TSBCC_COMPILER: path.join(build, 'compiler'),
    },
  });
  const found = readdirSync(reports)
    .map((file) => readFileSync(path.join(reports, file), 'utf8'))
    .filter((report) => !FOREIGN_CRASH.test(report));
  if (/: runtime error: /.test(result.stderr)) found.push(result.stderr);
  return { ...result, found };
}

/** A report is worth nothing if none would have come. */
function control() {
  const source = path.join(root, 'test', 'fixtures', 'sanitizers.cc');
  const mistakes = path.join(build, 'mistakes.so');
  execFileSync('g++', ['-shared', '-fPIC', '-g', '-fsanitize=address,undefined', '-o', mistakes, source]);
  for (const [name, wanted] of [
    ['overflow', /heap-buffer-overflow/],
    ['undefined', /signed integer overflow/],
    ['leak', /detected memory leaks/],
  ]) {
    const { found } = run(['-e', ''], { leaks: true, preload: [mistakes], env: { MISTAKE: name } });
    verdict(`a made mistake, ${name}`, wanted.test(found.join('')), found.length > 0 ? 'reported' : 'no report');
  }
}

function show(found) {
  for (const report of found) console.log(report.split('\n').slice(0, 60).join('\n'));
}

function suites() {
  const own = separator < 0 ? undefined : process.argv.slice(separator + 1);
  const tests = own ?? (values.all ? ['test/unit', 'test/kernel'] : KERNEL_TESTS);
  const results = path.join(build, 'tests.json');
  rmSync(results, { force: true });
  const jest = [
    'node_modules/jest/bin/jest.js',
    '--runInBand',
    '--testTimeout',
    '300000',
    '--testNamePattern',
    LEFT_OUT_TESTS,
    '--testPathIgnorePatterns',
    ...LEFT_OUT,
  ];
  const { status, found, stderr } = run([...jest, '--json', '--outputFile', results, '--', ...tests]);
  if (status !== 0) console.log(stderr);
  const ran = existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')) : {};
  const { numPassedTests: passed = 0, numFailedTests = 0, numPendingTests = 0 } = ran;
  show(found);
  verdict(
    values.all ? 'unit and kernel tests' : 'kernel tests',
    status === 0 && passed > 0 && found.length === 0,
    `${passed} passed, ${numFailedTests} failed, ${numPendingTests} skipped; reports: ${found.length}`,
  );
}

function leaks(name, program, job) {
  const args = ['--expose-gc', path.join('test', 'soak', `${program}.mjs`), JSON.stringify(job)];
  const { status, found, stderr } = run(args, { leaks: true });
  if (status !== 0) console.log(stderr);
  show(found);
  verdict(name, status === 0 && found.length === 0, `reports: ${found.length}`);
}

buildAddons();
control();
suites();
const rounds = Number(values['leak-rounds']);
if (rounds > 0) {
  leaks(`leaks of ${rounds} rounds`, 'rounds', { rounds, cache: true });
  leaks('leaks of 3 rounds with a compiler run', 'rounds', { rounds: 3, cache: false });
}
process.exitCode = failed ? 1 : 0;
