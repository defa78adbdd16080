import { KeyedTable } from './keyed';
import type { Untyped } from './table';

/** BPF_HASH and `BPF_TABLE("hash", …)`. */
export class HashTable<K = Untyped, L = Untyped> extends KeyedTable<K, L> {}

/** `BPF_TABLE("lru_hash", …)`: a full table evicts its least recently used element instead of refusing a new one. */
export class LruHashTable<K = Untyped, L = Untyped> extends HashTable<K, L> {}
