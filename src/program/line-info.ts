import { Btf } from '../layout/btf';
import type { CompiledFunction, CompiledProgram } from './compiled';
import { MAIN_FILE } from './diagnostics';

/** A line of C, and the first of the instructions that were made of it: a record of struct bpf_line_info. */
export interface SourceLine {
  insn: number;
  /** Without the blanks around it. */
  text: string;
  /** In the text as libbcc rewrote it; 0 for code that libbcc puts in and for lines of other files. */
  line: number;
}

/** Of struct bpf_line_info.line_col, the bits that tell the column. */
const COLUMN_BITS = 10;

/** The lines of one function, in the order of its instructions; none where the compiler told none. */
export function sourceLines({ btf: blob }: CompiledProgram, fn: CompiledFunction): SourceLine[] {
  const { lineInfo, lineInfoRecSize } = fn;
  if (blob.length === 0 || lineInfoRecSize === 0) return [];
  const btf = new Btf(blob);
  const view = new DataView(lineInfo.buffer, lineInfo.byteOffset, lineInfo.byteLength);
  return Array.from({ length: Math.floor(lineInfo.length / lineInfoRecSize) }, (_, index) => {
    const [insn, file, text, place] = [0, 4, 8, 12].map((at) => view.getUint32(index * lineInfoRecSize + at, true));
    return {
      insn: insn!,
      text: btf.string(text!).trim(),
      line: btf.string(file!) === MAIN_FILE ? place! >>> COLUMN_BITS : 0,
    };
  });
}
