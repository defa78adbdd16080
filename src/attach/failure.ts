import { type Capability, perfEventHint, privilegeHint } from '../capabilities';
import { BPFProgType } from '../constants';
import { AttachError, ClosedError, errnoText, isNativeError } from '../errors';
import { lockdown } from '../kernel/lockdown';
import { runtime } from '../native';
import type { AttachableProgram } from './link';

/*
 * How a refused attachment becomes an error that tells what to do. Codes given here, for every kind of hook:
 *
 * ERR_BCC_ATTACH             the kernel refused; errno tells why
 * ERR_BCC_PROGRAM_TYPE       the function was loaded as a type of program that this hook does not take
 * ERR_BCC_ALREADY_ATTACHED   the same function is on the same hook already (EEXIST)
 * ERR_BCC_NOT_ATTACHED       there is nothing to detach
 */

export interface FailureDetails {
  /** ERR_BCC_ATTACH where absent. */
  code?: string;
  hint?: string;
  /** What the hook asks for besides, where it is not CAP_BPF and CAP_PERFMON. */
  needs?: Capability[];
}

/** What one errno means at one hook. */
export type Meanings = Partial<Record<number, FailureDetails | (() => FailureDetails)>>;

export const EPERM = 1;
export const ENOENT = 2;
export const ESRCH = 3;
export const E2BIG = 7;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const EINVAL = 22;
export const EMFILE = 24;
export const ENOSPC = 28;
export const ERANGE = 34;
export const EILSEQ = 84;
export const EOPNOTSUPP = 95;
export const EADDRNOTAVAIL = 99;
export const ENOTSUPP = 524;

/** What was to be attached, and the types of program that the hook takes; looked at only once the kernel has refused. */
export interface Refused {
  program: AttachableProgram;
  /** None where that is not known. */
  types?: readonly number[];
}

/**
 * Turns what a native call threw into an AttachError (a ClosedError for a program that was closed before): `what` is a whole clause ("cannot attach count to kprobe
 * vfs_read"), `meanings` explains errnos of this hook. Anything that is no native error is returned as it is.
 */
export function attachFailure(what: string, cause: unknown, meanings: Meanings = {}, refused?: Refused): unknown {
  if (!isNativeError(cause)) return cause;
  if (refused && refused.program.fd < 0) return new ClosedError(`the function ${refused.program.name}`);
  const { errno } = cause;
  const wrongType = refused && typeMismatch(refused);
  if (wrongType) return new AttachError(`${what}: ${wrongType.message}`, { ...wrongType, errno, cause });
  const given = meanings[errno] ?? commonMeanings[errno];
  const details = typeof given === 'function' ? given() : given;
  return new AttachError(`${what}: ${errnoText(errno)} (${cause.syscall})`, {
    code: details?.code,
    errno,
    cause,
    hint:
      privilegeHint(errno, ...(details?.needs ?? [])) ??
      (cause.syscall === 'perf_event_open' ? perfEventHint(errno) : undefined) ??
      details?.hint ??
      forbiddenHint(errno),
  });
}

function forbiddenHint(errno: number): string | undefined {
  if (errno !== EPERM) return undefined;
  return lockdown() === 'confidentiality'
    ? 'the kernel is locked down (confidentiality), which takes kprobes even from root: raw tracepoints and uprobes still work'
    : 'the kernel forbids this even to root: look for lockdown (/sys/kernel/security/lockdown) or a security module';
}

const commonMeanings: Meanings = {
  [EEXIST]: {
    code: 'ERR_BCC_ALREADY_ATTACHED',
    hint: 'detach the function from this hook before attaching it again',
  },
  [EMFILE]: { hint: 'each hook holds a file descriptor: raise the limit (ulimit -n 65536)' },
};

/** The name of a program type, `type 99` for one that this library does not know. */
export function programTypeName(type: number): string {
  return Object.entries(BPFProgType).find(([, value]) => value === type)?.[0] ?? `type ${type}`;
}

function typeMismatch({ program, types = [] }: Refused): { code: string; message: string; hint: string } | undefined {
  let type: number;
  try {
    type = runtime().programInfo(program.fd).type;
  } catch {
    return undefined;
  }
  if (types.length === 0 || types.includes(type)) return undefined;
  const wanted = types.map(programTypeName).join(' or ');
  return {
    code: 'ERR_BCC_PROGRAM_TYPE',
    message: `${program.name} was loaded as ${programTypeName(type)}, this hook takes ${wanted}`,
    hint: `load it as ${wanted}: loadFunc(name, BPFProgType.…)`,
  };
}
