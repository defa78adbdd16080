#!/usr/bin/env node
/*
 * The corpus on the kernels of stock distributions: node test/headers/other-kernels.mjs [--compare all|some|none]
 * [--reports FOLDER] [KERNEL...]
 *
 * Each program is compiled here from the kernel's BTF and loaded by that kernel in a VM. For those that are compared it
 * is also compiled with the kernel's header packages: both ways must give the same instructions, and so the same
 * offsets. A report in jest's form, vm-headers-KERNEL.json, is left for npm test.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { requireSource } from '../../scripts/bundle.mjs';
import { runInVm } from '../../scripts/vm/boot.mjs';
import { joinHeaders } from '../../scripts/vm/compile-server.mjs';
import { getHeaders } from '../../scripts/vm/headers.mjs';
import { getKernel, kernelNames } from '../../scripts/vm/kernels.mjs';
import { programType, readCorpus } from './corpus.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = join(here, '..', '..');
const { obtainProgram, writeProgramFile } = requireSource('program/cache');

const { values, positionals } = parseArgs({
  options: { compare: { type: 'string', default: 'some' }, reports: { type: 'string' } },
  allowPositionals: true,
});
/** 'some' compares every so-many-th program: compiling with installed headers takes seconds. */
const STRIDE = { all: 1, some: 7, none: Number.POSITIVE_INFINITY }[values.compare];
if (STRIDE === undefined) throw new Error(`--compare wants all, some or none, not ${values.compare}`);
const corpus = readCorpus(join(here, 'corpus'));

/** LINUX_VERSION_CODE, which the packages' release does not tell. */
function versionCode({ build }) {
  const text = readFileSync(join(build, 'include/generated/uapi/linux/version.h'), 'utf8');
  return Number(/LINUX_VERSION_CODE (\d+)/.exec(text)[1]);
}

async function compile(text, headers, kernel, cflags) {
  const request = { text, prelude: '', cflags, debug: 0, allowRlimit: true, device: undefined, headers, kernel };
  return (await obtainProgram({ ...request, countLost: false }, true)).program;
}

/** A function's instructions as text: maps by name, everything else as it is. */
function instructions({ insns, relocations }) {
  const maps = new Map(relocations.map(({ insn, table }) => [insn, table]));
  return Array.from({ length: insns.length / 8 }, (_, i) =>
    maps.has(i) ? `map ${maps.get(i)}` : Buffer.from(insns.subarray(i * 8, i * 8 + 8)).toString('hex'),
  );
}

/** How two compilations of one program differ; undefined where they are the same. */
function difference(fromBtf, fromHeaders) {
  for (const fn of fromBtf.functions) {
    const other = fromHeaders.functions.find(({ name }) => name === fn.name);
    if (!other) return `${fn.name} is missing`;
    const [a, b] = [instructions(fn), instructions(other)];
    const at = a.findIndex((line, i) => line !== b[i]);
    if (at >= 0 || a.length !== b.length) return `${fn.name}, instruction ${at}: BTF ${a[at]}, headers ${b[at]}`;
  }
  return undefined;
}

/** Runs `task` over all items, as many at a time as there are processors. */
async function inParallel(items, task) {
  const queue = [...items.entries()];
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) await task(next[1], next[0]);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

async function testKernel(name) {
  const results = [];
  const record = (status, fullName, message) => {
    results.push({ status, fullName, failureMessages: message ? [message] : [] });
    if (status === 'failed') process.stdout.write(`✕ ${name}: ${fullName}\n  ${message}\n`);
  };
  const folder = mkdtempSync(join(tmpdir(), 'tsbcc-corpus-'));
  try {
    const kernel = await getKernel(name);
    const packages = STRIDE === Number.POSITIVE_INFINITY ? undefined : await getHeaders(kernel);
    const tree = packages && (await joinHeaders(packages, join(folder, 'tree')));
    const { release, btf: btfPath, config: configPath } = kernel;
    const context = { release, btfPath, configPath, ...(packages && { versionCode: versionCode(packages) }) };
    const index = [];
    await inParallel(corpus, async ({ name: program, text, functions }, position) => {
      try {
        const fromBtf = await compile(text, 'btf', context, []);
        const file = join(folder, `${program}.tsbcc`);
        writeProgramFile(file, fromBtf);
        index.push({ program, file, functions: functions.map((fn) => [fn, programType(fn)]) });
        if (position % STRIDE !== 0) return;
        const fromHeaders = await compile(text, tree, { release }, ['-include', join(here, 'newer-bpf.h'), '-w']);
        const fault = difference(fromBtf, fromHeaders);
        record(fault ? 'failed' : 'passed', `${program} has the offsets of the header packages`, fault);
      } catch (error) {
        record('failed', `${program} compiles`, error.message);
      }
    });
    writeFileSync(join(folder, 'index.json'), JSON.stringify(index));
    let output = '';
    const stdout = new Writable({
      write(chunk, _encoding, done) {
        output += chunk;
        done();
      },
    });
    const { status } = await runInVm({
      kernel: name,
      command: ['node', join(here, 'load-programs.mjs'), folder],
      shares: [folder],
      timeout: 600,
      stdout,
    });
    if (status !== 0) record('failed', 'the programs are loaded in the VM', `status ${status}\n${output}`);
    else for (const { status: each, fullName, message } of JSON.parse(output)) record(each, fullName, message);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const passed = results.filter(({ status }) => status === 'passed').length;
  process.stdout.write(`${name}: ${passed} of ${results.length} passed\n`);
  if (values.reports !== undefined) {
    const report = { testResults: [{ name: 'other-kernels.mjs', status: 'passed', assertionResults: results }] };
    writeFileSync(join(values.reports, `vm-headers-${name}.json`), JSON.stringify(report));
  }
  return passed === results.length;
}

process.chdir(root);
let sound = true;
for (const name of positionals.length > 0 ? positionals : kernelNames) sound = (await testKernel(name)) && sound;
process.exitCode = sound ? 0 : 1;
