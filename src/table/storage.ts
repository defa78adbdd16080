import { openSync } from 'node:fs';
import { BPFMapType } from '../constants';
import { errnoText, TableError } from '../errors';
import type { ByteSource } from '../layout/codec';
import { type NativeFd, runtime } from '../native';
import { descriptorOf, type HasFd } from './descriptor';
import { HashTable } from './hash';
import { KeyedTable, type SetOptions } from './keyed';
import { PerCpuHashTable } from './per-cpu';
import type { Untyped } from './table';
import { brief } from './table-error';

/**
 * `BPF_TABLE("cgroup_storage", …)`: a leaf for every cgroup that a program with this table is attached to, made and
 * removed with the attachment. A key is a cgroup's id (the inode of its directory), alone or in a
 * `struct bpf_cgroup_storage_key`. Elements can be read and written, not added or deleted. Linux 4.19.
 */
export class CgroupStorageTable<K = Untyped, L = Untyped> extends HashTable<K, L> {}

/** `BPF_TABLE("percpu_cgroup_storage", …)`: a {@link CgroupStorageTable} with a leaf for every CPU. Linux 4.20. */
export class PerCpuCgroupStorageTable<K = Untyped, L = Untyped, V = L[]> extends PerCpuHashTable<K, L, V> {}

/**
 * What a leaf lives in: its descriptor, or an object that has one (a socket of Node's, a file). Of BPF_TASK_STORAGE also a
 * process by its pid (`{ pid }`, a child process, `process`), of BPF_INODE_STORAGE a file by its path (`{ path }`).
 */
export type StorageOwner = HasFd | { readonly pid?: number | undefined } | { readonly path: string } | object | number;

/**
 * BPF_SK_STORAGE (Linux 5.2), BPF_INODE_STORAGE (5.10) and BPF_TASK_STORAGE (5.11): a leaf that lives in a socket, an
 * inode or a task, and ends with it. The key is that object: {@link StorageOwner}. The kernel keeps no list of them:
 * `get`, `set`, `has` and `delete` work, counting and iterating do not.
 *
 * @throws TableError `ERR_BCC_TABLE_OWNER` where the process or the file is not there.
 */
export class LocalStorageTable<L = Untyped> extends KeyedTable<StorageOwner, L> {
  override get(owner: StorageOwner): L | undefined {
    return this.#with(owner, 'get', (fd) => super.get(fd));
  }

  override has(owner: StorageOwner): boolean {
    return this.#with(owner, 'has', (fd) => super.has(fd));
  }

  override set(owner: StorageOwner, leaf: L, options?: SetOptions): this {
    return this.#with(owner, 'set', (fd) => super.set(fd, leaf, options));
  }

  override delete(owner: StorageOwner): boolean {
    return this.#with(owner, 'delete', (fd) => super.delete(fd));
  }

  override clearitem(owner: StorageOwner): boolean {
    return this.#with(owner, 'clearitem', (fd) => super.clearitem(fd));
  }

  /** Opens what is told by pid or path for as long as `action` needs it; everything else is passed on. */
  #with<T>(owner: StorageOwner, operation: string, action: (owner: StorageOwner) => T): T {
    this.checkOpen();
    const opened = this.#open(owner, operation);
    if (!opened) return action(owner);
    try {
      return action(opened);
    } finally {
      opened.close();
    }
  }

  #open(owner: StorageOwner, operation: string): NativeFd | undefined {
    if (typeof owner !== 'object' || owner === null || 'fd' in owner) return undefined;
    const { pid, path } = owner as { pid?: unknown; path?: unknown };
    try {
      if (this.type === BPFMapType.TASK_STORAGE && Number.isSafeInteger(pid)) return runtime().pidfdOpen(pid as number);
      if (this.type === BPFMapType.INODE_STORAGE && typeof path === 'string') {
        return new (runtime().Fd)(openSync(path, O_PATH));
      }
    } catch (error) {
      const errno = Math.abs((error as { errno: number }).errno);
      throw new TableError(`table '${this.name}': ${operation} failed: ${brief(owner)}: ${errnoText(errno)}`, {
        code: 'ERR_BCC_TABLE_OWNER',
        errno,
        cause: error,
        hint: errno === ESRCH ? 'the process has gone, and its leaf with it' : undefined,
      });
    }
    return undefined;
  }

  protected override encodeKey(owner: StorageOwner, target: ByteSource, offset: number): void {
    target.view.setUint32(offset, descriptorOf(this.name, owner, 'the descriptor of what the leaf lives in'), true);
  }

  protected override inspectContents(): string {
    return `(${this.typeName}, keyed by descriptor)`;
  }
}

const ESRCH = 3;

/** Names a file without reading it, or waiting at a pipe (open(2)). */
const O_PATH = 0o10000000;
