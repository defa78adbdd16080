import { inspect } from 'node:util';

/** What every attach function takes: a program that the kernel has loaded. The fd is borrowed. */
export interface AttachableProgram {
  readonly name: string;
  readonly fd: number;
}

/** One attachment of one function to one hook. Detaching is harmless when repeated. */
export interface Link {
  /** 'kprobe', 'tracepoint', 'uprobe', … */
  readonly kind: string;
  /** What it is attached to, as a person would name it: `do_sys_open`, `sched:sched_switch`, `c:malloc`, `eth0`. */
  readonly target: string;
  /** The BPF function. */
  readonly fnName: string;
  readonly attached: boolean;
  /** Takes the function off its hook. Harmless when repeated. */
  detach(): void;
}

/** The one implementation of {@link Link}: `release` undoes the attachment and runs at most once. */
export class OwnedLink implements Link {
  #release: (() => void) | undefined;

  constructor(
    readonly kind: string,
    readonly target: string,
    readonly fnName: string,
    release: () => void,
  ) {
    this.#release = release;
  }

  get attached(): boolean {
    return this.#release !== undefined;
  }

  detach(): void {
    const release = this.#release;
    this.#release = undefined;
    release?.();
  }

  [Symbol.dispose](): void {
    this.detach();
  }

  [inspect.custom](_depth: number, options: { stylize(text: string, style: string): string }): string {
    const state = this.attached ? '' : options.stylize(' (detached)', 'undefined');
    return `${options.stylize(this.kind, 'special')} ${this.target} → ${this.fnName}${state}`;
  }
}
