#!/usr/bin/env node
/*
 * A program compiled ahead of time: `tsbcc compile` on this machine for the kernel of a VM, and a load there, where there
 * are neither headers nor a compiler: node test/vm/ahead-of-time.mjs [--reports FOLDER] [--kernel VERSION]
 *
 * A report in jest's form, vm-ahead-of-time-VERSION.json, is left for npm test.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { projectFolder, runInVm } from '../../scripts/vm/boot.mjs';
import { getKernel } from '../../scripts/vm/kernels.mjs';

const { values } = parseArgs({
  options: { reports: { type: 'string' }, kernel: { type: 'string', default: '6.1' } },
});
const { BCC } = createRequire(import.meta.url)('../../lib/index.js');
const file = (name) => fileURLToPath(new URL(name, import.meta.url));
const results = [];

function record(fullName, check) {
  try {
    const fault = check();
    results.push({ status: fault ? 'failed' : 'passed', fullName, failureMessages: fault ? [fault] : [] });
  } catch (error) {
    results.push({ status: 'failed', fullName, failureMessages: [error.stack] });
  }
}

const kernel = await getKernel(values.kernel);
const folder = mkdtempSync(join(tmpdir(), 'tsbcc-ahead-'));
try {
  const source = file('ahead-of-time.c');
  const program = join(folder, 'program.tsbcc');
  const here = spawnSync(
    process.execPath,
    [
      ...[join(projectFolder, 'lib/cli/main.js'), 'compile', source, '-o', program],
      ...['--kernel-release', kernel.release, '--kernel-btf', kernel.btf, '--no-cache'],
    ],
    { encoding: 'utf8' },
  );
  record(`tsbcc compile makes a program for ${kernel.release} here`, () => here.status !== 0 && here.stderr);
  record('this kernel refuses it, and says why', () => {
    try {
      new BCC({ program }).close();
      return 'it was loaded';
    } catch ({ code, message }) {
      return code !== 'ERR_BCC_PROGRAM_KERNEL' || !message.includes(kernel.release) ? message : undefined;
    }
  });
  record('with its text besides it is compiled for this kernel', () => {
    const b = new BCC({ program, srcFile: source, cache: false });
    const { compiledBy } = b;
    b.close();
    return compiledBy !== 'process' && compiledBy;
  });
  let output = '';
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      output += chunk;
      done();
    },
  });
  const { status } = await runInVm({
    kernel: values.kernel,
    command: [process.execPath, file('load-ahead-of-time.mjs'), program],
    env: { TSBCC_COMPILER: '/nonexistent/compiler' },
    shares: [folder],
    timeout: 300,
    stdout,
  });
  record('the VM ran it', () => status !== 0 && `status ${status}\n${output}`);
  if (status === 0) for (const [fullName, fault] of JSON.parse(output)) record(fullName, () => fault);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
for (const { status, fullName, failureMessages } of results) {
  process.stdout.write(`${status === 'passed' ? '✓' : '✕'} ${values.kernel}: ${fullName}\n`);
  for (const message of failureMessages) process.stdout.write(`  ${message}\n`);
}
if (values.reports !== undefined) {
  const report = { testResults: [{ name: 'ahead-of-time.mjs', status: 'passed', assertionResults: results }] };
  writeFileSync(join(values.reports, `vm-ahead-of-time-${values.kernel}.json`), JSON.stringify(report));
}
process.exitCode = results.every(({ status }) => status === 'passed') ? 0 : 1;
