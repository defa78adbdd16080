import { readFileSync } from 'node:fs';
import * as os from 'node:os';

/** A kernel's version as its own headers know it: three numbers, without what a distribution adds. */
export interface KernelVersion {
  major: number;
  minor: number;
  patch: number;
}

/** What `uname -r` prints: `6.1.0-44-amd64`. Directories of kernel files are named by it. */
export function kernelRelease(): string {
  return os.release();
}

/** The leading numbers of a version text (`6.1.0-44-amd64`, `5.4`); undefined where it begins otherwise. */
export function parseKernelVersion(text: string): KernelVersion | undefined {
  const match = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  return match ? { major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3] ?? 0) } : undefined;
}

/**
 * The version that the kernel was built with, from three texts. Distributions keep the third number of `uname -r` at 0;
 * kernels before 5.0 compare a kprobe program's version with the true one.
 *
 * Debian writes it into `uname -v` (`#1 SMP Debian 5.10.46-4 (2021-08-03)`), Ubuntu into `/proc/version_signature`
 * (`Ubuntu 5.4.0-12.15-generic 5.4.8`, the last word).
 */
export function kernelVersionFrom(release: string, version: string, signature: string | undefined): KernelVersion {
  const ubuntu = signature && parseKernelVersion(signature.trim().split(/\s+/).at(-1)!);
  if (ubuntu) return ubuntu;
  const debian = /\bDebian (\d+\.\d+\.\d+)/.exec(version);
  return parseKernelVersion(debian ? debian[1]! : release) ?? { major: 0, minor: 0, patch: 0 };
}

/** The running kernel's version: see {@link kernelVersionFrom}. */
export function kernelVersion(): KernelVersion {
  return kernelVersionFrom(os.release(), os.version(), readOptional('/proc/version_signature'));
}

/** C's `KERNEL_VERSION(major, minor, patch)`: a patch level past 255 counts as 255, as the kernel's own Makefile has it. */
export function versionCode({ major, minor, patch }: KernelVersion): number {
  return major * 65536 + minor * 256 + Math.min(patch, 255);
}

/** LINUX_VERSION_CODE of the running kernel. */
export function linuxVersionCode(): number {
  return versionCode(kernelVersion());
}

/** The machine's name as `uname -m` has it: `x86_64`, `aarch64`. */
export function machine(): string {
  return os.machine();
}

/** The directory of `arch/` in the kernel's sources that a machine's name belongs to: `x86`, `arm64`, `powerpc`. */
export function kernelArch(name: string = machine()): string {
  if (/^(x86_64|i[3-6]86)$/.test(name)) return 'x86';
  if (/^(aarch64|arm64)/.test(name)) return 'arm64';
  if (/^arm/.test(name)) return 'arm';
  if (/^ppc/.test(name)) return 'powerpc';
  if (/^s390/.test(name)) return 's390';
  if (/^riscv/.test(name)) return 'riscv';
  if (/^loongarch/.test(name)) return 'loongarch';
  if (/^mips/.test(name)) return 'mips';
  return name;
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
