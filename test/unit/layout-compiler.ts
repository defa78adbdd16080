import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Btf } from '../../src/layout/btf';

/** The C compiler that makes BTF (Debian's package clang); undefined where there is none. */
export const clang = ['clang', 'clang-14', 'clang-15', 'clang-16', 'clang-19'].find(
  (name) => spawnSync(name, ['--version']).status === 0,
);

/** What tests that compile need; the skipped are named so. */
export const CLANG = { when: clang !== undefined, reason: 'clang is not installed' };

/** As `itIf(CLANG, …)`, for tables of tests: `eachWithClang(rows)(name + WITHOUT_CLANG, …)`. */
export const eachWithClang: typeof test.each = clang === undefined ? test.skip.each : test.each;
export const WITHOUT_CLANG = clang === undefined ? ' [skipped: clang is not installed]' : '';

/** The BTF of a C text, made for BPF as libbcc's compiler makes it. */
export function compileBtf(text: string): Btf {
  return inDirectory((directory) => {
    const source = join(directory, 'bpf.c');
    const object = join(directory, 'bpf.o');
    writeFileSync(source, text);
    run(clang!, ['-target', 'bpf', '-w', '-g', '-O2', '-c', source, '-o', object]);
    return new Btf(sectionOf(readFileSync(object), '.BTF'));
  });
}

/** What a C program prints. */
export function runHost(text: string): string {
  return inDirectory((directory) => {
    const source = join(directory, 'host.c');
    const program = join(directory, 'host');
    writeFileSync(source, text);
    // BPF's char is signed; some machines' is not.
    run('gcc', ['-w', '-O0', '-fsigned-char', source, '-o', program]);
    return run(program, []);
  });
}

function inDirectory<T>(work: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'tsbcc-layout-'));
  try {
    return work(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function run(command: string, args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error ?? stderr}`);
  return stdout;
}

/** The bytes of one section of a 64-bit little-endian ELF file. */
function sectionOf(file: Buffer, wanted: string): Buffer {
  const headers = Number(file.readBigUInt64LE(0x28));
  const size = file.readUInt16LE(0x3a);
  const count = file.readUInt16LE(0x3c);
  const place = (index: number): [name: number, start: number, end: number] => {
    const at = headers + index * size;
    const start = Number(file.readBigUInt64LE(at + 0x18));
    return [file.readUInt32LE(at), start, start + Number(file.readBigUInt64LE(at + 0x20))];
  };
  const [, names] = place(file.readUInt16LE(0x3e));
  for (let i = 0; i < count; i++) {
    const [name, start, end] = place(i);
    const text = file.toString('latin1', names + name, file.indexOf(0, names + name));
    if (text === wanted) return file.subarray(start, end);
  }
  throw new Error(`there is no section ${wanted}`);
}
