import { parseArgs } from 'node:util';
import { didYouMean } from '../errors';

/** One option of a command, for parsing and for `--help`. */
export interface OptionSpec {
  type: 'boolean' | 'string';
  short?: string;
  multiple?: boolean;
  /** The value's name in the help: `--pid PID`. */
  value?: string;
  /** One line. */
  help: string;
}

export type OptionValues = Record<string, string | boolean | (string | boolean)[] | undefined>;

/** A subcommand or tool of `tsbcc`. Modules are loaded only when their command runs. */
export interface Command {
  /** Behind the name in the usage line: `[options] prog.c`. */
  usage: string;
  /** What it does, in one or two sentences. */
  about: string;
  options: Readonly<Record<string, OptionSpec>>;
  /** Lines of examples: the command without `tsbcc name`, and what it shows. */
  examples?: readonly (readonly [args: string, what: string])[];
  /** The exit status; nothing means 0. */
  run(values: OptionValues, positionals: string[]): Promise<number | undefined> | number | undefined;
}

/** A mistake on the command line: told without a stack, exit status 2. */
export class UsageError extends Error {}

const HELP: OptionSpec = { type: 'boolean', short: 'h', help: 'Show this help' };

/** Parses what follows the command's name and runs it. */
export async function runCommand(name: string, command: Command, args: readonly string[]): Promise<number> {
  const options: Record<string, OptionSpec> = { ...command.options, help: HELP };
  const { values, positionals } = parse(options, args);
  if (values.help) {
    process.stdout.write(helpText(name, command));
    return 0;
  }
  return (await command.run(values, positionals)) ?? 0;
}

function parse(options: Record<string, OptionSpec>, args: readonly string[]) {
  try {
    const config = Object.fromEntries(
      Object.entries(options).map(([name, { type, short, multiple }]) => [
        name,
        { type, ...(short !== undefined && { short }), ...(multiple && { multiple }) },
      ]),
    );
    return parseArgs({ args: [...args], options: config, allowPositionals: true, strict: true });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (!code?.startsWith('ERR_PARSE_ARGS')) throw error;
    const wanted = /'--([\w-]+)/.exec(message)?.[1];
    const near = wanted !== undefined && !(wanted in options) ? didYouMean(wanted, Object.keys(options)) : undefined;
    throw new UsageError(
      near ? `unknown option --${wanted}: ${near}` : message.replace(/\. To specify a positional.*/s, ''),
    );
  }
}

/** The text of `tsbcc name --help`. */
export function helpText(name: string, { usage, about, options, examples = [] }: Command): string {
  const rows = Object.entries<OptionSpec>({ ...options, help: HELP }).map(([long, { short, value, type, help }]) => {
    const argument = type === 'string' ? ` ${value ?? 'VALUE'}` : '';
    return [`  ${short ? `-${short}, ` : '    '}--${long}${argument}`, help] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  const lines = [`Usage: tsbcc ${name} ${usage}`, '', about, '', 'Options:'];
  lines.push(...rows.map(([left, help]) => left.padEnd(width) + help));
  if (examples.length > 0) {
    lines.push('', 'Examples:');
    const commands = examples.map(([args]) => `  tsbcc ${name} ${args}`.trimEnd());
    const exampleWidth = Math.max(...commands.map(({ length }) => length)) + 2;
    lines.push(...commands.map((text, i) => `${text.padEnd(exampleWidth)}# ${examples[i]![1]}`));
  }
  return `${lines.join('\n')}\n`;
}

/** A whole number of an option, or undefined where it is not given. */
export function integer(values: OptionValues, name: string, minimum = 0): number | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const number = Number(text);
  if (typeof text !== 'string' || text.trim() === '' || !Number.isSafeInteger(number) || number < minimum) {
    throw new UsageError(`--${name} takes a whole number of ${minimum} or more, not ${JSON.stringify(text)}`);
  }
  return number;
}

/** Seconds of an option, fractions allowed, or undefined where it is not given. */
export function seconds(values: OptionValues, name: string): number | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const number = Number(text);
  if (typeof text !== 'string' || text.trim() === '' || !Number.isFinite(number) || number <= 0) {
    throw new UsageError(`--${name} takes a number of seconds, not ${JSON.stringify(text)}`);
  }
  return number;
}

/**
 * Runs `body` until it is done, or Ctrl-C, SIGTERM or the duration ends it through the signal. Whatever `body` holds is
 * then undone by its own `finally` and `using`.
 */
export async function untilStopped<T>(body: (signal: AbortSignal) => Promise<T>, durationSeconds?: number): Promise<T> {
  const controller = new AbortController();
  const stop = () => controller.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const timer = durationSeconds === undefined ? undefined : setTimeout(stop, durationSeconds * 1000);
  try {
    return await body(controller.signal);
  } finally {
    clearTimeout(timer);
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}
