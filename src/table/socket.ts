import { TableError } from '../errors';
import type { ByteSource } from '../layout/codec';
import { type Index, IndexedTable } from './array';
import { descriptorOf, type HasFd } from './descriptor';
import type { Elements } from './elements';
import { HashTable } from './hash';
import type { Table, Untyped } from './table';
import { Errno, noSuchOperation } from './table-error';

/** A socket for a table: its descriptor, an object that has one, or one of Node's sockets or servers. */
export type SocketRef = HasFd | object | number;

/** The kernel gives back a socket's cookie, and only where a leaf has room for its 8 bytes. */
function checkReadable(table: Table, operation: string): void {
  if (table.leafSize === 8) return;
  throw noSuchOperation(
    table,
    operation,
    'the kernel tells a socket by its 8-byte cookie, which a leaf of 4 bytes cannot hold',
    'declare the table with a u64 leaf to read it',
  );
}

function writeDescriptor(table: Table, socket: SocketRef, target: ByteSource, offset: number): void {
  const fd = descriptorOf(table.name, socket, "a socket's descriptor or an open socket");
  if (table.leafSize === 8) target.view.setBigUint64(offset, BigInt(fd), true);
  else target.view.setUint32(offset, fd, true);
}

/**
 * BPF_SOCKMAP (TCP and UDP sockets for sk_msg and sk_skb programs) and `BPF_TABLE("reuseport_sockarray", …)` (listening
 * sockets for sk_reuseport programs), by index. `set` takes a socket; `get` gives its cookie, in tables with 8-byte
 * leaves.
 */
export class SockMapTable extends IndexedTable<Untyped> {
  override get(index: Index): bigint | undefined {
    checkReadable(this, 'get');
    return super.get(index);
  }

  override has(index: Index): boolean {
    checkReadable(this, 'has');
    return super.has(index);
  }

  override delete(index: Index): boolean {
    try {
      return super.delete(index);
    } catch (error) {
      // The kernel's answer to an index that is in range and empty (net/core/sock_map.c).
      if (error instanceof TableError && error.errno === Errno.EINVAL) return false;
      throw error;
    }
  }

  protected override scan(): Elements {
    checkReadable(this, 'iteration');
    return super.scan();
  }

  protected override inspectContents(): string {
    return `(${this.maxEntries} sockets at most)`;
  }

  protected override encodeLeaf(socket: SocketRef, target: ByteSource, offset: number): void {
    writeDescriptor(this, socket, target, offset);
  }

  protected override decodeLeaf(source: ByteSource, offset: number): bigint {
    return source.view.getBigUint64(offset, true);
  }
}

/** Listening sockets for sk_reuseport programs; see {@link SockMapTable}. Linux 4.19. */
export class ReuseportSockArrayTable extends SockMapTable {}

/** BPF_SOCKHASH: a {@link SockMapTable} with keys of any type. Linux 4.18. */
export class SockHashTable<K = Untyped> extends HashTable<K, Untyped> {
  override get size(): number {
    return this.scanKeys().count;
  }

  override get(key: K): bigint | undefined {
    checkReadable(this, 'get');
    return super.get(key);
  }

  override has(key: K): boolean {
    checkReadable(this, 'has');
    return super.has(key);
  }

  override keys(): IterableIterator<K> {
    return this.keysOf(this.scanKeys());
  }

  override clear(): void {
    const { keys, count } = this.scanKeys();
    this.deleteRaw(keys.raw, count);
  }

  protected override scan(): Elements {
    checkReadable(this, 'iteration');
    return super.scan();
  }

  protected override inspectContents(): string {
    return `(${this.maxEntries} sockets at most)`;
  }

  protected override encodeLeaf(socket: SocketRef, target: ByteSource, offset: number): void {
    writeDescriptor(this, socket, target, offset);
  }

  protected override decodeLeaf(source: ByteSource, offset: number): bigint {
    return source.view.getBigUint64(offset, true);
  }
}
