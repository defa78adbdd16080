import type { ByteSource } from '../layout/codec';
import { descriptorOf, type HasFd } from './descriptor';
import { HashTable } from './hash';
import { KeyedTable } from './keyed';
import { PerCpuHashTable } from './per-cpu';
import type { Untyped } from './table';

/**
 * `BPF_TABLE("cgroup_storage", …)`: a leaf for every cgroup that a program with this table is attached to, made and
 * removed with the attachment. A key is a cgroup's id (the inode of its directory), alone or in a
 * `struct bpf_cgroup_storage_key`. Elements can be read and written, not added or deleted. Linux 4.19.
 */
export class CgroupStorageTable<K = Untyped, L = Untyped> extends HashTable<K, L> {}

/** `BPF_TABLE("percpu_cgroup_storage", …)`: a {@link CgroupStorageTable} with a leaf for every CPU. Linux 4.20. */
export class PerCpuCgroupStorageTable<K = Untyped, L = Untyped, V = L[]> extends PerCpuHashTable<K, L, V> {}

/**
 * BPF_SK_STORAGE (Linux 5.2), BPF_INODE_STORAGE (5.10) and BPF_TASK_STORAGE (5.11): a leaf that lives in a socket, an
 * inode or a task. The key is a descriptor of that object: a socket's, a file's, a pidfd. The kernel keeps no list of
 * them: `get`, `set`, `has` and `delete` work, counting and iterating do not.
 */
export class LocalStorageTable<L = Untyped> extends KeyedTable<HasFd | object | number, L> {
  protected override encodeKey(owner: HasFd | object | number, target: ByteSource, offset: number): void {
    target.view.setUint32(offset, descriptorOf(this.name, owner, 'the descriptor of what the leaf lives in'), true);
  }

  protected override inspectContents(): string {
    return `(${this.typeName}, keyed by descriptor)`;
  }
}
