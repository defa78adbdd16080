import * as path from 'node:path';
import { BCC } from '../bcc';
import { writeProgramFile } from '../program/cache';
import { type Command, UsageError } from './command';
import { PROGRAM_OPTIONS, requireProgram } from './program';

export const command: Command = {
  usage: '[options] prog.c -o prog.tsbcc',
  about:
    'Compiles a program to a file that new BCC({ program }) and tsbcc run load without a compiler and without headers,\n' +
    'on the kernel that it was compiled for.',
  options: {
    ...PROGRAM_OPTIONS,
    output: { type: 'string', short: 'o', value: 'FILE', help: 'Where to write (prog.tsbcc beside prog.c)' },
    'kernel-release': { type: 'string', value: 'RELEASE', help: 'Compile for another kernel: its `uname -r`' },
    'kernel-btf': { type: 'string', value: 'FILE', help: "That kernel's /sys/kernel/btf/vmlinux, copied" },
    'kernel-tracefs': {
      type: 'string',
      value: 'FOLDER',
      help: "A copy of that kernel's /sys/kernel/tracing/events is in it",
    },
    'kernel-source': { type: 'string', value: 'FOLDER', help: "That kernel's headers, where there is no BTF" },
  },
  examples: [
    ['hello.c -o hello.tsbcc', 'for this kernel'],
    ['hello.c --kernel-release 6.1.0-56-amd64 --kernel-btf vmlinux.btf', 'for another one'],
  ],
  run(values, positionals) {
    const options = requireProgram(values, positionals);
    const release = values['kernel-release'] as string | undefined;
    const btfPath = values['kernel-btf'] as string | undefined;
    const source = values['kernel-source'] as string | undefined;
    const tracefsPath = values['kernel-tracefs'] as string | undefined;
    if ((btfPath ?? source ?? tracefsPath) !== undefined && release === undefined) {
      throw new UsageError('--kernel-btf, --kernel-source and --kernel-tracefs need --kernel-release');
    }
    const program = BCC.compile({
      ...options,
      ...(source !== undefined && { headers: source }),
      ...(release !== undefined && {
        kernel: {
          release,
          ...(btfPath !== undefined && { btfPath }),
          ...(tracefsPath !== undefined && { tracefsPath }),
        },
      }),
    });
    const stem = positionals[0] === undefined ? 'program' : path.basename(positionals[0], path.extname(positionals[0]));
    const output = (values.output as string | undefined) ?? `${stem}.tsbcc`;
    writeProgramFile(output, program);
    const { functions, tables, origin } = program;
    process.stdout.write(
      `${output}: ${functions.length} functions, ${tables.length} tables, for ${origin.kernelRelease} (${origin.arch})\n`,
    );
    return 0;
  },
};
