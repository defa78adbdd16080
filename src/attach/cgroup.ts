import { closeSync, constants, openSync } from 'node:fs';
import { BPFAttachType } from '../constants';
import { AttachError } from '../errors';
import { runtime } from '../native';
import { attachFailure, EBADF, EINVAL, ENOENT, type Meanings } from './failure';
import { type AttachableProgram, OwnedLink } from './link';

/*
 * Programs that are put on a cgroup, a socket map or (flow dissectors) a network namespace by BPF_PROG_ATTACH.
 *
 * Codes of errors: ERR_BCC_CGROUP_NOT_FOUND, ERR_BCC_NOT_CGROUP2, ERR_BCC_NOT_ATTACHED, ERR_BCC_ALREADY_ATTACHED.
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

/** An open cgroup directory or socket map; or the path of a cgroup directory. */
export type FuncTarget = number | string;

/**
 * Puts a program where `attachType` (a value of BPFAttachType) says: on a cgroup v2, or on a socket map for SK_MSG and
 * SK_SKB. Flow dissectors take 0 and mean this network namespace. It stays when this process ends; detach() removes it.
 */
export function attachFunc(program: AttachableProgram, target: FuncTarget, attachType: number, flags = 0): OwnedLink {
  const held = hold(target, attachType);
  try {
    runtime().programAttach(program.fd, held.fd, attachType, flags);
  } catch (error) {
    held.close();
    const what = `cannot attach ${program.name} to ${held.name} as ${typeName(attachType)}`;
    throw attachFailure(what, error, meanings);
  }
  return new OwnedLink(typeName(attachType).toLowerCase(), held.name, program.name, () => {
    try {
      detach(program, held, attachType);
    } catch (error) {
      // detachFunc() has been before us.
      if ((error as AttachError).code !== 'ERR_BCC_NOT_ATTACHED') throw error;
    } finally {
      held.close();
    }
  });
}

/** Takes the program away again. ERR_BCC_NOT_ATTACHED where it is not there. */
export function detachFunc(program: AttachableProgram, target: FuncTarget, attachType: number): void {
  const held = hold(target, attachType);
  try {
    detach(program, held, attachType);
  } finally {
    held.close();
  }
}

interface HeldTarget {
  fd: number;
  name: string;
  close(): void;
}

function detach(program: AttachableProgram, { fd, name }: HeldTarget, attachType: number): void {
  try {
    runtime().programDetach(program.fd, fd, attachType);
  } catch (error) {
    const what = `cannot detach ${program.name} from ${name} (${typeName(attachType)})`;
    throw attachFailure(what, error, { ...meanings, [ENOENT]: notAttached, [EINVAL]: notAttached });
  }
}

const notAttached = { code: 'ERR_BCC_NOT_ATTACHED', hint: 'the function is not attached there with that attach type' };

/**
 * A descriptor of our own for the target: the caller may close his while the program is attached, and the number may
 * then mean something else.
 */
function hold(target: FuncTarget, attachType: number): HeldTarget {
  if (typeof target === 'string') return open(target, target);
  if (!Number.isSafeInteger(target) || target < 0) throw new TypeError(`${target} is no file descriptor`);
  const borrowed = { fd: target, name: `fd ${target}`, close() {} };
  if (attachType === BPFAttachType.FLOW_DISSECTOR) return { ...borrowed, name: 'this network namespace' };
  try {
    return open(`/proc/self/fd/${target}`, `cgroup fd ${target}`);
  } catch {
    return holdMap(target) ?? borrowed;
  }
}

function open(path: string, name: string): HeldTarget {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
    return { fd, name, close: () => closeSync(fd) };
  } catch (cause) {
    throw new AttachError(`the cgroup ${path} cannot be opened: ${(cause as Error).message}`, {
      code: 'ERR_BCC_CGROUP_NOT_FOUND',
      errno: -((cause as NodeJS.ErrnoException).errno ?? 0),
      cause,
      hint: 'give a directory of a cgroup v2 hierarchy (see: mount -t cgroup2)',
    });
  }
}

function holdMap(fd: number): HeldTarget | undefined {
  try {
    const { id, name } = runtime().mapInfo(fd);
    const own = runtime().fdById('map', id);
    return { fd: own.fd, name: `the map ${name || id}`, close: () => own.close() };
  } catch {
    return undefined;
  }
}

function typeName(attachType: number): string {
  return Object.entries(BPFAttachType).find(([, value]) => value === attachType)?.[0] ?? `attach type ${attachType}`;
}

const meanings: Meanings = {
  [EBADF]: {
    code: 'ERR_BCC_NOT_CGROUP2',
    hint: 'the descriptor is no cgroup v2 directory (cgroup v1 carries no programs): see mount -t cgroup2',
  },
  [EINVAL]: {
    code: 'ERR_BCC_ATTACH',
    hint: 'the program must be loaded with the attach type it is attached with: loadFunc(name, type, { attachType })',
  },
};
