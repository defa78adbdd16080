import type { ByteSource } from '../layout/codec';
import { type Index, IndexedTable } from './array';
import { descriptorOf, type HasFd } from './descriptor';
import type { SetOptions } from './keyed';

/** A program for a {@link ProgArrayTable}: a function's name, the loaded function, or its fd. */
export type ProgramRef = string | HasFd | number;

/**
 * BPF_PROG_ARRAY: the programs that `PROG.call(ctx, index)` jumps to. `get` gives the program's id in the kernel
 * (Linux 4.16).
 */
export class ProgArrayTable extends IndexedTable<number> {
  /**
   * Puts a program at `index`. One given by name is loaded where it is not yet, as the kind its name or `progType` says;
   * all programs of one array must be of the kind of the one that calls it.
   */
  override set(index: Index, program: ProgramRef, options: SetOptions & { progType?: number } = {}): this {
    this.checkOpen();
    this.normalize(index);
    const fd = typeof program === 'string' ? this.spec.host.programFd(program, options.progType) : program;
    return super.set(
      index,
      descriptorOf(this.name, fd, "a function's name, a loaded function or a program's fd"),
      options,
    );
  }

  protected override encodeLeaf(fd: number, target: ByteSource, offset: number): void {
    target.view.setUint32(offset, fd, true);
  }

  protected override decodeLeaf(source: ByteSource, offset: number): number {
    return source.view.getUint32(offset, true);
  }
}
