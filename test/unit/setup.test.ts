/** scripts/setup on a machine that is made up: its package manager and all else that would change the real one. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsbcc-setup-'));
  for (const harmless of ['node', 'mount', 'apt-get']) fake(harmless, `echo ${harmless} "$@" >>${folder}/calls`);
  fake('id', 'echo 0');
});

afterEach(() => rmSync(folder, { recursive: true }));

function fake(name: string, script: string): void {
  writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(folder, name), 0o755);
}

function setup(...args: string[]) {
  const env = { ...process.env, PATH: `${folder}:${process.env.PATH}` };
  const { status, stderr } = spawnSync('bash', ['scripts/setup', ...args], { env, encoding: 'utf8' });
  const calls = readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n');
  return { status, stderr, calls, installed: calls.filter((call) => call.startsWith('apt-get install')).join() };
}

describe('scripts/setup', () => {
  test('installs what dpkg has never heard of, which makes dpkg-query fail', () => {
    fake('dpkg-query', 'echo installed g++; echo installed make; echo not-installed python3; exit 1');
    const { status, stderr, installed } = setup();
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(installed).toMatch(/ libbpfcc-dev/);
    expect(installed).toMatch(/ python3/);
    expect(installed).not.toMatch(/g\+\+|make/);
  });

  test('asks the package manager for nothing where everything is there', () => {
    fake('dpkg-query', 'shift 2; for name; do echo installed "$name"; done');
    const { status, calls, installed } = setup('--test', '--vm');
    expect({ status, installed }).toEqual({ status: 0, installed: '' });
    expect(calls).toContain('node scripts/build.mjs');
  });
});
