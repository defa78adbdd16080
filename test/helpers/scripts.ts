import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, fsyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { stopProcess } from './processes';

export const ROOT = path.join(__dirname, '../..');

/** In the VMs a compilation alone takes up to half a minute. */
export const SCRIPT_TIMEOUT = 240_000;

/** What a program printed, and how it ended. */
export interface Outcome {
  stdout: string;
  stderr: string;
  code: number | null;
}

/** For a file of tests that run whole programs of the checkout. */
export interface Scripts {
  /** Of this file alone, below the checkout's build/: on a disk, where /tmp may be in memory. */
  readonly folder: string;
  /**
   * Runs Node with these arguments while `work` is done again and again, until it ends by itself or its output has
   * `until`: then it is sent Ctrl-C.
   */
  run(args: readonly string[], work?: () => void, until?: RegExp): Promise<Outcome>;
  /** Ends this process with the test. */
  end(child: ChildProcess): void;
  /** Makes a request of 256 KiB reach the disk. */
  writeToDisk(): void;
}

/** Builds what the programs need before the tests, and ends what still runs after each. */
export function useScripts(name: string): Scripts {
  let folder = '';
  const running: ChildProcess[] = [];
  beforeAll(() => {
    execFileSync(process.execPath, [path.join(ROOT, 'scripts/build.mjs')], { stdio: ['ignore', 'ignore', 'inherit'] });
    folder = mkdtempSync(path.join(ROOT, 'build', `${name}-test-`));
  }, SCRIPT_TIMEOUT);
  afterEach(async () => {
    for (const child of running.splice(0)) await stopProcess(child);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return {
    get folder() {
      return folder;
    },
    end: (child) => running.push(child),
    run: (args, work = () => {}, until) =>
      new Promise((resolve, reject) => {
        const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
        running.push(child);
        const outcome = { stdout: '', stderr: '' };
        const timer = setInterval(work, 200);
        let interrupted = false;
        child.stdout.on('data', (chunk) => {
          outcome.stdout += chunk;
          if (interrupted || !until?.test(outcome.stdout)) return;
          interrupted = true;
          child.kill('SIGINT');
        });
        child.stderr.on('data', (chunk) => {
          outcome.stderr += chunk;
        });
        child.on('error', reject);
        child.on('close', (code) => {
          clearInterval(timer);
          resolve({ ...outcome, code });
        });
      }),
    writeToDisk: () => {
      const fd = openSync(path.join(folder, 'data'), 'w');
      writeSync(fd, Buffer.alloc(1 << 18, 'x'));
      fsyncSync(fd);
      closeSync(fd);
    },
  };
}

const onDisk = readFileSync('/proc/mounts', 'utf8')
  .split('\n')
  .some((line) => /^\/dev\/\S+ \/ /.test(line));

/** What tests of disk requests need. */
export const DISK = { when: onDisk, reason: 'the root filesystem is on no block device' };
