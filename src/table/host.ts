import { UnsupportedError } from '../errors';
import type { NativeFd } from '../native';
import type { TableHost } from './spec';

/** The host of a table that belongs to no BCC object: one opened from a pin, by id, or out of another table. */
export class StandaloneHost implements TableHost {
  readonly #releases = new Set<() => void>();
  readonly #shared = new Map<string, unknown>();
  readonly #fd: NativeFd;
  #closed = false;

  /** Takes over `fd`. */
  constructor(fd: NativeFd) {
    this.#fd = fd;
  }

  get closed(): boolean {
    return this.#closed;
  }

  onClose(release: () => void): () => void {
    this.#releases.add(release);
    return () => {
      this.#releases.delete(release);
    };
  }

  programFd(fnName: string): number {
    throw new UnsupportedError(
      `the function '${fnName}' is not to be found by name: this table belongs to no BCC object`,
      {
        hint: 'give the loaded function itself, or its fd',
      },
    );
  }

  shared<T>(key: string, make: () => T): T {
    if (!this.#shared.has(key)) this.#shared.set(key, make());
    return this.#shared.get(key) as T;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const release of [...this.#releases].reverse()) release();
    this.#releases.clear();
    this.#fd.close();
  }
}
