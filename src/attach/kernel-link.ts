import { type NativeFd, type NativeLinkInfo, runtime } from '../native';
import type { AttachableProgram } from './link';

/*
 * BPF links: attachments that the kernel ends with the last descriptor of them, however the process that holds it ends
 * (cgroups 5.7, network namespaces 5.8, XDP 5.9, tc 6.6). A link can carry one program after the other, and can be found
 * and cut by its number, whoever holds it (5.9, CAP_SYS_ADMIN).
 */

/** enum bpf_link_type in linux/bpf.h. */
export const LinkType = Object.freeze({ CGROUP: 3, NETNS: 5, XDP: 6 });

/** What this thread holds, so that it is found without the privilege to look through everybody's. */
const held = new Set<KernelLink>();

/** A link and how many attachments of this process stand on it. */
export class KernelLink {
  readonly #fd: NativeFd;
  #users = 0;

  private constructor(fd: NativeFd) {
    this.#fd = fd;
  }

  /** @throws the addon's error where the kernel has no such links, or does not want this one. */
  static create(program: AttachableProgram, target: number, attachType: number, flags: number): KernelLink {
    return new KernelLink(runtime().linkCreate(program.fd, target, attachType, { flags })).#hold();
  }

  /** The first link that `matches`, of this thread where it holds one. */
  static find(matches: (info: NativeLinkInfo) => boolean): KernelLink | undefined {
    return KernelLink.findHeld(matches) ?? KernelLink.#findAnybodys(matches);
  }

  static findHeld(matches: (info: NativeLinkInfo) => boolean): KernelLink | undefined {
    return [...held].find((link) => matches(link.info));
  }

  static #findAnybodys(matches: (info: NativeLinkInfo) => boolean): KernelLink | undefined {
    const native = runtime();
    let ids: number[];
    try {
      ids = native.ids('link');
    } catch {
      // Before Linux 5.8, or not allowed.
      return undefined;
    }
    for (const id of ids) {
      let fd: NativeFd;
      try {
        fd = native.fdById('link', id);
      } catch {
        // It went between the two calls.
        continue;
      }
      if (matches(native.linkInfo(fd.fd))) return new KernelLink(fd);
      fd.close();
    }
    return undefined;
  }

  get info(): NativeLinkInfo {
    return runtime().linkInfo(this.#fd.fd);
  }

  #hold(): this {
    this.#users++;
    held.add(this);
    return this;
  }

  /** Puts a program in the place of the one that the link carries, and holds the link for it. */
  replace(program: AttachableProgram): this {
    runtime().linkUpdate(this.#fd.fd, program.fd);
    return this.#hold();
  }

  /** Takes the link off its hook, whoever holds it. */
  cut(): void {
    try {
      runtime().linkDetach(this.#fd.fd);
    } finally {
      if (this.#users === 0) this.#fd.close();
    }
  }

  /** One attachment ends: that of the program with this number. Another program that took its place stays. */
  release(programId: number): void {
    const { info } = this;
    this.#users--;
    // Where our program has replaced another process's, that process holds the link as well.
    if (info.programId === programId) cutIfPossible(this.#fd);
    if (this.#users > 0) return;
    held.delete(this);
    this.#fd.close();
  }
}

/** Links cannot be cut before Linux 5.9; but nor is there then a second holder. */
function cutIfPossible(fd: NativeFd): void {
  try {
    runtime().linkDetach(fd.fd);
  } catch {}
}
