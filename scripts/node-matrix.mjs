/*
 * The tests under other releases of Node.js, with the very addons that are built: Node-API promises that one build serves
 * them all.
 *
 *   node scripts/node-matrix.mjs [--node VERSION]... [--all] [--reports FOLDER] [-- jest's arguments]
 *
 * Each Node comes from the npm registry, as what the package `node` installs, into build/node/. Without --node they are
 * the supported ones but for the one that runs this. --all takes every unit and kernel test instead of those that depend
 * on Node the most. Each leaves jest's results as node-VERSION.json in the folder, build/test by default.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const SUPPORTED = ['20', '22', '24', 'latest'];
/** Native classes of every kind, the event loop, ends of processes and threads, frames of JavaScript, ref. */
const KERNEL_TESTS = [
  'javascript-stack',
  'leaving-nothing',
  'network',
  'perf-events',
  'ring-events',
  'symbols',
  'table-hash',
  'table-kinds',
  'table-ref',
  'usdt',
].map((name) => `test/kernel/${name}.test.ts`);

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const separator = process.argv.indexOf('--');
const { values } = parseArgs({
  args: process.argv.slice(2, separator < 0 ? undefined : separator),
  options: {
    node: { type: 'string', multiple: true },
    all: { type: 'boolean', default: false },
    reports: { type: 'string', default: path.join(root, 'build', 'test') },
  },
});
const reports = path.resolve(values.reports);

/** The path of a Node of this version, installed where it is not there yet. */
function getNode(version) {
  // The package `node` does nothing but install this one, in an install script that npm may be told not to run.
  const name = `node-linux-${process.arch}`;
  const folder = path.join(root, 'build', 'node', version);
  const installed = path.join(folder, 'node_modules', name);
  if (!existsSync(path.join(installed, 'bin', 'node'))) {
    mkdirSync(folder, { recursive: true });
    const args = ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', '--ignore-scripts'];
    const { status } = spawnSync('npm', [...args, `${name}@${version}`], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    if (status !== 0) throw new Error(`npm could not install ${name}@${version}`);
  }
  return {
    program: path.join(installed, 'bin', 'node'),
    release: JSON.parse(readFileSync(path.join(installed, 'package.json'), 'utf8')).version,
  };
}

function jestArguments() {
  if (separator >= 0) return process.argv.slice(separator + 1);
  return ['test/unit', ...(values.all ? ['test/kernel'] : KERNEL_TESTS)];
}

/** @returns {boolean} whether the tests ran and passed */
function testUnder(version) {
  const { program, release } = getNode(version);
  const name = version === 'latest' ? release.split('.')[0] : version;
  const report = path.join(reports, `node-${name}.json`);
  rmSync(report, { force: true });
  const began = Date.now();
  // One file at a time, as in npm test: kernel tests share the machine's one trace_pipe.
  const { status } = spawnSync(
    program,
    ['node_modules/jest/bin/jest.js', '--runInBand', '--json', '--outputFile', report, ...jestArguments()],
    // Programs that tests start by the name of node are of this version, too.
    {
      cwd: root,
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, PATH: `${path.dirname(program)}:${process.env.PATH}` },
    },
  );
  if (!existsSync(report)) {
    console.log(`Node ${release}: jest ended with status ${status} and left no report`);
    return false;
  }
  const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(report, 'utf8'));
  const seconds = ((Date.now() - began) / 1000).toFixed(0);
  console.log(
    `Node ${release}: ${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped, ${seconds} s`,
  );
  return status === 0;
}

mkdirSync(reports, { recursive: true });
const ours = process.versions.node.split('.')[0];
const versions = values.node ?? SUPPORTED.filter((version) => version !== ours);
const passed = versions.map(testUnder);
process.exitCode = passed.every(Boolean) ? 0 : 1;
