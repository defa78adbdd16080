import { BPFAttachType, BPFProgType, XDPFlags } from '../constants';
import { runtime } from '../native';
import {
  attachFailure,
  E2BIG,
  EBUSY,
  EEXIST,
  EINVAL,
  ENODEV,
  ENOENT,
  EOPNOTSUPP,
  EPERM,
  type Meanings,
} from './failure';
import { KernelLink, LinkType } from './kernel-link';
import { type AttachableProgram, OwnedLink } from './link';
import { interfaceIndex } from './network-interface';

/*
 * Raw sockets (programs of type SOCKET_FILTER) and XDP (Linux 4.8, skb mode 4.12).
 *
 * Codes of errors: ERR_BCC_INTERFACE_NOT_FOUND, ERR_BCC_XDP_BUSY, ERR_BCC_XDP_UNSUPPORTED, ERR_BCC_NOT_ATTACHED.
 */

/** A packet socket with a program on it. */
export class RawSocketLink extends OwnedLink {
  readonly #socket: { readonly fd: number };

  constructor(program: AttachableProgram, dev: string, socket: { readonly fd: number }, release: () => void) {
    super('socket_filter', dev || 'every interface', program.name, release);
    this.#socket = socket;
  }

  /**
   * The socket: non-blocking, and readable when a frame passed the program. It belongs to the link; -1 once detached.
   */
  get sock(): number {
    return this.#socket.fd;
  }
}

/** Opens a packet socket on an interface ('' for all of them) and puts the program on it as its filter. */
export function attachRawSocket(program: AttachableProgram, dev: string): RawSocketLink {
  if (dev !== '') interfaceIndex(dev);
  const native = runtime();
  const what = `cannot attach ${program.name} to a raw socket on ${dev || 'every interface'}`;
  const wanted = { program, types: [BPFProgType.SOCKET_FILTER] };
  let socket: ReturnType<typeof native.openRawSocket>;
  try {
    socket = native.openRawSocket(dev);
  } catch (error) {
    throw attachFailure(what, error, { [EPERM]: { needs: ['CAP_NET_RAW'] } });
  }
  try {
    native.attachSocket(socket.fd, program.fd);
  } catch (error) {
    socket.close();
    throw attachFailure(what, error, {}, wanted);
  }
  return new RawSocketLink(program, dev, socket, () => socket.close());
}

/** The flags that choose a mode; removing a program must name the mode it is in. */
const MODES = XDPFlags.SKB_MODE | XDPFlags.DRV_MODE | XDPFlags.HW_MODE;

/**
 * Attaches an XDP program. `flags` are XDPFlags; 0 takes the driver's mode where it has one and the kernel's (skb)
 * elsewhere, and replaces the program that is there unless UPDATE_IF_NOEXIST is given. It stays as long as this process
 * and the link, whichever ends first (Linux 5.9); the program of one who did without links (`ip link`, BCC) is replaced
 * without one too, so that no frame passes in between, and ours then stays until it is detached or this process ends by
 * itself.
 */
export function attachXdp(program: AttachableProgram, dev: string, flags = 0): OwnedLink {
  const ifindex = interfaceIndex(dev);
  const native = runtime();
  try {
    const { id } = native.programInfo(program.fd);
    const link = linkXdp(program, ifindex, flags);
    if (link) return new OwnedLink('xdp', dev, program.name, () => link.release(id));
    native.xdpAttach(ifindex, program.fd, flags);
    return new OwnedLink('xdp', dev, program.name, () => removeOwnXdp(ifindex, dev, id, flags & MODES));
  } catch (error) {
    const types = [BPFProgType.XDP];
    throw attachFailure(`cannot attach ${program.name} to ${dev} as XDP`, error, xdpMeanings(dev), { program, types });
  }
}

/** Through a BPF link; undefined where that cannot be had or is not wanted: netlink then says what is wrong. */
function linkXdp(program: AttachableProgram, ifindex: number, flags: number): KernelLink | undefined {
  // A link takes no place that is taken: that is UPDATE_IF_NOEXIST by nature.
  if ((flags & ~(MODES | XDPFlags.UPDATE_IF_NOEXIST)) !== 0) return undefined;
  const mode = flags & MODES;
  try {
    return KernelLink.create(program, ifindex, BPFAttachType.XDP, mode);
  } catch (error) {
    if (!hasErrno(error, EBUSY) || (flags & XDPFlags.UPDATE_IF_NOEXIST) !== 0) return undefined;
  }
  const taken = xdpLink(ifindex, mode);
  try {
    return taken?.replace(program);
  } catch {
    return undefined;
  }
}

/** The link that holds an interface's program in a mode (0: in any). */
function xdpLink(ifindex: number, mode: number): KernelLink | undefined {
  const programId = runtime().xdpQuery(ifindex, mode);
  if (programId === 0) return undefined;
  return KernelLink.find(
    (info) => info.type === LinkType.XDP && info.ifindex === ifindex && info.programId === programId,
  );
}

/** Removes whatever XDP program is on the interface; `flags` choose the mode. Harmless where there is none. */
export function removeXdp(dev: string, flags = 0): void {
  const ifindex = interfaceIndex(dev);
  const link = xdpLink(ifindex, flags & MODES);
  try {
    if (link) link.cut();
    else runtime().xdpAttach(ifindex, -1, flags);
  } catch (error) {
    throw attachFailure(`cannot remove the XDP program of ${dev}`, error, xdpMeanings(dev));
  }
}

function removeOwnXdp(ifindex: number, dev: string, id: number, mode: number): void {
  try {
    if (runtime().xdpQuery(ifindex, mode) === id) runtime().xdpAttach(ifindex, -1, mode);
  } catch (error) {
    // The interface went away, and the program with it.
    if (!hasErrno(error, ENODEV)) throw attachFailure(`cannot remove XDP from ${dev}`, error, xdpMeanings(dev));
  }
}

function hasErrno(error: unknown, errno: number): boolean {
  return (error as { errno?: number } | undefined)?.errno === errno;
}

function xdpMeanings(dev: string): Meanings {
  const busy = {
    code: 'ERR_BCC_XDP_BUSY',
    hint: `another XDP program is on ${dev}: remove it (removeXdp; ip link set ${dev} xdp off) or leave UPDATE_IF_NOEXIST out`,
  };
  return {
    [EPERM]: { needs: ['CAP_NET_ADMIN'] },
    [EBUSY]: busy,
    [EEXIST]: busy,
    [EOPNOTSUPP]: {
      code: 'ERR_BCC_XDP_UNSUPPORTED',
      hint: `the driver of ${dev} has no XDP of its own: use XDPFlags.SKB_MODE`,
    },
    [EINVAL]: { hint: 'only one of SKB_MODE, DRV_MODE and HW_MODE can be given' },
    [E2BIG]: { hint: `the MTU of ${dev} is too large for XDP: lower it (ip link set ${dev} mtu 1500)` },
    [ENOENT]: { code: 'ERR_BCC_NOT_ATTACHED', hint: `no XDP program is on ${dev} in that mode` },
  };
}
