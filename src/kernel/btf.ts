import { readdirSync, readFileSync } from 'node:fs';
import { UnsupportedError } from '../errors';
import { Btf } from '../layout/btf';

/*
 * The types and functions of the running kernel and its modules, as /sys/kernel/btf tells them (Linux 5.4 with
 * CONFIG_DEBUG_INFO_BTF; modules since 5.11).
 *
 * Codes of errors: ERR_BCC_NO_BTF.
 */

const DIRECTORY = '/sys/kernel/btf';

let blob: Buffer | null | undefined;
let parsed: Btf | undefined;

/** The kernel's BTF as bytes, read once (5 to 10 MB); undefined where it keeps none. */
export function kernelBtfBlob(): Buffer | undefined {
  if (blob === undefined) {
    try {
      blob = readFileSync(`${DIRECTORY}/vmlinux`);
    } catch {
      blob = null;
    }
  }
  return blob ?? undefined;
}

/** The kernel's BTF; throws ERR_BCC_NO_BTF where it keeps none. */
export function kernelBtf(): Btf {
  const bytes = kernelBtfBlob();
  if (!bytes) {
    throw new UnsupportedError(`this kernel tells no BTF: ${DIRECTORY}/vmlinux is missing`, {
      code: 'ERR_BCC_NO_BTF',
      hint: 'use a kernel built with CONFIG_DEBUG_INFO_BTF (Linux 5.4 and newer), or a kprobe instead',
    });
  }
  parsed ??= new Btf(bytes);
  return parsed;
}

/** A module's BTF on top of the kernel's; undefined where it is not loaded or has none. */
export function moduleBtf(name: string): Btf | undefined {
  if (!/^\w+$/.test(name) || name === 'vmlinux') return undefined;
  let bytes: Buffer;
  try {
    bytes = readFileSync(`${DIRECTORY}/${name}`);
  } catch {
    return undefined;
  }
  return new Btf(bytes, kernelBtf());
}

/** The modules that are loaded and have BTF. */
export function modulesWithBtf(): string[] {
  try {
    return readdirSync(DIRECTORY).filter((name) => name !== 'vmlinux');
  } catch {
    return [];
  }
}
