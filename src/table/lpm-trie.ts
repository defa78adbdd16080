import type { ByteSource } from '../layout/codec';
import { KeyedTable } from './keyed';
import type { Untyped } from './table';

/**
 * BPF_LPM_TRIE: keys are prefixes, structs of a `u32` length in bits and the data in network byte order. `get` and `has`
 * find the longest stored prefix that matches; `set`, `delete` and iteration deal in stored prefixes.
 */
export class LpmTrieTable<K = Untyped, L = Untyped> extends KeyedTable<K, L> {
  protected override encodeKey(key: K, target: ByteSource, offset: number): void {
    super.encodeKey(key, target, offset);
    const length = target.view.getUint32(offset, true);
    const most = (this.keySize - 4) * 8;
    if (length > most)
      throw new RangeError(
        `table '${this.name}', key: a prefix of ${length} bits is longer than the data's ${most} bits`,
      );
  }
}
