import { readFileSync } from 'node:fs';

/** The capabilities that BPF and its hooks ask for, by number (linux/capability.h). */
export const CAPABILITIES = {
  CAP_DAC_READ_SEARCH: 2,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_RESOURCE: 24,
  CAP_SYSLOG: 34,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
} as const;

export type Capability = keyof typeof CAPABILITIES;

/** Of {@link CAPABILITIES}, those that this process can use. */
export function heldCapabilities(): Set<Capability> {
  const status = readFileSync('/proc/self/status', 'utf8');
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  const names = Object.keys(CAPABILITIES) as Capability[];
  return new Set(names.filter((name) => ((mask >> BigInt(CAPABILITIES[name])) & 1n) === 1n));
}

/** Before Linux 5.8 CAP_SYS_ADMIN was all there was, and the kernel still takes it for these. */
const WITHIN_SYS_ADMIN = new Set<Capability>(['CAP_BPF', 'CAP_PERFMON']);

/** The hint for a refusal by privilege (EPERM, EACCES): which of the needed capabilities is missing; undefined where none is. */
export function privilegeHint(errno: number | undefined, ...needed: Capability[]): string | undefined {
  if (errno !== 1 && errno !== 13) return undefined;
  const held = heldCapabilities();
  const wanted: Capability[] = needed.length > 0 ? needed : ['CAP_BPF', 'CAP_PERFMON'];
  const missing = wanted.filter(
    (name) => !held.has(name) && !(held.has('CAP_SYS_ADMIN') && WITHIN_SYS_ADMIN.has(name)),
  );
  if (missing.length === 0) return undefined;
  const older = missing.some((name) => name === 'CAP_BPF' || name === 'CAP_PERFMON');
  return `this process lacks ${missing.join(' and ')}${older ? ' (before Linux 5.8: CAP_SYS_ADMIN)' : ''}: run it as root, or grant that (setpriv --ambient-caps, a container's --cap-add)`;
}

const EACCES = 13;
const PARANOID = '/proc/sys/kernel/perf_event_paranoid';

/**
 * The hint for what perf_event_open refused. CAP_PERFMON is enough, but for kernels of distributions (Debian's for one)
 * that know of levels of perf_event_paranoid above 2 and there ask for CAP_SYS_ADMIN.
 */
export function perfEventHint(errno: number | undefined): string | undefined {
  const perfmon = privilegeHint(errno, 'CAP_PERFMON');
  if (perfmon !== undefined || errno !== EACCES || Number(readFileSync(PARANOID, 'utf8')) <= 2) return perfmon;
  const admin = privilegeHint(errno, 'CAP_SYS_ADMIN');
  return admin && `${admin}; or let CAP_PERFMON be enough: sysctl kernel.perf_event_paranoid=2`;
}

/** The hint for a refused map. Those of sockets and devices need CAP_NET_ADMIN besides. */
export function mapPrivilegeHint(): string | undefined {
  return privilegeHint(1, 'CAP_BPF') ?? privilegeHint(1, 'CAP_NET_ADMIN');
}
