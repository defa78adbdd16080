import { readFileSync } from 'node:fs';

/**
 * How far the kernel guards itself against root. `integrity`, as secure boot often has it: no program may write the
 * memory of a process. `confidentiality`: none may read the kernel's, and there are no kprobes.
 */
export type Lockdown = 'integrity' | 'confidentiality';

/** The kernel's lockdown; undefined where there is none, or where securityfs, which tells it, is not mounted. */
export function lockdown(file = '/sys/kernel/security/lockdown'): Lockdown | undefined {
  try {
    return /\[(integrity|confidentiality)\]/.exec(readFileSync(file, 'utf8'))?.[1] as Lockdown | undefined;
  } catch {
    return undefined;
  }
}
