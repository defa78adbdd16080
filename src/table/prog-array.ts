import { knownOptions } from '../arguments';
import type { ByteSource } from '../layout/codec';
import { type Index, IndexedTable } from './array';
import { descriptorOf, type HasFd } from './descriptor';
import type { SetOptions } from './keyed';
import type { Untyped } from './table';

/** A program for a {@link ProgArrayTable}: a function's name, the loaded function, or its fd. */
export type ProgramRef = string | HasFd | number;

const WHAT = "a function's name, a loaded function or a program's fd";

/**
 * BPF_PROG_ARRAY: the programs that `PROG.call(ctx, index)` jumps to. `get` gives the program's id in the kernel
 * (Linux 4.16).
 */
export class ProgArrayTable extends IndexedTable<Untyped> {
  /**
   * Puts a program at `index`. One given by name is loaded where it is not yet, as the kind its name or `progType` says;
   * all programs of one array must be of the kind of the one that calls it.
   */
  override set(index: Index, program: ProgramRef, options: SetOptions & { progType?: number } = {}): this {
    const { progType, ...rest } = knownOptions('set', options, ['flags', 'progType']);
    this.normalize(index);
    return super.set(index, typeof program === 'string' ? this.#load(program, progType) : program, rest);
  }

  protected override encodeLeaf(program: ProgramRef, target: ByteSource, offset: number): void {
    const loaded = typeof program === 'string' ? this.#load(program) : program;
    target.view.setUint32(offset, descriptorOf(this.name, loaded, WHAT), true);
  }

  #load(fnName: string, progType?: number): number {
    this.checkOpen();
    return this.spec.host.programFd(fnName, progType);
  }

  protected override decodeLeaf(source: ByteSource, offset: number): number {
    return source.view.getUint32(offset, true);
  }
}
