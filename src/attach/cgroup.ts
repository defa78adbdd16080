import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { inspect } from 'node:util';
import { privilegeHint } from '../capabilities';
import { BPFAttachType, BPFProgType } from '../constants';
import { AttachError } from '../errors';
import { type NativeLinkInfo, runtime } from '../native';
import { attachFailure, EBADF, EINVAL, ENOENT, EPERM, type Meanings } from './failure';
import { KernelLink, LinkType } from './kernel-link';
import { type AttachableProgram, OwnedLink } from './link';

/*
 * Programs that are put on a cgroup, a socket map or a network namespace: by a BPF link where the kernel has them and the
 * flags allow it, else by BPF_PROG_ATTACH.
 *
 * Codes of errors: ERR_BCC_CGROUP_NOT_FOUND, ERR_BCC_NAMESPACE_NOT_FOUND, ERR_BCC_NOT_CGROUP2, ERR_BCC_NOT_ATTACHED, ERR_BCC_ALREADY_ATTACHED.
 */

/** BPF_F_ALLOW_OVERRIDE and its kin (linux/bpf.h): how programs of nested cgroups, and several of one, go together. */
export const CgroupAttachFlag = Object.freeze({
  /** A program of a cgroup below takes this one's place there. */
  ALLOW_OVERRIDE: 1 << 0,
  /** Several programs run one after the other (Linux 4.15). */
  ALLOW_MULTI: 1 << 1,
  /** Takes the place of the same function that is there (Linux 5.6). */
  REPLACE: 1 << 2,
});

/** An open cgroup directory, socket map or network namespace; or the path of a cgroup directory or network namespace. */
export type FuncTarget = number | string;

/**
 * Puts a program where `attachType` (a value of BPFAttachType) says: on a cgroup v2, on a socket map for SK_MSG and
 * SK_SKB, on a network namespace for SK_LOOKUP. Flow dissectors take 0 and mean this process's network namespace, as
 * SK_LOOKUP does with 0.
 *
 * `flags` are {@link CgroupAttachFlag}. Without any, and with ALLOW_MULTI, the program ends with this process, however it
 * ends (Linux 5.7; 5.8 for flow dissectors). Without any, it takes the place of what this process attached so before, and
 * runs besides the programs of others. With the other flags and with 0 (no program below) it is kept by the cgroup itself
 * until it is detached or this process ends by itself.
 */
export function attachFunc(
  program: AttachableProgram,
  target: FuncTarget,
  attachType: number,
  flags?: number,
): OwnedLink {
  const held = hold(target, attachType);
  const made = (release: () => void) => {
    return new OwnedLink(typeName(attachType).toLowerCase(), held.name, program.name, () => {
      try {
        release();
      } finally {
        held.close();
      }
    });
  };
  try {
    const { id } = runtime().programInfo(program.fd);
    const link = linkFunc(program, held, attachType, flags);
    if (link) return made(() => link.release(id));
    runtime().programAttach(program.fd, held.attachFd, attachType, flags ?? 0);
  } catch (error) {
    held.close();
    const what = `cannot attach ${program.name} to ${held.name} as ${typeName(attachType)}`;
    throw attachFailure(what, error, meanings, { program, types: programTypes(attachType) });
  }
  return made(() => {
    try {
      runtime().programDetach(program.fd, held.attachFd, attachType);
    } catch (error) {
      const failure = detachFailure(program, held, attachType, error);
      // detachFunc() has been before us.
      if ((failure as AttachError).code !== 'ERR_BCC_NOT_ATTACHED') throw failure;
    }
  });
}

/** Links made without flags: the next program of this thread at the same place takes its predecessor's. */
const sole = new WeakSet<KernelLink>();

/** Through a BPF link; undefined where that cannot be had or is not wanted. */
function linkFunc(
  program: AttachableProgram,
  { fd, isPlace }: HeldTarget,
  attachType: number,
  flags: number | undefined,
): KernelLink | undefined {
  if (!isPlace || (flags !== undefined && flags !== CgroupAttachFlag.ALLOW_MULTI)) return undefined;
  const isSole = flags === undefined && attachType !== BPFAttachType.SK_LOOKUP;
  const predecessor = isSole ? KernelLink.findHeld(isPlace) : undefined;
  try {
    if (predecessor && sole.has(predecessor)) return predecessor.replace(program);
    const link = KernelLink.create(program, fd, attachType, 0);
    if (isSole) sole.add(link);
    return link;
  } catch (error) {
    // What may be attached by links alone has no other way to be tried.
    if (attachType === BPFAttachType.SK_LOOKUP) throw error;
    return undefined;
  }
}

/** Takes the program away again, whoever attached it. ERR_BCC_NOT_ATTACHED where it is not there. */
export function detachFunc(program: AttachableProgram, target: FuncTarget, attachType: number): void {
  const held = hold(target, attachType);
  try {
    const link = findLink(program, held);
    if (link) link.cut();
    else runtime().programDetach(program.fd, held.attachFd, attachType);
  } catch (error) {
    throw detachFailure(program, held, attachType, error);
  } finally {
    held.close();
  }
}

/** The link by which the program is there, whoever holds it. */
function findLink(program: AttachableProgram, { isPlace }: HeldTarget): KernelLink | undefined {
  if (!isPlace) return undefined;
  const { id } = runtime().programInfo(program.fd);
  return KernelLink.find((info) => isPlace(info) && info.programId === id);
}

interface HeldTarget {
  fd: number;
  /** What BPF_PROG_ATTACH wants instead of `fd`. */
  attachFd: number;
  name: string;
  /** Whether a link is on this very target; absent for what links are not made on. */
  isPlace?(info: NativeLinkInfo): boolean;
  close(): void;
}

function detachFailure(program: AttachableProgram, { name }: HeldTarget, attachType: number, cause: unknown): unknown {
  const what = `cannot detach ${program.name} from ${name} (${typeName(attachType)})`;
  return attachFailure(what, cause, { ...meanings, [ENOENT]: notAttached, [EINVAL]: notAttached }, { program });
}

const notAttached = { code: 'ERR_BCC_NOT_ATTACHED', hint: 'the function is not attached there with that attach type' };

const ON_NAMESPACES: readonly number[] = [BPFAttachType.FLOW_DISSECTOR, BPFAttachType.SK_LOOKUP];

/**
 * A descriptor of our own for the target: the caller may close his while the program is attached, and the number may
 * then mean something else.
 */
function hold(target: FuncTarget, attachType: number): HeldTarget {
  requireFuncTarget(target);
  if (ON_NAMESPACES.includes(attachType)) return holdNamespace(target, attachType);
  if (typeof target === 'string') return holdCgroup(target, target, attachType);
  try {
    return holdCgroup(descriptorPath(target), `cgroup fd ${target}`, attachType);
  } catch {
    return holdMap(target) ?? { fd: target, attachFd: target, name: `fd ${target}`, close() {} };
  }
}

/** @throws TypeError where it is neither a path nor a number that a descriptor can have */
export function requireFuncTarget(target: unknown): asserts target is FuncTarget {
  if (typeof target === 'string' && target !== '') return;
  if (!Number.isSafeInteger(target) || (target as number) < 0) {
    throw new TypeError(`attachableFd must be a path or an open file descriptor, not ${inspect(target)}`);
  }
}

function descriptorPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

function holdCgroup(path: string, name: string, attachType: number): HeldTarget {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
    const { ino } = fstatSync(fd, { bigint: true });
    const isPlace = (info: NativeLinkInfo) => {
      return info.type === LinkType.CGROUP && info.cgroupId === ino && info.attachType === attachType;
    };
    return { fd, attachFd: fd, name, isPlace, close: () => closeSync(fd) };
  } catch (cause) {
    throw new AttachError(`the cgroup ${path} cannot be opened: ${(cause as Error).message}`, {
      code: 'ERR_BCC_CGROUP_NOT_FOUND',
      errno: -((cause as NodeJS.ErrnoException).errno ?? 0),
      cause,
      hint: 'give a directory of a cgroup v2 hierarchy (see: mount -t cgroup2)',
    });
  }
}

function holdNamespace(target: FuncTarget, attachType: number): HeldTarget {
  const isOwn = target === 0;
  const path = isOwn ? '/proc/self/ns/net' : typeof target === 'string' ? target : descriptorPath(target);
  try {
    const fd = openSync(path, constants.O_RDONLY);
    const { ino } = fstatSync(fd);
    const isPlace = (info: NativeLinkInfo) => {
      return info.type === LinkType.NETNS && info.netnsInode === ino && info.attachType === attachType;
    };
    const name = isOwn ? 'this network namespace' : `the network namespace ${path}`;
    return { fd, attachFd: 0, name, isPlace, close: () => closeSync(fd) };
  } catch (cause) {
    throw new AttachError(`the network namespace ${path} cannot be opened: ${(cause as Error).message}`, {
      code: 'ERR_BCC_NAMESPACE_NOT_FOUND',
      errno: -((cause as NodeJS.ErrnoException).errno ?? 0),
      cause,
      hint: 'give 0 for the own one, an open one (/proc/PID/ns/net) or its path (/run/netns/NAME)',
    });
  }
}

function holdMap(fd: number): HeldTarget | undefined {
  try {
    const { id, name } = runtime().mapInfo(fd);
    const own = runtime().fdById('map', id);
    return { fd: own.fd, attachFd: own.fd, name: `the map ${name || id}`, close: () => own.close() };
  } catch {
    return undefined;
  }
}

function typeName(attachType: number): string {
  return Object.entries(BPFAttachType).find(([, value]) => value === attachType)?.[0] ?? `attach type ${attachType}`;
}

/** Which type of program an attach type takes, where it is not the one of the same name. */
const PROGRAM_TYPES: readonly (readonly [attachTypes: RegExp, programType: number])[] = [
  [/^CGROUP_INET_(INGRESS|EGRESS)$/, BPFProgType.CGROUP_SKB],
  [/^CGROUP_INET(_SOCK|[46]_POST_BIND)/, BPFProgType.CGROUP_SOCK],
  [/^CGROUP_(INET[46]|UDP[46]|UNIX)_/, BPFProgType.CGROUP_SOCK_ADDR],
  [/^CGROUP_SOCK_OPS$/, BPFProgType.SOCK_OPS],
  [/^CGROUP_[GS]ETSOCKOPT$/, BPFProgType.CGROUP_SOCKOPT],
  [/^LSM_CGROUP$/, BPFProgType.LSM],
  [/^SK_SKB_/, BPFProgType.SK_SKB],
  [/^SK_MSG_/, BPFProgType.SK_MSG],
];

/** The types of program that can be attached so; none where that is not known. */
function programTypes(attachType: number): number[] {
  const name = typeName(attachType);
  const namesake: number | undefined = (BPFProgType as Readonly<Record<string, number>>)[name];
  const type = PROGRAM_TYPES.find(([attachTypes]) => attachTypes.test(name))?.[1] ?? namesake;
  return type === undefined ? [] : [type];
}

const meanings: Meanings = {
  [EBADF]: {
    code: 'ERR_BCC_NOT_CGROUP2',
    hint: 'the descriptor is no cgroup v2 directory (cgroup v1 carries no programs): see mount -t cgroup2',
  },
  [EPERM]: { needs: ['CAP_NET_ADMIN'] },
  // Some kernels answer so where CAP_NET_ADMIN is missing.
  [EINVAL]: () => ({
    code: 'ERR_BCC_ATTACH',
    hint:
      privilegeHint(EPERM, 'CAP_NET_ADMIN') ??
      'the program must be loaded with the attach type it is attached with: loadFunc(name, type, { attachType })',
  }),
};
