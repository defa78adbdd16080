import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { VmError } from './errors.mjs';

/** The Debian package of each program that the VM door calls. */
const packages = {
  'apt-cache': 'apt',
  'apt-get': 'apt',
  depmod: 'kmod',
  'dpkg-deb': 'dpkg',
  mke2fs: 'e2fsprogs',
  'qemu-system-x86_64': 'qemu-system-x86',
  xz: 'xz-utils',
  zstd: 'zstd',
};

/**
 * The error for a program that could not be started.
 * @param {string} program
 * @param {NodeJS.ErrnoException} cause
 */
export function startError(program, cause) {
  if (cause.code !== 'ENOENT') return new VmError(`cannot start ${program}: ${cause.message}`, undefined, { cause });
  const name = packages[program];
  return new VmError(`${program} is not installed`, name ? `Install it with: apt-get install ${name}` : undefined, {
    cause,
  });
}

/**
 * Runs a program to its end. Nothing goes through a shell.
 * @param {string} program
 * @param {string[]} args
 * @param {{ cwd?: string, input?: Uint8Array, env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<{ status: number | null, stdout: Buffer, stderr: string }>}
 * @throws VmError when the program is not installed
 */
export async function run(program, args, { cwd, input, env } = {}) {
  // sbin holds depmod and mke2fs, and is not in every user's PATH.
  const path = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;
  const child = spawn(program, args, { cwd, env: { ...process.env, ...env, PATH: path }, stdio: 'pipe' });
  const stdout = [];
  const stderr = [];
  child.stdout.on('data', (chunk) => stdout.push(chunk));
  child.stderr.on('data', (chunk) => stderr.push(chunk));
  // A program may end before it has read all of its input; its status tells whether that was right.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  try {
    const [status] = await once(child, 'close');
    return { status, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
  } catch (cause) {
    throw startError(program, cause);
  }
}

/**
 * Like `run`, but a status other than 0 is an error that carries what the program said.
 * @param {string} program
 * @param {string[]} args
 * @param {{ cwd?: string, input?: Uint8Array, env?: NodeJS.ProcessEnv, hint?: string }} [options]
 * @returns {Promise<Buffer>} its standard output
 */
export async function runOrThrow(program, args, { hint, ...options } = {}) {
  const { status, stdout, stderr } = await run(program, args, options);
  if (status !== 0)
    throw new VmError(`${program} ${args.join(' ')} failed: ${stderr.trim() || `status ${status}`}`, hint);
  return stdout;
}
