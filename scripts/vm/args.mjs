import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { VmError } from './errors.mjs';
import { isVariableName } from './job.mjs';
import { kernelNames, metapackages } from './kernels.mjs';

const OPTIONS = /** @type {const} */ ({
  kernel: { type: 'string' },
  memory: { type: 'string' },
  cpus: { type: 'string' },
  headers: { type: 'boolean' },
  'compile-on-host': { type: 'boolean' },
  timeout: { type: 'string' },
  env: { type: 'string', multiple: true },
  share: { type: 'string', multiple: true },
  quiet: { type: 'boolean', short: 'q' },
  verbose: { type: 'boolean', short: 'v' },
  help: { type: 'boolean', short: 'h' },
});

export const usage = `Usage: npm run vm -- --kernel <version> [options] -- <command> [argument...]

Boots a stock Debian kernel in QEMU with the project in it, runs the command there as root in the project's folder,
and ends with its exit status. The guest sees the host's files and may change them for itself only.

  --kernel <version>   ${kernelNames.join(' or ')}
  --headers            have the kernel's headers in /lib/modules/<release>/build and source
  --compile-on-host    compile BPF programs here, where it takes a twentieth of the time; as root only
  --memory <MiB>       the guest's memory (2048)
  --cpus <count>       the guest's processors (2)
  --timeout <seconds>  end the VM after that time, with exit status 124
  --env <NAME=value>   an environment variable for the command; may be repeated
  --share <folder>     a folder that the guest writes to on the host, at the same path; may be repeated
  -v, --verbose        tell what goes on, and show the kernel's console
  -q, --quiet          tell nothing but errors
  -h, --help           this text

Exit status 125 stands for a VM that failed, 124 for one that ran out of time, 130 for one that Ctrl-C ended.`;

/** MiB; with less, a stock kernel ends without a word. */
const SMALLEST_MEMORY = 256;

/**
 * @param {string} option
 * @param {string | undefined} text
 * @param {number} [smallest]
 * @returns {number | undefined}
 */
function integer(option, text, smallest = 1) {
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text) && Number(text) >= smallest) return Number(text);
  throw new VmError(`--${option} wants a whole number of at least ${smallest}, not '${text}'`);
}

/** @param {string} text */
function variable(text) {
  const at = text.indexOf('=');
  const name = text.slice(0, at);
  if (at > 0 && isVariableName(name)) return [name, text.slice(at + 1)];
  throw new VmError(`--env wants NAME=value, not '${text}'`);
}

/**
 * Reads the command line of `npm run vm`. What follows the first `--` is the command and is taken as it is.
 * @param {string[]} argv without node and the script
 * @param {string} [cwd] what relative folders are relative to
 * @returns {{ help: true } | { help: false, verbose: boolean, quiet: boolean, options: Omit<import('./boot.mjs').VmOptions, 'signal'> }}
 * @throws VmError that names the mistake
 */
export function parseArguments(argv, cwd = process.cwd()) {
  const separator = argv.indexOf('--');
  const own = separator < 0 ? argv : argv.slice(0, separator);
  const command = separator < 0 ? [] : argv.slice(separator + 1);
  let parsed;
  try {
    parsed = parseArgs({ args: own, options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new VmError(error.message, 'npm run vm -- --help lists the options.', { cause: error });
  }
  const { values, positionals } = parsed;
  if (values.help) return { help: true };
  if (positionals.length > 0) {
    throw new VmError(
      `'${positionals[0]}' is no option`,
      'Put -- before the command: npm run vm -- --kernel 6.1 -- uname -r',
    );
  }
  if (values.kernel === undefined) throw new VmError('which kernel?', `--kernel is one of: ${kernelNames.join(', ')}`);
  metapackages(values.kernel);
  if (command.length === 0)
    throw new VmError('there is no command', 'For example: npm run vm -- --kernel 6.1 -- uname -r');
  return {
    help: false,
    verbose: values.verbose ?? false,
    quiet: values.quiet ?? false,
    options: {
      kernel: values.kernel,
      command,
      headers: values.headers ?? false,
      compile: values['compile-on-host'] ?? false,
      memory: integer('memory', values.memory, SMALLEST_MEMORY),
      cpus: integer('cpus', values.cpus),
      timeout: integer('timeout', values.timeout),
      env: Object.fromEntries((values.env ?? []).map(variable)),
      shares: (values.share ?? []).map((folder) => resolve(cwd, folder)),
    },
  };
}
