import type { Layout } from '../layout/layout';
import type { NativeFd } from '../native';

/** How 64-bit integers reach JavaScript: see `BCCOptions.int64`. */
export type Int64Mode = 'bigint' | 'number';

/** All that a table object is made from. */
export interface TableSpec {
  name: string;
  /** The kernel's map type: a value of BPFMapType. */
  type: number;
  keySize: number;
  leafSize: number;
  maxEntries: number;
  flags: number;
  /** Owned by whoever made the spec; the table borrows it. */
  fd: NativeFd;
  keyLayout: Layout;
  leafLayout: Layout;
  /** The structs that the program sends through this table (ring and perf buffers); [] where none is known. */
  events: readonly Layout[];
  /** The template's spec for maps of maps: how to read the inner tables. */
  inner?: Omit<TableSpec, 'fd'>;
  /** Ring buffers of a program that counts what they refused: how many so far. */
  lost?: () => bigint;
  int64: Int64Mode;
  host: TableHost;
}

/** A table as plain data, for another thread of this process. */
export interface SharedTable extends Omit<TableSpec, 'fd' | 'host' | 'lost'> {
  /** Borrowed from the table that was shared. */
  fd: number;
  /** The kernel's id of the map: what the descriptor must still stand for. */
  id: number;
}

/** What a table may ask of the BCC object it belongs to; `Table.fromPin` supplies a host of its own. */
export interface TableHost {
  readonly closed: boolean;
  /** Registers what must be released when the host closes (latest first); the result unregisters it. */
  onClose(release: () => void): () => void;
  /** The fd of a loaded function, for prog arrays; loads it where needed. */
  programFd(fnName: string, progType?: number): number;
  /** One object of a kind for all tables of the host (a ring manager, a perf manager, a symbol cache), made at first use. */
  shared<T>(key: string, make: () => T): T;
}
