import { inspect } from 'node:util';
import { BPFAttachType, BPFProgType } from '../constants';
import { type NativeFd, runtime } from '../native';
import { attachFailure, EEXIST, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, EPERM, type Meanings } from './failure';
import { type AttachableProgram, OwnedLink } from './link';
import { interfaceIndex } from './network-interface';

/*
 * Traffic control: SCHED_CLS programs on an interface, in direct action: what the program returns is the verdict
 * (TC_ACT_OK 0, TC_ACT_SHOT 2, TC_ACT_UNSPEC -1 for "the next one decides"). By a tcx link (Linux 6.6), which ends with
 * this process; or on the clsact qdisc (4.5), which keeps its filters until they are removed.
 *
 * Codes of errors: ERR_BCC_INTERFACE_NOT_FOUND, ERR_BCC_TC_UNSUPPORTED, ERR_BCC_ALREADY_ATTACHED.
 */

/** Packets that come in through an interface, or those that leave by it. */
export type TcDirection = 'ingress' | 'egress';

/** Where a traffic-control program goes: an interface and a direction. */
export interface TcOptions {
  dev: string;
  direction: TcDirection;
  /**
   * Of a filter on the clsact qdisc: lower runs first. Without priority, handle and `replace` the program runs before those
   * that are there, by a tcx link where the kernel has them; the verdicts TC_ACT_STOLEN and TC_ACT_TRAP, which such a link
   * takes for TC_ACT_UNSPEC, need the qdisc.
   */
  priority?: number;
  /** The filter's number within its priority; the kernel chooses where it is 0. */
  handle?: number;
  /** Takes the place of the filter with this priority and handle. */
  replace?: boolean;
}

/** An attached program; of a filter on the clsact qdisc, the numbers that `tc filter show` prints. */
export class TcLink extends OwnedLink {
  constructor(
    program: AttachableProgram,
    readonly dev: string,
    readonly direction: TcDirection,
    /** Undefined of a tcx link, as is the handle. */
    readonly priority: number | undefined,
    readonly handle: number | undefined,
    release: () => void,
  ) {
    super('tc', `${dev} ${direction}`, program.name, release);
  }
}

/** The numbers of BPF_TC_INGRESS and BPF_TC_EGRESS in libbpf, and the attach types of tcx links. */
const DIRECTIONS = {
  ingress: { side: 1, attachType: BPFAttachType.TCX_INGRESS },
  egress: { side: 2, attachType: BPFAttachType.TCX_EGRESS },
} as const;

/** Before all that are there, as an automatic priority puts a filter. */
const BPF_F_BEFORE = 1 << 3;

/** How many of our filters are on the qdisc of an interface, where we made it: it goes with the last of them. */
const ownQdiscs = new Map<number, number>();

/**
 * Attaches a SCHED_CLS program. The clsact qdisc is made where there is none, and removed with the last filter of this
 * process if no other process has put its own there meanwhile.
 */
export function attachTc(program: AttachableProgram, options: TcOptions): TcLink {
  const { dev, direction, priority = 0, handle = 0, replace = false } = options;
  if (!Object.hasOwn(DIRECTIONS, direction)) {
    throw new TypeError(`direction must be 'ingress' or 'egress', not ${inspect(direction)}`);
  }
  const chosen = DIRECTIONS[direction];
  if (!isUint(priority, 0xffff)) throw new RangeError(`priority is ${inspect(priority)}, the kernel takes 0 to 65535`);
  if (!isUint(handle, 0xffffffff)) throw new RangeError(`handle is ${inspect(handle)}, the kernel takes 32 bits`);
  const ifindex = interfaceIndex(dev);
  const { side, attachType } = chosen;
  const tcx = priority === 0 && handle === 0 && !replace ? linkTcx(program, ifindex, attachType) : undefined;
  if (tcx) return new TcLink(program, dev, direction, undefined, undefined, () => tcx.close());
  const native = runtime();
  let made: ReturnType<typeof native.tcAttach>;
  try {
    made = native.tcAttach(ifindex, side, program.fd, priority, handle, replace);
  } catch (error) {
    const what = `cannot attach ${program.name} to the ${direction} of ${dev}`;
    throw attachFailure(what, error, meaningsFor(dev), { program, types: [BPFProgType.SCHED_CLS] });
  }
  const counted = made.createdHook || ownQdiscs.has(ifindex);
  if (counted) ownQdiscs.set(ifindex, (ownQdiscs.get(ifindex) ?? 0) + 1);
  return new TcLink(program, dev, direction, made.priority, made.handle, () => {
    const left = (ownQdiscs.get(ifindex) ?? 1) - 1;
    const last = counted && left === 0;
    if (counted) {
      if (last) ownQdiscs.delete(ifindex);
      else ownQdiscs.set(ifindex, left);
    }
    try {
      native.tcDetach(ifindex, side, made.priority, made.handle, last);
    } catch (error) {
      if (isGone(error)) return;
      throw attachFailure(`cannot detach ${program.name} from the ${direction} of ${dev}`, error, meaningsFor(dev));
    }
  });
}

/** Undefined where the kernel has no such links, or refuses this one: the qdisc's error then tells why. */
function linkTcx(program: AttachableProgram, ifindex: number, attachType: number): NativeFd | undefined {
  try {
    return runtime().linkCreate(program.fd, ifindex, attachType, { flags: BPF_F_BEFORE });
  } catch {
    return undefined;
  }
}

function isUint(value: number, most: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= most;
}

/** The filter, its qdisc or the whole interface is gone already. */
function isGone(error: unknown): boolean {
  return [ENOENT, ENODEV, EINVAL].includes((error as { errno?: number }).errno ?? 0);
}

function meaningsFor(dev: string): Meanings {
  return {
    [EPERM]: { needs: ['CAP_NET_ADMIN'] },
    [EEXIST]: {
      code: 'ERR_BCC_ALREADY_ATTACHED',
      hint: `a filter with that priority and handle is on ${dev}: give replace: true, or leave the handle to the kernel`,
    },
    [EOPNOTSUPP]: {
      code: 'ERR_BCC_TC_UNSUPPORTED',
      hint: 'the kernel needs CONFIG_NET_CLS_BPF and CONFIG_NET_CLS_ACT',
    },
    [ENOENT]: {
      code: 'ERR_BCC_TC_UNSUPPORTED',
      hint: 'the kernel needs CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF',
    },
    [EINVAL]: { hint: `the qdisc of ${dev} takes no such filter: see tc qdisc show dev ${dev}` },
  };
}
