import { type InspectOptionsStylized, inspect } from 'node:util';
import { BPFMapType } from '../constants';
import { ClosedError } from '../errors';
import type { Layout } from '../layout/layout';
import { runtime } from '../native';
import type { AnyTable, OpenOptions } from './factory';
import { StandaloneHost } from './host';
import type { SharedTable, TableSpec } from './spec';

const TYPE_NAMES = new Map<number, string>(Object.entries(BPFMapType).map(([name, type]) => [type, name]));

/** `HASH` for 1: the kernel's name of a map type, without BPF_MAP_TYPE_. */
export function mapTypeName(type: number): string {
  return TYPE_NAMES.get(type) ?? `type ${type}`;
}

/** What a key or a leaf is where the caller names no type: whatever the C type decodes to, unchecked as in BCC. */
// biome-ignore lint/suspicious/noExplicitAny: a table's types are known to the C compiler alone unless the caller tells
export type Untyped = any;

/** What pin.ts provides: it knows all kinds of table, each of which extends the class below. */
export const pins: { open(path: string, options?: OpenOptions): AnyTable } = {
  open() {
    throw new Error('table/pin.ts has not been loaded');
  },
};

/**
 * A BPF map with its C types. A table of a BCC object lives as long as that object; one that was opened by itself
 * (`Table.fromPin`, an inner table) is closed with `close()` or, at the latest, by the garbage collector.
 */
export abstract class Table {
  readonly name: string;
  /** The kernel's map type: a value of {@link BPFMapType}. */
  readonly type: number;
  /** In bytes; 0 for queues, stacks and ring buffers. */
  readonly keySize: number;
  /** In bytes, of one CPU's value in per-CPU tables. */
  readonly leafSize: number;
  readonly maxEntries: number;
  /** BPF_F_* bits the map was made with: {@link BPFMapFlag}. */
  readonly flags: number;
  /** How the C key lies in memory. */
  readonly keyLayout: Layout;
  /** How the C leaf lies in memory. */
  readonly leafLayout: Layout;
  protected readonly spec: TableSpec;

  constructor(spec: TableSpec) {
    this.spec = spec;
    this.name = spec.name;
    this.type = spec.type;
    this.keySize = spec.keySize;
    this.leafSize = spec.leafSize;
    this.maxEntries = spec.maxEntries;
    this.flags = spec.flags;
    this.keyLayout = spec.keyLayout;
    this.leafLayout = spec.leafLayout;
  }

  /**
   * The table that another program, or an earlier run, pinned at `path`. Types that are not given come from the map's
   * own BTF; where it has none, keys and leaves are Uint8Arrays. `close()` releases it.
   * @throws BCCError `ERR_BCC_PIN` where nothing is pinned there, TableError `ERR_BCC_TABLE_TYPE` where it is no map
   */
  static fromPin(path: string, options?: OpenOptions): AnyTable {
    return pins.open(path, options);
  }

  /** `HASH`, `ARRAY`, …: the kernel's name of the map's type. */
  get typeName(): string {
    return mapTypeName(this.type);
  }

  /** The map's file descriptor, still owned by the table's BCC object. Throws ClosedError once that is closed. */
  getFd(): number {
    this.checkOpen();
    return this.spec.fd.fd;
  }

  /**
   * What another thread needs to open the same map with `openShared`: plain data, for `workerData` or `postMessage`. It
   * lends the descriptor: this table must stay open until the other thread has opened its own.
   */
  share(): SharedTable {
    const { host: _host, lost: _lost, fd, ...description } = this.spec;
    return { ...description, fd: this.getFd(), id: runtime().mapInfo(fd.fd).id };
  }

  /** Closes a table that was opened by itself; a table of a BCC object closes with that object, not before. */
  close(): void {
    if (this.spec.host instanceof StandaloneHost) this.spec.host.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  get [Symbol.toStringTag](): string {
    return this.constructor.name;
  }

  /** What it is, not what it holds: JSON has no form for the bigints of most keys and leaves. */
  toJSON(): { name: string; type: string; maxEntries: number } {
    return { name: this.name, type: this.typeName, maxEntries: this.maxEntries };
  }

  [inspect.custom](depth: number, options: InspectOptionsStylized): string {
    const title = `${options.stylize(this.constructor.name, 'special')} ${options.stylize(inspect(this.name), 'string')}`;
    if (this.spec.host.closed) return `${title} ${options.stylize('(closed)', 'undefined')}`;
    return depth < 0 ? title : `${title} ${this.inspectContents(options)}`;
  }

  /** What `inspect` shows after the table's name. */
  protected inspectContents(_options: InspectOptionsStylized): string {
    return `(${this.typeName}, ${this.maxEntries} entries at most)`;
  }

  protected checkOpen(): void {
    if (this.spec.host.closed) throw new ClosedError(`table '${this.name}'`);
  }
}
