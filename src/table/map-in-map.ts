import { isNativeError } from '../errors';
import type { ByteSource } from '../layout/codec';
import { type NativeFd, runtime } from '../native';
import { type Index, IndexedTable } from './array';
import { descriptorOf, type HasFd } from './descriptor';
import { HashTable } from './hash';
import type { TableSpec } from './spec';
import type { Table, Untyped } from './table';
import { Errno, tableError } from './table-error';

/** An inner map: a table, or the fd of one. It must have the shape of the template that the program names. */
export type MapRef = Table | HasFd | number;

/** Makes the table object of an inner map, which owns `fd`. */
export type InnerOpener = (fd: NativeFd, outer: TableSpec) => Table;

const WHAT = "a table or a map's fd";

/** The inner map by its id; undefined where it has just vanished. Needs CAP_SYS_ADMIN. */
function openInner(table: Table, spec: TableSpec, open: InnerOpener, id: number): Table | undefined {
  try {
    return open(runtime().fdById('map', id), spec);
  } catch (error) {
    if (!isNativeError(error)) throw error;
    if (error.errno === Errno.ENOENT) return undefined;
    throw tableError(table, `opening the inner map of id ${id}`, error.errno);
  }
}

/**
 * BPF_ARRAY_OF_MAPS. `set` takes a table; `get` opens the inner map as a table of its own, with the types of the
 * template: close it, or leave it to the garbage collector. Linux 4.12; reading 4.14.
 */
export class MapInMapArrayTable<T extends Table = Untyped> extends IndexedTable<Untyped> {
  readonly #open: InnerOpener;

  constructor(spec: TableSpec, open: InnerOpener) {
    super(spec);
    this.#open = open;
  }

  override get(index: Index): T | undefined {
    return super.get(index);
  }

  /** The kernel's id of the inner map, without opening it. */
  getId(index: Index): number | undefined {
    return this.lookUp(index) ? this.value.view.getUint32(0, true) : undefined;
  }

  protected override encodeLeaf(map: MapRef, target: ByteSource, offset: number): void {
    target.view.setUint32(offset, descriptorOf(this.name, map, WHAT), true);
  }

  protected override decodeLeaf(source: ByteSource, offset: number): Table | undefined {
    return openInner(this, this.spec, this.#open, source.view.getUint32(offset, true));
  }
}

/** BPF_HASH_OF_MAPS: a {@link MapInMapArrayTable} with keys of any type. */
export class MapInMapHashTable<K = Untyped, T extends Table = Untyped> extends HashTable<K, Untyped> {
  readonly #open: InnerOpener;

  constructor(spec: TableSpec, open: InnerOpener) {
    super(spec);
    this.#open = open;
  }

  override get(key: K): T | undefined {
    return super.get(key);
  }

  /** The kernel's id of the inner map, without opening it. */
  getId(key: K): number | undefined {
    return this.lookUp(key) ? this.value.view.getUint32(0, true) : undefined;
  }

  protected override encodeLeaf(map: MapRef, target: ByteSource, offset: number): void {
    target.view.setUint32(offset, descriptorOf(this.name, map, WHAT), true);
  }

  protected override decodeLeaf(source: ByteSource, offset: number): Table | undefined {
    return openInner(this, this.spec, this.#open, source.view.getUint32(offset, true));
  }
}
