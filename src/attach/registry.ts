import { requireText } from '../arguments';
import { AttachError, didYouMean } from '../errors';
import { withShortGracePeriods } from '../kernel/grace-periods';
import { releaseAll } from '../release';
import { ENOENT } from './failure';
import type { Link } from './link';

/** How an attachment is found again by BCC's detach functions. */
export interface Registration {
  /** The names by which it is detached: kernel functions, `category:event`, uprobe events; one of its own target by default. */
  names?(): Iterable<string>;
  /** What it was asked for as, where that stands for all of its names. */
  label?: string;
  /** Leaves one of several names; without it a link is detached as a whole. */
  leave?(name: string): void;
}

interface Entry {
  link: Link;
  label: string | undefined;
  names(): Iterable<string>;
  leave: ((name: string) => void) | undefined;
}

/** All attachments of one BCC object, in the order in which they were made. */
export class LinkRegistry {
  #entries: Entry[] = [];

  add<T extends Link>(link: T, { names, label, leave }: Registration = {}): T {
    this.#entries.push({ link, label, names: names ?? (() => [link.target]), leave });
    return link;
  }

  #attached(kinds?: readonly string[]): Entry[] {
    this.#entries = this.#entries.filter(({ link }) => link.attached);
    return kinds ? this.#entries.filter(({ link }) => kinds.includes(link.kind)) : this.#entries;
  }

  /** The links that are still attached. */
  get links(): Link[] {
    return this.#attached().map(({ link }) => link);
  }

  /** How many names are attached by links of these kinds: a link on ten functions counts ten times. */
  count(kinds: readonly string[]): number {
    return this.#attached(kinds).reduce((sum, { names }) => sum + [...names()].length, 0);
  }

  /** Whether a link of these kinds was asked for under that label. */
  hasLabel(kinds: readonly string[], label: string): boolean {
    return this.#attached(kinds).some((entry) => entry.label === label);
  }

  /**
   * Detaches what is attached under a name or label, of one function or of all. `nameOf` tells another naming than the
   * entries' own.
   * @throws AttachError `ERR_BCC_NOT_ATTACHED` where nothing is.
   */
  detach(
    kinds: readonly string[],
    wanted: string,
    {
      fnName,
      nameOf = (name) => name,
    }: { fnName?: string | undefined; nameOf?(name: string, kind: string): string } = {},
  ): void {
    requireText(wanted, `the name of a ${kinds[0]}`);
    if (fnName !== undefined) requireText(fnName, 'fnName');
    const attached = this.#attached(kinds);
    let found = false;
    for (const { link, label, names, leave } of [...attached]) {
      if (fnName !== undefined && link.fnName !== fnName) continue;
      const all = [...names()];
      const name = all.find((candidate) => nameOf(candidate, link.kind) === wanted);
      if (label !== wanted && name === undefined) continue;
      found = true;
      if (leave && name !== undefined && all.length > 1) leave(name);
      else link.detach();
    }
    if (found) return;
    const names = new Set(attached.flatMap((entry) => [...entry.names()].map((name) => nameOf(name, entry.link.kind))));
    throw new AttachError(
      `${kinds[0]} ${wanted}${fnName === undefined ? '' : ` with the function ${fnName}`} is not attached`,
      {
        code: 'ERR_BCC_NOT_ATTACHED',
        errno: ENOENT,
        hint:
          didYouMean(wanted, names) ??
          (names.size > 0 ? `attached are ${[...names].slice(0, 8).join(', ')}` : 'nothing of that kind is'),
      },
    );
  }

  /** Detaches everything, latest first; what fails is told after all the rest was done. */
  close(): void {
    const entries = this.#entries.splice(0).reverse();
    withShortGracePeriods(entries.length, () => releaseAll(entries.map((entry) => () => entry.link.detach())));
  }
}
