import { closeSync, constants, openSync } from 'node:fs';
import { TableError } from '../errors';
import type { ByteSource } from '../layout/codec';
import { type Index, IndexedTable } from './array';
import { descriptorOf, type HasFd } from './descriptor';
import { noSuchOperation } from './table-error';

/** BPF_CGROUP_ARRAY: the cgroups that `NAME.check_current_task(index)` asks about. The kernel does not tell what is in it. */
export class CgroupArrayTable extends IndexedTable<HasFd | number> {
  /** Puts a cgroup at `index`: the path of its directory in a cgroup v2 mount, or an open descriptor of that. */
  override set(index: Index, cgroup: string | HasFd | number): this {
    this.checkOpen();
    this.normalize(index);
    if (typeof cgroup !== 'string') return super.set(index, cgroup);
    const fd = this.#open(cgroup);
    try {
      return super.set(index, fd);
    } finally {
      closeSync(fd);
    }
  }

  override get(_index: Index): never {
    throw noSuchOperation(this, 'get', 'the kernel does not tell which cgroup is at an index');
  }

  override has(_index: Index): never {
    throw noSuchOperation(this, 'has', 'the kernel does not tell whether there is a cgroup at an index');
  }

  protected override inspectContents(): string {
    return `(${this.maxEntries} cgroups at most)`;
  }

  protected override encodeLeaf(cgroup: HasFd | number, target: ByteSource, offset: number): void {
    target.view.setUint32(offset, descriptorOf(this.name, cgroup, "a cgroup's path or its descriptor"), true);
  }

  #open(path: string): number {
    try {
      return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
    } catch (cause) {
      const { errno, message } = cause as NodeJS.ErrnoException;
      throw new TableError(`table '${this.name}': the cgroup cannot be opened: ${message}`, {
        code: 'ERR_BCC_TABLE_VALUE',
        errno: errno === undefined ? undefined : -errno,
        cause,
        hint: 'give the path of a directory in a mounted cgroup v2 hierarchy, often /sys/fs/cgroup or /sys/fs/cgroup/unified',
      });
    }
  }
}
