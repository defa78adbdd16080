#!/usr/bin/env node
import { didYouMean } from '../errors';
import { type Command, runCommand, UsageError } from './command';

/** The commands: what they are for, and where they are. Their modules are loaded only when they run. */
const COMMANDS: Readonly<Record<string, { summary: string; load(): { command: Command } }>> = {
  repl: { summary: 'explore a BPF program in a REPL', load: () => require('./repl') },
  run: { summary: 'run a BPF program and print its events and tables', load: () => require('./run') },
  doctor: {
    summary: 'tell what this machine can do, and the remedy for what it lacks',
    load: () => require('./doctor'),
  },
  types: { summary: "print TypeScript types of a program's tables and events", load: () => require('./types') },
  compile: { summary: 'compile a program ahead of time', load: () => require('./compile') },
  cache: { summary: 'list or clear the cache of compiled programs', load: () => require('./cache') },
};

/** The tools, likewise. */
const TOOLS: Readonly<Record<string, { summary: string; load(): { command: Command } }>> = {
  biolatency: { summary: 'block I/O latency as a histogram', load: () => require('./tools/biolatency') },
  execsnoop: { summary: 'programs as they are started', load: () => require('./tools/execsnoop') },
  funccount: {
    summary: 'count calls of functions, tracepoints and USDT probes',
    load: () => require('./tools/funccount'),
  },
  hist: {
    summary: 'count or draw values of function arguments, results and tracepoint fields',
    load: () => require('./tools/hist'),
  },
  opensnoop: { summary: 'files as they are opened', load: () => require('./tools/opensnoop') },
  profile: {
    summary: 'where the CPUs spend their time, by stack; flame graphs',
    load: () => require('./tools/profile'),
  },
  runqlat: { summary: 'time that tasks wait for a CPU as a histogram', load: () => require('./tools/runqlat') },
  syscount: { summary: 'system calls by count or by time', load: () => require('./tools/syscount') },
  tcpconnect: { summary: 'TCP connections as they are begun', load: () => require('./tools/tcpconnect') },
};

function usage(): string {
  const section = (entries: Readonly<Record<string, { summary: string }>>) =>
    Object.entries(entries).map(([name, { summary }]) => `  ${name.padEnd(12)} ${summary}`);
  const lines = ['Usage: tsbcc COMMAND [options]', '', 'Commands:', ...section(COMMANDS)];
  if (Object.keys(TOOLS).length > 0) lines.push('', 'Tools:', ...section(TOOLS));
  lines.push('', 'tsbcc COMMAND --help tells more about one; --version prints the version.');
  return `${lines.join('\n')}\n`;
}

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    const wanted = name === 'help' ? rest[0] : undefined;
    if (wanted !== undefined) return main([wanted, '--help']);
    process.stdout.write(usage());
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === '-V') {
    process.stdout.write(`${(require('../../package.json') as { version: string }).version}\n`);
    return 0;
  }
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : Object.hasOwn(TOOLS, name) ? TOOLS[name] : undefined;
  if (!entry) {
    const names = [...Object.keys(COMMANDS), ...Object.keys(TOOLS)];
    throw new UsageError(
      `there is no command ${JSON.stringify(name)}: ${didYouMean(name, names) ?? 'see tsbcc --help'}`,
    );
  }
  return runCommand(name, entry.load().command, rest);
}

/** One paragraph for people; compile errors show their lines, programming errors their stack. */
function report(error: unknown): number {
  if (error instanceof UsageError) {
    process.stderr.write(`tsbcc: ${error.message}\n`);
    return 2;
  }
  if (error instanceof Error && error.name === 'AbortError') {
    process.stderr.write('tsbcc: ended before the program was at work\n');
    return 130;
  }
  const known =
    error instanceof Error && 'code' in error && String((error as { code: unknown }).code).startsWith('ERR_BCC');
  const text =
    known || error instanceof TypeError || error instanceof RangeError
      ? (error as Error).message
      : ((error as Error)?.stack ?? String(error));
  process.stderr.write(`tsbcc: ${text}\n`);
  return 1;
}

// `tsbcc … | head`: the reader has what it wants.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

main(process.argv.slice(2)).then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    process.exitCode = report(error);
  },
);
