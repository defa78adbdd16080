/*
 * The parts of `npm test`, one after the other, and their counts. Each part of jest leaves its results as JSON; the last
 * line adds them all up. Arguments are jest's, and then jest is all that runs.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { NO_REASON, newSkips } from './skips.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const reports = path.join(root, 'build', 'test');
const bin = (name) => path.join(root, 'node_modules', '.bin', name);
const isRoot = process.geteuid() === 0;

/** Tests of the compiler itself and of caches of their own: from the cache they would be the first run once more. */
const NOT_FROM_CACHE = 'test/kernel/(cache|compiler|vm-compile)\\.test';

/** A fiftieth of what scripts/soak.mjs does by default. */
const SOAK = ['--rounds', '100', '--compiled', '5', '--llvm', '3', '--events', '2000000', '--perf-events', '100000'];

const NOT_ROOT = 'not root, and sudo is not to be had';

const total = { passed: 0, failed: 0 };
/** Skipped tests: each with the part and the file it belongs to, and the reason. */
const skipped = [];
const failures = [];

function run(program, args) {
  return spawnSync(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] }).status ?? 1;
}

function heading(text) {
  console.log(`\n== ${text}`);
}

function fail(where, name) {
  total.failed++;
  failures.push(`${where}: ${name}`);
}

/** A check that is one program and passes or fails as a whole. */
function check(name, program, args, { asRoot = false } = {}) {
  heading(name);
  const prefix = asRoot ? rootPrefix() : [];
  if (!prefix) {
    skipped.push({ part: name, file: '', title: 'all of it', reason: NOT_ROOT });
    return;
  }
  const [command, ...rest] = [...prefix, program, ...args];
  if (run(command, rest) === 0) total.passed++;
  else fail(name, [path.basename(program), ...args].join(' '));
}

/** Adds one of jest's JSON reports to the counts. */
function addReport(part, file) {
  for (const suite of JSON.parse(readFileSync(file, 'utf8')).testResults) {
    const name = path.basename(suite.name);
    const where = `${part}, ${name}`;
    if (suite.status === 'failed' && suite.assertionResults.length === 0) fail(where, 'the file could not be run');
    for (const { status, fullName } of suite.assertionResults) {
      if (status === 'passed') total.passed++;
      else if (status === 'failed') fail(where, fullName);
      else {
        const [, title, reason] = /^(.*?) ?\[skipped: ([^\]]*)\]/.exec(fullName) ?? ['', fullName, NO_REASON];
        skipped.push({ part, file: name, title, reason });
      }
    }
  }
}

/** Tests that load programs need root; sudo is used where it asks for nothing that cannot be answered. */
function rootPrefix() {
  if (isRoot) return [];
  const able = spawnSync('sudo', [process.stdin.isTTY ? '-v' : '-nv'], { stdio: 'inherit' }).status === 0;
  return able ? ['sudo', '-E', `PATH=${process.env.PATH}`] : undefined;
}

function jest(part, args, { asRoot = false, env = {} } = {}) {
  heading(part);
  const prefix = asRoot ? rootPrefix() : [];
  if (!prefix) {
    skipped.push({ part, file: '', title: 'all tests', reason: NOT_ROOT });
    return;
  }
  const report = path.join(reports, `${part.replace(/\W+/g, '-')}.json`);
  // A test that failed may leave a child behind, for which jest would wait without end.
  const flags = ['--forceExit', '--json', `--outputFile=${report}`];
  const command = [...prefix, process.execPath, bin('jest'), ...flags, ...args];
  // jest tells its progress on stderr, and the JSON once more on stdout.
  const { status } = spawnSync(command[0], command.slice(1), {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ...env },
  });
  if (!existsSync(report)) fail(part, `jest ended with status ${status} and left no report`);
  else addReport(part, report);
}

/** Programs that run tests elsewhere, under other kernels or Nodes: each leaves jest's reports, PREFIX-….json. */
function runners(part, prefix, files, { asRoot = false } = {}) {
  heading(part);
  const command = asRoot ? rootPrefix() : [];
  if (!command) {
    skipped.push({ part, file: '', title: 'all tests', reason: NOT_ROOT });
    return;
  }
  const before = total.failed;
  const failed = files.filter((file) => {
    const [program, ...args] = [...command, process.execPath, file, '--reports', reports];
    return run(program, args) !== 0;
  });
  for (const file of readdirSync(reports).filter((name) => name.startsWith(`${prefix}-`) && name.endsWith('.json'))) {
    addReport(path.basename(file, '.json'), path.join(reports, file));
  }
  if (total.failed === before) for (const file of failed) fail(part, `${file} did not end well`);
}

/** A test that is no longer run is as bad as one that fails: each skip must be foreseen in test/skips.json. */
function checkSkips() {
  const unforeseen = newSkips(skipped);
  if (unforeseen.length === 0) return;
  heading('skipped, and not foreseen in test/skips.json');
  for (const { part, file, title, reason } of unforeseen) console.log(`    ${part}, ${file}: ${title} (${reason})`);
  // By hand it is worth a word only: somebody's machine may lack what the list takes for granted.
  if (process.env.CI) for (const { part, file, title } of unforeseen) fail(`${part}, ${file}`, `${title} was skipped`);
}

function summary() {
  if (skipped.length > 0) {
    heading('skipped');
    for (const reason of [...new Set(skipped.map((skip) => skip.reason))].sort()) {
      const skips = skipped.filter((skip) => skip.reason === reason);
      console.log(`${reason} (${skips.length}):`);
      for (const { part, file, title } of skips) console.log(`    ${part}, ${file}: ${title}`);
    }
  }
  checkSkips();
  if (failures.length > 0) {
    heading('failed');
    for (const failure of failures) console.log(`    ${failure}`);
  }
  console.log(`\n${total.passed} passed, ${total.failed} failed, ${skipped.length} skipped`);
  process.exitCode = total.failed === 0 ? 0 : 1;
}

const args = process.argv.slice(2);
if (args.length > 0) {
  process.exitCode = run(process.execPath, [bin('jest'), ...args]);
} else {
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports, { recursive: true });
  check('layout and lint of the TypeScript', bin('biome'), ['check', '.']);
  check('layout of the C++', 'bash', ['scripts/clang-format', '--check']);
  check('types', bin('tsc'), ['--noEmit']);
  jest('unit tests', ['test/unit', 'test/headers', '--maxWorkers=2']);
  check('fuzzing', process.execPath, ['test/fuzz/main.cjs', '--runs', '2500', '--seed', '1']);
  // One at a time: they share the machine's one trace_pipe, its interfaces and its cgroups.
  // First with an empty cache of compiled programs; then once more, with the programs from the cache.
  const env = { XDG_CACHE_HOME: path.join(root, 'build', 'test-cache') };
  rmSync(env.XDG_CACHE_HOME, { recursive: true, force: true });
  jest('kernel tests', ['test/kernel', '--runInBand'], { asRoot: true, env });
  const cache = [path.join(env.XDG_CACHE_HOME, 'tsbcc', 'programs'), path.join(reports, 'cache')];
  check('programs for a second run', process.execPath, ['scripts/cache-use.mjs', 'note', ...cache], { asRoot: true });
  const second = ['test/kernel', '--testPathIgnorePatterns', NOT_FROM_CACHE, '--runInBand'];
  jest('kernel tests, compiled programs from the cache', second, { asRoot: true, env });
  check('programs from the cache', process.execPath, ['scripts/cache-use.mjs', 'check', ...cache], { asRoot: true });
  jest('package', ['test/package', '--runInBand'], { asRoot: true });
  check('sanitizers', process.execPath, ['scripts/sanitize.mjs', '--leak-rounds', '10'], { asRoot: true });
  check('valgrind', process.execPath, ['scripts/valgrind.mjs'], { asRoot: true });
  check('soak', process.execPath, ['scripts/soak.mjs', ...SOAK], { asRoot: true });
  runners('other releases of Node.js', 'node', ['scripts/node-matrix.mjs'], { asRoot: true });
  runners('virtual machines', 'vm', ['test/vm/run.mjs', 'test/vm/ahead-of-time.mjs', 'test/headers/other-kernels.mjs']);
  summary();
}
