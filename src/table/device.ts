import { readFileSync } from 'node:fs';
import type { ByteSource } from '../layout/codec';
import { type Index, IndexedTable } from './array';
import { descriptorOf, type HasFd } from './descriptor';
import { HashTable } from './hash';
import type { SetOptions } from './keyed';
import type { Table, Untyped } from './table';
import { noSuchOperation } from './table-error';

/** An interface by name is its index, in tables whose leaf is an index; other values are as they are. */
function interfaceIndex<L>(table: Table, leaf: L | string): L {
  if (typeof leaf !== 'string' || table.leafLayout.kind !== 'int') return leaf as L;
  try {
    return Number(readFileSync(`/sys/class/net/${leaf}/ifindex`, 'utf8')) as L;
  } catch {
    throw new TypeError(`table '${table.name}', leaf: there is no network interface '${leaf}'`);
  }
}

/**
 * BPF_DEVMAP: where `NAME.redirect_map(index, flags)` sends a packet. A leaf is an interface's index (or its name), or a
 * `struct bpf_devmap_val` of index and program (Linux 5.8).
 */
export class DevMapTable<L = Untyped> extends IndexedTable<L> {
  /** Sends what is redirected to `index` to a device. */
  override set(index: Index, device: L | string, options?: SetOptions): this {
    return super.set(index, device as L, options);
  }

  protected override encodeLeaf(device: L | string, target: ByteSource, offset: number): void {
    super.encodeLeaf(interfaceIndex(this, device), target, offset);
  }
}

/** `BPF_TABLE("devmap_hash", …)`: a {@link DevMapTable} with keys of any number (Linux 5.4). */
export class DevMapHashTable<L = Untyped> extends HashTable<number, L> {
  /** Sends what is redirected to `key` to a device. */
  override set(key: number, device: L | string, options?: SetOptions): this {
    return super.set(key, device as L, options);
  }

  protected override encodeLeaf(device: L | string, target: ByteSource, offset: number): void {
    super.encodeLeaf(interfaceIndex(this, device), target, offset);
  }
}

/**
 * BPF_CPUMAP: a packet redirected to `index` goes on at that CPU. A leaf is the length of its queue, or a
 * `struct bpf_cpumap_val` of length and program (Linux 5.9).
 */
export class CpuMapTable<L = Untyped> extends IndexedTable<L> {}

/**
 * BPF_XSKMAP: AF_XDP sockets by their queue's index; `set` takes a socket's descriptor, or an object that has one. The
 * kernel does not tell what is in it.
 */
export class XskMapTable extends IndexedTable<HasFd | number> {
  override get(_index: Index): never {
    throw noSuchOperation(this, 'get', 'the kernel does not tell which socket is at an index');
  }

  override has(_index: Index): never {
    throw noSuchOperation(this, 'has', 'the kernel does not tell whether there is a socket at an index');
  }

  protected override inspectContents(): string {
    return `(${this.maxEntries} sockets at most)`;
  }

  protected override encodeLeaf(socket: HasFd | number, target: ByteSource, offset: number): void {
    target.view.setUint32(offset, descriptorOf(this.name, socket, "an AF_XDP socket's descriptor"), true);
  }
}
