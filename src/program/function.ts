import { inspect } from 'node:util';
import { ClosedError } from '../errors';
import { type NativeFd, type NativeProgramInfo, runtime } from '../native';
import { releaseAll } from '../release';

/** Anything that is undone before the function itself is closed. */
export interface Detachable {
  detach(): void;
}

/** A function of the program, loaded into the kernel. */
export class BPFFunction {
  /** The socket of attachRawSocket; undefined before. */
  sock: number | undefined;
  readonly #handle: NativeFd;
  readonly #attachments: { attachment: Detachable; name: string | undefined }[] = [];
  #info: NativeProgramInfo | undefined;

  constructor(
    readonly name: string,
    /** The program type it was loaded as: a value of BPFProgType. */
    readonly type: number,
    handle: NativeFd,
  ) {
    this.#handle = handle;
  }

  /** Binds an attachment's life to the function's: what is attached by a static method ends with the program too. */
  own<T extends Detachable>(attachment: T, name?: string): T {
    this.#attachments.push({ attachment, name });
    return attachment;
  }

  /** Detaches what was bound under a name; false where nothing was. */
  detachOwn(name: string): boolean {
    const index = this.#attachments.findIndex((one) => one.name === name);
    if (index < 0) return false;
    this.#attachments.splice(index, 1)[0]!.attachment.detach();
    return true;
  }

  /** What is bound to its life, in the order in which it was. */
  get attachments(): Detachable[] {
    return this.#attachments.map(({ attachment }) => attachment);
  }

  /** The kernel's descriptor of the program, -1 once closed. */
  get fd(): number {
    return this.#handle.fd;
  }

  #read(): NativeProgramInfo {
    if (this.fd < 0) throw new ClosedError(`the function ${this.name}`);
    return runtime().programInfo(this.fd);
  }

  /** The kernel's number for the program, as bpftool shows it. */
  get id(): number {
    this.#info ??= this.#read();
    return this.#info.id;
  }

  /** The digest of its instructions: 16 hexadecimal digits (Linux 4.13). */
  get tag(): string {
    this.#info ??= this.#read();
    return this.#info.tag;
  }

  /** How many instructions the verifier walked through; 0 before Linux 5.16, which does not tell. */
  get verifiedInstructions(): number {
    this.#info ??= this.#read();
    return this.#info.verifiedInstructions;
  }

  /** How often it has run, where BPF statistics are on (`sysctl kernel.bpf_stats_enabled=1`, `BCC.enableStats()`); else 0n. */
  get runCount(): bigint {
    return this.#read().runCount;
  }

  /** The nanoseconds it has run, where BPF statistics are on; else 0n (Linux 5.1). */
  get runTimeNs(): bigint {
    return this.#read().runTimeNs;
  }

  /** Detaches what was attached with it, latest first, and gives the program back to the kernel. */
  close(): void {
    const detaching = this.#attachments.splice(0).reverse();
    releaseAll([
      ...detaching.map(
        ({ attachment }) =>
          () =>
            attachment.detach(),
      ),
      () => this.#handle.close(),
    ]);
  }

  [inspect.custom](_depth: number, options: { stylize(text: string, style: string): string }): string {
    const state = this.fd < 0 ? options.stylize(' (closed)', 'undefined') : ` fd ${this.fd}`;
    return `${options.stylize('BPFFunction', 'special')} ${this.name}${state}`;
  }
}
