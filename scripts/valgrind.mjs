/*
 * Memory errors and leaks of the native code as it is shipped, libbcc, libbpf and LLVM included, which the sanitizers of
 * scripts/sanitize.mjs do not instrument (as root):
 *
 *   npm run valgrind -- [--rounds N]
 *
 * Makes sure that a mistake does leave a report, and then has valgrind watch Node compile from the cache, load, attach,
 * read and close N times (2), and the compiler compile the same program. Ends with status 1 where either left a report or
 * failed. The reports stay in build/valgrind.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { shellQuote } from './vm/job.mjs';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '2' } } });

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const build = path.join(root, 'build', 'valgrind');
const REPORTED = 99;
const MEMCHECK = [
  '--leak-check=full',
  '--show-leak-kinds=definite',
  '--errors-for-leak-kinds=definite',
  `--error-exitcode=${REPORTED}`,
  // bpftool, which a round starts, is not ours: neither is the moment between fork and exec.
  '--child-silent-after-fork=yes',
];
// Valgrind 3.19 knows neither what commands of bpf(2) after Linux 5.5 write nor what arrives in mapped buffers: in Node,
// which goes on to compute with it, all of that would pass for uninitialised.
const NODE = ['--undef-value-errors=no', '--smc-check=none'];
const COMPILER = [`--suppressions=${path.join(root, 'test', 'valgrind.supp')}`];

let failed = false;

function verdict(name, ok, figures) {
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name}: ${figures}`);
  if (!ok) failed = true;
}

const logOption = (name) => `--log-file=${path.join(build, `${name}.%p.log`)}`;

function reportsOf(name) {
  const files = readdirSync(build).filter((file) => file.startsWith(`${name}.`) && file.endsWith('.log'));
  return files.map((file) => readFileSync(path.join(build, file), 'utf8'));
}

async function run(program, args, env = {}) {
  const stdio = ['ignore', 'ignore', 'inherit'];
  const [code, signal] = await once(
    spawn(program, args, { cwd: root, stdio, env: { ...process.env, ...env } }),
    'exit',
  );
  return code ?? signal;
}

/** A run without a report is worth nothing if none would have come. */
async function control() {
  const mistakes = path.join(build, 'mistakes.so');
  execFileSync('g++', ['-shared', '-fPIC', '-g', '-o', mistakes, path.join(root, 'test/fixtures/sanitizers.cc')]);
  for (const [mistake, wanted] of [
    ['overflow', /Invalid write of size 1/],
    ['leak', /are definitely lost in loss record/],
  ]) {
    const args = ['-q', ...MEMCHECK, logOption(mistake), '/bin/true'];
    const status = await run('valgrind', args, { LD_PRELOAD: mistakes, MISTAKE: mistake });
    const reported = status === REPORTED && wanted.test(reportsOf(mistake).join(''));
    verdict(`a made mistake, ${mistake}`, reported, reported ? 'reported' : `no report, status ${status}`);
  }
}

/** Judges a run that valgrind watched: it must have ended well, and every process that was watched without an error. */
function judge(name, prefix, status) {
  const reports = reportsOf(prefix);
  const clean = reports.length > 0 && reports.every((report) => /ERROR SUMMARY: 0 errors/.test(report));
  if (!clean) console.log(reports.join('\n'));
  verdict(name, status === 0 && clean, `status ${status}, ${clean ? 'no report' : 'reports as above'}`);
}

async function watchNode(rounds) {
  // Valgrind runs a copy of every instruction: the trap of a uprobe on the process itself would be part of the copy.
  const job = JSON.stringify({ rounds, cache: true, uprobe: false });
  // Without V8's compiler: machine code that is made at run time is slow to watch, and not ours.
  const node = [process.execPath, '--jitless', '--no-expose-wasm', '--expose-gc', 'test/soak/rounds.mjs', job];
  const status = await run('valgrind', [...MEMCHECK, ...NODE, logOption('node'), ...node]);
  judge(`Node, ${rounds} rounds from the cache`, 'node', status);
}

async function watchCompiler() {
  const watched = path.join(build, 'compiler');
  const program = path.join(root, 'build', 'Release', 'compiler');
  const command = ['valgrind', ...MEMCHECK, ...COMPILER, logOption('compiler'), program];
  writeFileSync(watched, `#!/bin/sh\nexec ${command.map(shellQuote).join(' ')} "$@"\n`, { mode: 0o755 });
  const job = JSON.stringify({ rounds: 1, cache: false });
  const status = await run(process.execPath, ['--expose-gc', 'test/soak/rounds.mjs', job], { TSBCC_COMPILER: watched });
  judge('the compiler', 'compiler', status);
}

rmSync(build, { recursive: true, force: true });
mkdirSync(build, { recursive: true });
await control();
await Promise.all([watchNode(Number(values.rounds)), watchCompiler()]);
process.exitCode = failed ? 1 : 0;
