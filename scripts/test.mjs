/*
 * The parts of `npm test`, one after the other, and their counts. Each part of jest leaves its results as JSON; the last
 * line adds them all up. Arguments are jest's, and then jest is all that runs.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const reports = path.join(root, 'build', 'test');
const bin = (name) => path.join(root, 'node_modules', '.bin', name);
const isRoot = process.geteuid() === 0;

/** The tests of whole programs, hooks and tables of every kind among them. */
const FROM_CACHE = 'test/kernel/(bcc|facade|layouts|table-macros|events|uprobe-bcc|usdt-arguments)';

const total = { passed: 0, failed: 0 };
/** Skipped tests: what was skipped where, by the reason. */
const skipped = new Map();
const failures = [];

function run(program, args) {
  return spawnSync(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] }).status ?? 1;
}

function heading(text) {
  console.log(`\n== ${text}`);
}

function skip(where, name, reason) {
  if (!skipped.has(reason)) skipped.set(reason, []);
  skipped.get(reason).push(`${where}: ${name}`);
}

function fail(where, name) {
  total.failed++;
  failures.push(`${where}: ${name}`);
}

/** A check that is one program and passes or fails as a whole. */
function check(name, program, args) {
  heading(name);
  if (run(program, args) === 0) total.passed++;
  else fail(name, [path.basename(program), ...args].join(' '));
}

/** Adds one of jest's JSON reports to the counts. */
function addReport(part, file) {
  for (const suite of JSON.parse(readFileSync(file, 'utf8')).testResults) {
    const where = `${part}, ${path.basename(suite.name)}`;
    if (suite.status === 'failed' && suite.assertionResults.length === 0) fail(where, 'the file could not be run');
    for (const { status, fullName } of suite.assertionResults) {
      if (status === 'passed') total.passed++;
      else if (status === 'failed') fail(where, fullName);
      else {
        const [, name, reason] = /^(.*?) ?\[skipped: ([^\]]*)\]/.exec(fullName) ?? ['', fullName, 'no reason given'];
        skip(where, name, reason);
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
    skip(part, 'all tests', 'not root, and sudo is not to be had');
    return;
  }
  const report = path.join(reports, `${part.replace(/\W+/g, '-')}.json`);
  const command = [...prefix, process.execPath, bin('jest'), '--json', `--outputFile=${report}`, ...args];
  // jest tells its progress on stderr, and the JSON once more on stdout.
  const { status } = spawnSync(command[0], command.slice(1), {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ...env },
  });
  if (!existsSync(report)) fail(part, `jest ended with status ${status} and left no report`);
  else addReport(part, report);
}

/** Tests on the kernels of stock distributions: each runner leaves reports vm-….json. */
function virtualMachines() {
  const runners = [path.join('test', 'vm', 'run.mjs'), path.join('test', 'headers', 'other-kernels.mjs')];
  heading('virtual machines');
  const before = total.failed;
  const failed = runners.filter((runner) => run(process.execPath, [runner, '--reports', reports]) !== 0);
  for (const file of readdirSync(reports).filter((name) => /^vm-.*\.json$/.test(name))) {
    addReport(path.basename(file, '.json'), path.join(reports, file));
  }
  if (total.failed === before) for (const runner of failed) fail('virtual machines', `${runner} did not end well`);
}

function summary() {
  if (skipped.size > 0) {
    heading('skipped');
    for (const [reason, names] of [...skipped].sort()) {
      console.log(`${reason} (${names.length}):`);
      for (const name of names) console.log(`    ${name}`);
    }
  }
  if (failures.length > 0) {
    heading('failed');
    for (const failure of failures) console.log(`    ${failure}`);
  }
  const count = [...skipped.values()].reduce((sum, names) => sum + names.length, 0);
  console.log(`\n${total.passed} passed, ${total.failed} failed, ${count} skipped`);
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
  check('fuzzing', process.execPath, ['test/fuzz/main.cjs', '--seconds', '60', '--seed', '1']);
  // One at a time: they share the machine's one trace_pipe, its interfaces and its cgroups.
  // First with an empty cache of compiled programs; then the tests that load programs once more, from the cache.
  const env = { XDG_CACHE_HOME: path.join(root, 'build', 'test-cache') };
  rmSync(env.XDG_CACHE_HOME, { recursive: true, force: true });
  jest('kernel tests', ['test/kernel', '--runInBand'], { asRoot: true, env });
  jest('kernel tests, compiled programs from the cache', [FROM_CACHE, '--runInBand'], { asRoot: true, env });
  jest('package', ['test/package', '--runInBand'], { asRoot: true });
  virtualMachines();
  summary();
}
