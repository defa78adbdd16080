import { readFileSync } from 'node:fs';
import type { BCCOptions } from '../bcc';
import { type OptionSpec, type OptionValues, UsageError } from './command';

/** The options of every command that takes a program. */
export const PROGRAM_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  text: { type: 'string', short: 'e', value: 'TEXT', help: 'C text instead of a file' },
  define: { type: 'string', short: 'D', multiple: true, value: 'NAME=VALUE', help: 'Define a macro' },
  include: { type: 'string', short: 'I', multiple: true, value: 'FOLDER', help: 'Look for headers there too' },
  headers: {
    type: 'string',
    value: 'MODE',
    help: "Kernel types from 'auto' (default), 'btf', 'kernel' or a kernel tree",
  },
  'no-cache': { type: 'boolean', help: 'Compile afresh' },
};

function list(value: OptionValues[string]): string[] {
  return (Array.isArray(value) ? value : [value]).filter((item) => typeof item === 'string');
}

/** What the command line says of a program, as options of `BCC`; undefined where it names none. */
export function programOptions(values: OptionValues, positionals: readonly string[]): BCCOptions | undefined {
  const [file, ...rest] = positionals;
  if (rest.length > 0) throw new UsageError(`one program at a time: ${JSON.stringify(rest[0])} is too much`);
  const text = values.text as string | undefined;
  if (text !== undefined && file !== undefined) throw new UsageError('give a file or --text, not both');
  if (text === undefined && file === undefined) return undefined;
  return {
    ...(text === undefined ? sourceOf(file!) : { text }),
    cflags: [...list(values.define).map((macro) => `-D${macro}`), ...list(values.include).map((dir) => `-I${dir}`)],
    ...(values.headers !== undefined && { headers: values.headers as string }),
    ...(values['no-cache'] === true && { cache: false }),
  };
}

/** A compiled program is told by its beginning, not by its name. */
function sourceOf(file: string): BCCOptions {
  try {
    return readFileSync(file).subarray(0, 8).toString('latin1') === 'TSBCCPRG' ? { program: file } : { srcFile: file };
  } catch {
    return { srcFile: file };
  }
}

/** As {@link programOptions}, where there must be one. */
export function requireProgram(values: OptionValues, positionals: readonly string[]): BCCOptions {
  const options = programOptions(values, positionals);
  if (!options) throw new UsageError('which program? Give a file of C text, or --text');
  return options;
}
