#!/usr/bin/env node
import { constants } from 'node:os';
import { parseArguments, usage } from './args.mjs';
import { runInVm } from './boot.mjs';
import { VmError } from './errors.mjs';

/** What `docker run` and its like end with when they themselves fail. */
const VM_FAILED = 125;

/** @param {string[]} argv @returns {Promise<number>} the exit status */
async function main(argv) {
  const { help, verbose, quiet, options } = parseArguments(argv, process.env.INIT_CWD);
  if (help) {
    process.stdout.write(`${usage}\n`);
    return 0;
  }
  const talk = !quiet && (verbose || process.stderr.isTTY);
  const ending = new AbortController();
  let killedBy;
  const endBecause = (signal) => {
    killedBy ??= signal;
    ending.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => endBecause(signal));
  // `npm run vm -- … | head` is over when head is.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => endBecause('SIGPIPE'));
  try {
    const result = await runInVm({
      ...options,
      signal: ending.signal,
      progress: talk ? (line) => process.stderr.write(`vm: ${line}\n`) : undefined,
      console: verbose && !quiet ? (chunk) => process.stderr.write(chunk) : undefined,
    });
    if (result.timedOut) process.stderr.write(`vm: ended after ${options.timeout} s, as --timeout says\n`);
    return result.status;
  } catch (error) {
    if (killedBy) return 128 + constants.signals[killedBy];
    throw error;
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof VmError)) throw error;
  process.stderr.write(`vm: ${error.message}\n`);
  process.exitCode = VM_FAILED;
}
