import { type InspectOptionsStylized, inspect } from 'node:util';

/** Where events were lost: the kernel's buffer was full, or the consumer's own limit (`maxBuffered`) was reached. */
export type LossCause = 'kernel' | 'overflow';

/**
 * Events that were produced and never arrive, told in the place where they are missing. For ring buffers, whose kernel
 * side keeps no count, the place is known to one batch only.
 */
export class Loss {
  constructor(
    /** How many events. */
    readonly lost: number,
    readonly cause: LossCause,
    /** The CPU whose buffer was full; undefined where it is not one CPU's. */
    readonly cpu?: number,
  ) {}

  toString(): string {
    const where = this.cpu === undefined ? '' : ` on CPU ${this.cpu}`;
    const why = this.cause === 'kernel' ? "the kernel's buffer was full" : 'more were waiting than may be kept';
    return `${this.lost} ${this.lost === 1 ? 'event' : 'events'} lost${where}: ${why}`;
  }

  [inspect.custom](_depth: number, options: InspectOptionsStylized): string {
    return options.stylize(`[${this}]`, 'special');
  }
}
