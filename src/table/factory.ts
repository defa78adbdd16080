import { BPFMapType } from '../constants';
import { UnsupportedError } from '../errors';
import { Btf } from '../layout/btf';
import type { Layout } from '../layout/layout';
import { layoutFromRef } from '../layout/ref';
import { type NativeFd, type NativeMapInfo, runtime } from '../native';
import { ArrayTable } from './array';
import { CgroupArrayTable } from './cgroup-array';
import { CpuMapTable, DevMapHashTable, DevMapTable, XskMapTable } from './device';
import { HashTable, LruHashTable } from './hash';
import { StandaloneHost } from './host';
import type { KeyedTable } from './keyed';
import { LpmTrieTable } from './lpm-trie';
import { MapInMapArrayTable, MapInMapHashTable } from './map-in-map';
import { LruPerCpuHashTable, PerCpuArrayTable, PerCpuHashTable, type Reducer } from './per-cpu';
import { PerfEventArrayTable } from './perf-event-array';
import { ProgArrayTable } from './prog-array';
import { QueueStackTable } from './queue-stack';
import { RingBufferTable } from './ring-buffer';
import { ReuseportSockArrayTable, SockHashTable, SockMapTable } from './socket';
import type { Int64Mode, TableSpec } from './spec';
import { StackTraceTable } from './stack-trace';
import { CgroupStorageTable, LocalStorageTable, PerCpuCgroupStorageTable } from './storage';
import { mapTypeName, type Table, type Untyped } from './table';

/** What `getTable` may be told besides a table's name. */
export interface TableOptions {
  /** Read keys as this type instead of the program's own: a {@link Layout}, or a type of ref's protocol. */
  keyType?: Layout | object;
  /** Likewise the leaves. */
  leafType?: Layout | object;
  /** Per-CPU tables: makes one value of all CPUs' leaves. */
  reducer?: Reducer;
}

/**
 * A table of whichever kind: what `b.table(name)` gives where the caller does not say more. It has the methods of every
 * kind for the type checker; at run time those of its own.
 */
export type AnyTable<K = Untyped, L = Untyped> = KeyedTable<K, L> &
  Pick<PerCpuHashTable<K>, 'getvalue' | 'sum' | 'max' | 'average'> &
  Pick<StackTraceTable, 'walk'> &
  Pick<QueueStackTable<L>, 'push' | 'pop' | 'peek'> &
  Pick<ProgArrayTable, 'set'> &
  Pick<MapInMapHashTable<K>, 'getId'> &
  Pick<RingBufferTable, Exclude<keyof RingBufferTable, keyof Table>> &
  Pick<PerfEventArrayTable, Exclude<keyof PerfEventArrayTable, keyof Table>> & {
    // Where the types are not told, TypeScript may take `for await` for `for`: then events must not pass for [key, leaf].
    [Symbol.iterator](): IterableIterator<0 extends 1 & K ? Untyped : [K, L]>;
  };

type Make = (spec: TableSpec, options: TableOptions) => Table;

const MAKERS: Readonly<Record<number, Make>> = {
  [BPFMapType.HASH]: (spec) => new HashTable(spec),
  [BPFMapType.ARRAY]: (spec) => new ArrayTable(spec),
  [BPFMapType.PROG_ARRAY]: (spec) => new ProgArrayTable(spec),
  [BPFMapType.PERF_EVENT_ARRAY]: (spec) => new PerfEventArrayTable(spec),
  [BPFMapType.PERCPU_HASH]: (spec, { reducer }) => new PerCpuHashTable(spec, reducer),
  [BPFMapType.PERCPU_ARRAY]: (spec, { reducer }) => new PerCpuArrayTable(spec, reducer),
  [BPFMapType.STACK_TRACE]: (spec) => new StackTraceTable(spec),
  [BPFMapType.CGROUP_ARRAY]: (spec) => new CgroupArrayTable(spec),
  [BPFMapType.LRU_HASH]: (spec) => new LruHashTable(spec),
  [BPFMapType.LRU_PERCPU_HASH]: (spec, { reducer }) => new LruPerCpuHashTable(spec, reducer),
  [BPFMapType.LPM_TRIE]: (spec) => new LpmTrieTable(spec),
  [BPFMapType.ARRAY_OF_MAPS]: (spec) => new MapInMapArrayTable(spec, openInner),
  [BPFMapType.HASH_OF_MAPS]: (spec) => new MapInMapHashTable(spec, openInner),
  [BPFMapType.DEVMAP]: (spec) => new DevMapTable(spec),
  [BPFMapType.SOCKMAP]: (spec) => new SockMapTable(spec),
  [BPFMapType.CPUMAP]: (spec) => new CpuMapTable(spec),
  [BPFMapType.XSKMAP]: (spec) => new XskMapTable(spec),
  [BPFMapType.SOCKHASH]: (spec) => new SockHashTable(spec),
  [BPFMapType.CGROUP_STORAGE]: (spec) => new CgroupStorageTable(spec),
  [BPFMapType.REUSEPORT_SOCKARRAY]: (spec) => new ReuseportSockArrayTable(spec),
  [BPFMapType.PERCPU_CGROUP_STORAGE]: (spec, { reducer }) => new PerCpuCgroupStorageTable(spec, reducer),
  [BPFMapType.QUEUE]: (spec) => new QueueStackTable(spec),
  [BPFMapType.STACK]: (spec) => new QueueStackTable(spec),
  [BPFMapType.SK_STORAGE]: (spec) => new LocalStorageTable(spec),
  [BPFMapType.DEVMAP_HASH]: (spec) => new DevMapHashTable(spec),
  [BPFMapType.STRUCT_OPS]: (spec) =>
    refuse(spec, 'its one element is a table of programs that libbpf alone can register'),
  [BPFMapType.RINGBUF]: (spec) => new RingBufferTable(spec),
  [BPFMapType.INODE_STORAGE]: (spec) => new LocalStorageTable(spec),
  [BPFMapType.TASK_STORAGE]: (spec) => new LocalStorageTable(spec),
};

/**
 * The table object for a map, of the class that fits its type. Throws UnsupportedError (`ERR_BCC_TABLE_TYPE`) for types
 * that BCC has no table for, TableError (`ERR_BCC_TABLE_SIZE`) where a given type has another size than the map's.
 */
export function createTable(spec: TableSpec, options: TableOptions = {}): AnyTable {
  const make = MAKERS[spec.type] ?? (() => refuse(spec, 'BCC has no table of this type'));
  const keyLayout = options.keyType === undefined ? spec.keyLayout : toLayout(options.keyType);
  const leafLayout = options.leafType === undefined ? spec.leafLayout : toLayout(options.leafType);
  // Ring and perf buffers have events for leaves.
  const events = options.leafType === undefined ? spec.events : [leafLayout];
  return make({ ...spec, keyLayout, leafLayout, events }, options) as unknown as AnyTable;
}

function refuse(spec: TableSpec, reason: string): never {
  throw new UnsupportedError(`table '${spec.name}' is of type ${mapTypeName(spec.type)}: ${reason}`, {
    code: 'ERR_BCC_TABLE_TYPE',
  });
}

function toLayout(type: Layout | object): Layout {
  return 'kind' in type && typeof type.kind === 'string' ? (type as Layout) : layoutFromRef(type);
}

/** What {@link openTable} may be told. */
export interface OpenOptions extends TableOptions {
  /** By default the kernel's name of the map. */
  name?: string;
  int64?: Int64Mode;
}

/**
 * A table for a map that no BCC object of this process made. It takes over `fd`: `close()` releases it. Types that are
 * not given come from the map's own BTF; where it has none, keys and leaves are Uint8Arrays of their bytes.
 */
export function openTable(fd: NativeFd, options: OpenOptions = {}): AnyTable {
  const info = runtime().mapInfo(fd.fd);
  const types = btfOf(info);
  return createTable(
    {
      name: options.name ?? info.name,
      type: info.type,
      keySize: info.keySize,
      leafSize: info.valueSize,
      maxEntries: info.maxEntries,
      flags: info.flags,
      fd,
      keyLayout: layoutOf(types, info.btfKeyTypeId, info.keySize),
      leafLayout: layoutOf(types, info.btfValueTypeId, info.valueSize),
      events: [],
      int64: options.int64 ?? 'bigint',
      host: new StandaloneHost(fd),
    },
    options,
  );
}

/** An inner map read as its outer table's template says. */
function openInner(fd: NativeFd, outer: TableSpec): Table {
  const { inner } = outer;
  if (inner === undefined) return openTable(fd, { int64: outer.int64 });
  const { type, name, keySize, valueSize, maxEntries, flags } = runtime().mapInfo(fd.fd);
  const host = new StandaloneHost(fd);
  return createTable({
    ...inner,
    name: name || inner.name,
    type,
    keySize,
    leafSize: valueSize,
    maxEntries,
    flags,
    fd,
    host,
  });
}

function btfOf(info: NativeMapInfo): Btf | undefined {
  if (info.btfId === 0) return undefined;
  const fd = runtime().fdById('btf', info.btfId);
  try {
    return new Btf(runtime().btfBlob(fd.fd));
  } finally {
    fd.close();
  }
}

function layoutOf(btf: Btf | undefined, typeId: number, size: number): Layout {
  if (btf !== undefined && typeId !== 0) return btf.layout(typeId);
  return { kind: 'array', element: { kind: 'int', size: 1, signed: false }, length: size, size };
}
