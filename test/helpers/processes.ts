import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** Runs a program to its end and returns its pid; throws where it does not exit with 0. */
export function runProcess(program = '/bin/true', args: readonly string[] = []): number {
  const { pid, status, error, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} exited with ${status}: ${stderr}`);
  return pid;
}

/** Runs a program to its end and returns what it printed; throws where it does not exit with 0. */
export function outputOf(program: string, args: readonly string[] = [], input?: string): string {
  const { status, error, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', input, maxBuffer: 1 << 28 });
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} exited with ${status}: ${stderr}`);
  return stdout;
}

/** A process that sleeps until stop() is called: something to attach to by pid. */
export function sleeper(): { pid: number; stop(): Promise<void> } {
  const child = spawn('/bin/sleep', ['600'], { stdio: 'ignore' });
  if (child.pid === undefined) throw new Error('/bin/sleep did not start');
  return { pid: child.pid, stop: () => stopProcess(child) };
}

/** Kills a child and waits until it has gone. */
export function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}

/** Makes this very thread enter the kernel: `kill(own pid, 0)`, harmless, countable, `times` times. */
export function callKill(times = 1): void {
  for (let i = 0; i < times; i++) process.kill(process.pid, 0);
}

/** Polls until `condition` holds; throws, naming `what`, where that takes longer than `timeoutMs`. */
export async function waitFor(what: string, condition: () => boolean, timeoutMs = 20_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Runs `body` with a folder of its own, which is removed afterwards. */
export async function withTempDir<T>(body: (folder: string) => T | Promise<T>): Promise<T> {
  const folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-test-'));
  try {
    return await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
