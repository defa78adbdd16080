import type { MapRelocation } from './compiled';
import { helperName } from './helpers';

/*
 * BPF's instruction set as RFC 9669 defines it, with what Linux has added since (may_goto, acquire and release, address
 * space casts). The layout of the text is that of BCC's Python module; 32-bit operations are told by w registers, and
 * what it leaves out or misreads (neg, byte swaps, atomics, JMP32, call targets) is written as the kernel writes it.
 */

export interface DisassembleOptions {
  /** The function's name, for the heading; without it there is no heading. */
  name?: string;
  /** The map loads whose immediate is still empty. */
  relocations?: readonly MapRelocation[];
  /** Table names by file descriptor, for map loads that carry one. */
  tableNames?: ReadonlyMap<number, string>;
}

/** One instruction of 8 bytes, taken apart. */
interface Instruction {
  index: number;
  opcode: number;
  dst: number;
  src: number;
  /** 16 bits, signed. */
  off: number;
  /** 32 bits, signed. */
  imm: number;
}

const CLASS_LD = 0;
const CLASS_LDX = 1;
const CLASS_ST = 2;
const CLASS_STX = 3;
const CLASS_ALU = 4;
const CLASS_JMP = 5;
const CLASS_JMP32 = 6;

/** The bit that tells a register operand from an immediate one. */
const SOURCE_REGISTER = 0x08;

const OP_NEG = 0x80;
const OP_DIV = 0x30;
const OP_MOD = 0x90;
const OP_MOV = 0xb0;
const OP_END = 0xd0;
const OP_JA = 0x00;
const OP_CALL = 0x80;
const OP_EXIT = 0x90;
const OP_JCOND = 0xe0;

const ARITHMETIC: Readonly<Record<number, string>> = {
  0: '+=',
  16: '-=',
  32: '*=',
  48: '/=',
  64: '|=',
  80: '&=',
  96: '<<=',
  112: '>>=',
  144: '%=',
  160: '^=',
  176: '=',
  192: 's>>=',
};

/** Operations on bits: their immediate reads better in hexadecimal. */
const BITWISE = new Set([0x40, 0x50, 0xa0]);

const COMPARISON: Readonly<Record<number, string>> = {
  16: '==',
  32: '>',
  48: '>=',
  64: '&',
  80: '!=',
  96: 's>',
  112: 's>=',
  160: '<',
  176: '<=',
  192: 's<',
  208: 's<=',
};

/** By bits 3 and 4 of a load's or store's opcode. */
const WIDTHS = [32, 16, 8, 64] as const;

const MODE_IMM = 0x00;
const MODE_ABS = 0x20;
const MODE_IND = 0x40;
const MODE_MEM = 0x60;
const MODE_MEMSX = 0x80;
const MODE_ATOMIC = 0xc0;

const ATOMIC_FETCH = 0x01;
const ATOMIC_XCHG = 0xe1;
const ATOMIC_CMPXCHG = 0xf1;
const ATOMIC_LOAD_ACQUIRE = 0x100;
const ATOMIC_STORE_RELEASE = 0x110;

const ATOMIC: Readonly<Record<number, { operator: string; name: string }>> = {
  0: { operator: '+=', name: 'add' },
  64: { operator: '|=', name: 'or' },
  80: { operator: '&=', name: 'and' },
  160: { operator: '^=', name: 'xor' },
};

const signed = (value: number) => (value < 0 ? `${value}` : `+${value}`);
const hex = (value: number) => `0x${(value >>> 0).toString(16)}`;

function read(view: DataView, index: number): Instruction {
  const at = index * 8;
  const registers = view.getUint8(at + 1);
  return {
    index,
    opcode: view.getUint8(at),
    dst: registers & 0xf,
    src: registers >> 4,
    off: view.getInt16(at + 2, true),
    imm: view.getInt32(at + 4, true),
  };
}

function target({ index }: Instruction, distance: number): string {
  return `${signed(distance)} <${index + distance + 1}>`;
}

function byteSwap({ opcode, dst, imm }: Instruction): string | undefined {
  if (imm !== 16 && imm !== 32 && imm !== 64) return undefined;
  const wide = (opcode & 7) !== CLASS_ALU;
  const order = wide ? 'bswap' : (opcode & SOURCE_REGISTER) !== 0 ? 'be' : 'le';
  // In the 64-bit class the bit for the operand is reserved.
  if (wide && (opcode & SOURCE_REGISTER) !== 0) return undefined;
  return `r${dst} = ${order}${imm} r${dst}`;
}

function arithmetic(instruction: Instruction): string | undefined {
  const { opcode, dst, src, off, imm } = instruction;
  const operation = opcode & 0xf0;
  if (operation === OP_END) return byteSwap(instruction);
  const wide = (opcode & 7) !== CLASS_ALU;
  const register = wide ? 'r' : 'w';
  const fromRegister = (opcode & SOURCE_REGISTER) !== 0;
  if (operation === OP_NEG) return fromRegister ? undefined : `${register}${dst} = -${register}${dst}`;
  let operator = ARITHMETIC[operation];
  if (operator === undefined) return undefined;
  if (off !== 0) {
    if (operation === OP_DIV && off === 1) operator = 's/=';
    else if (operation === OP_MOD && off === 1) operator = 's%=';
    else if (operation === OP_MOV && fromRegister && (off === 8 || off === 16 || (off === 32 && wide))) {
      return `${register}${dst} = (s${off})${register}${src}`;
    } else if (operation === OP_MOV && fromRegister && wide && off === 1) {
      return `r${dst} = addr_space_cast(r${src}, ${imm >>> 16}, ${imm & 0xffff})`;
    } else return undefined;
  }
  if (fromRegister) return `${register}${dst} ${operator} ${register}${src}`;
  return `${register}${dst} ${operator} ${BITWISE.has(operation) ? hex(imm) : imm}`;
}

function call(instruction: Instruction): string | undefined {
  const { opcode, src, dst, imm, off } = instruction;
  if ((opcode & SOURCE_REGISTER) !== 0) return `callx r${dst}`;
  switch (src) {
    case 0: {
      const name = helperName(imm);
      return name === undefined ? `call <unknown helper #${imm}>` : `call ${name}#${imm}`;
    }
    case 1:
      return `call ${target(instruction, imm)}`;
    case 2:
      return off === 0 ? `call <kernel function with BTF id ${imm}>` : `call <module function with BTF id ${imm}>`;
    default:
      return undefined;
  }
}

function jump(instruction: Instruction): string | undefined {
  const { opcode, dst, src, off, imm } = instruction;
  const operation = opcode & 0xf0;
  const narrow = (opcode & 7) === CLASS_JMP32;
  const withRegister = (opcode & SOURCE_REGISTER) !== 0;
  if (operation === OP_JA) {
    if (withRegister) return undefined;
    return narrow ? `gotol ${target(instruction, imm)}` : `goto ${target(instruction, off)}`;
  }
  const comparison = COMPARISON[operation];
  if (comparison !== undefined) {
    const register = narrow ? 'w' : 'r';
    const right = withRegister ? `${register}${src}` : `${imm}`;
    return `if ${register}${dst} ${comparison} ${right} goto pc${target(instruction, off)}`;
  }
  if (narrow) return undefined;
  if (operation === OP_CALL) return call(instruction);
  if (operation === OP_EXIT && !withRegister) return 'exit';
  if (operation === OP_JCOND && !withRegister && src === 0) return `may_goto pc${target(instruction, off)}`;
  return undefined;
}

function memory(width: number, base: number, off: number, sign: 'u' | 's' = 'u'): string {
  return `*(${sign}${width}*)(r${base} ${signed(off)})`;
}

function atomic({ opcode, dst, src, off, imm }: Instruction, width: number): string | undefined {
  const place = `(u${width}*)(r${dst} ${signed(off)})`;
  if (imm === ATOMIC_LOAD_ACQUIRE) return `r${dst} = load_acquire((u${width}*)(r${src} ${signed(off)}))`;
  if (imm === ATOMIC_STORE_RELEASE) return `store_release(${place}, r${src})`;
  if ((opcode & 0x18) !== 0x18 && (opcode & 0x18) !== 0) return undefined;
  const prefix = width === 64 ? 'atomic64' : 'atomic';
  const register = width === 64 ? 'r' : 'w';
  if (imm === ATOMIC_XCHG) return `${register}${src} = ${prefix}_xchg(${place}, ${register}${src})`;
  if (imm === ATOMIC_CMPXCHG) {
    return `${register}0 = ${prefix}_cmpxchg(${place}, ${register}0, ${register}${src})`;
  }
  const operation = ATOMIC[imm & ~ATOMIC_FETCH];
  if (operation === undefined) return undefined;
  return (imm & ATOMIC_FETCH) !== 0
    ? `${register}${src} = ${prefix}_fetch_${operation.name}(${place}, ${register}${src})`
    : `lock *${place} ${operation.operator} ${register}${src}`;
}

function loadOrStore(instruction: Instruction): string | undefined {
  const { opcode, dst, src, off, imm } = instruction;
  const width = WIDTHS[(opcode >> 3) & 3]!;
  const mode = opcode & 0xe0;
  switch (opcode & 7) {
    case CLASS_LD:
      if (width === 64) return undefined;
      if (mode === MODE_ABS) return `r0 = *(u${width}*)skb[${imm}]`;
      if (mode === MODE_IND) return `r0 = *(u${width}*)skb[r${src} ${signed(imm)}]`;
      return undefined;
    case CLASS_LDX:
      if (mode === MODE_MEM) return `r${dst} = ${memory(width, src, off)}`;
      if (mode === MODE_MEMSX && width !== 64) return `r${dst} = ${memory(width, src, off, 's')}`;
      return undefined;
    case CLASS_ST:
      return mode === MODE_MEM ? `${memory(width, dst, off)} = ${imm}` : undefined;
    case CLASS_STX:
      if (mode === MODE_MEM) return `${memory(width, dst, off)} = r${src}`;
      return mode === MODE_ATOMIC ? atomic(instruction, width) : undefined;
    default:
      return undefined;
  }
}

function wideLoad(instruction: Instruction, upper: number, mapName: string | undefined): string {
  const { index, dst, src, imm } = instruction;
  const named = mapName === undefined ? '' : `${mapName} `;
  const map = mapName !== undefined && imm === 0 ? `map ${mapName}` : `map ${named}at fd #${imm}`;
  switch (src) {
    case 0:
      return `r${dst} = 0x${((BigInt(upper >>> 0) << 32n) | BigInt(imm >>> 0)).toString(16)}`;
    case 1:
      return `r${dst} = <${map}>`;
    case 2:
      return `r${dst} = <${map}, value ${signed(upper)}>`;
    case 3:
      return `r${dst} = <kernel variable with BTF id ${imm}>`;
    case 4:
      return `r${dst} = <function at ${target(instruction, imm)}>`;
    case 5:
      return `r${dst} = <map at index #${imm}>`;
    case 6:
      return `r${dst} = <map at index #${imm}, value ${signed(upper)}>`;
    default:
      return `unknown <0x18> with source ${src} at ${index}`;
  }
}

const OPCODE_WIDE_LOAD = 0x18 | MODE_IMM;

function text(instruction: Instruction): string {
  const kind = instruction.opcode & 7;
  const decoded =
    kind === CLASS_JMP || kind === CLASS_JMP32
      ? jump(instruction)
      : kind < CLASS_ALU
        ? loadOrStore(instruction)
        : arithmetic(instruction);
  return decoded ?? `unknown <0x${instruction.opcode.toString(16)}>`;
}

/**
 * Instructions as text, a line each: index, opcode, meaning. Jumps name the index they lead to, map loads the table.
 * Whatever the bytes are, it does not throw; what is no instruction is shown as `unknown <0x..>`.
 */
export function disassemble(insns: Uint8Array, options: DisassembleOptions = {}): string {
  const view = new DataView(insns.buffer, insns.byteOffset, insns.byteLength);
  const count = Math.floor(insns.byteLength / 8);
  const relocated = new Map(options.relocations?.map(({ insn, table }) => [insn, table]));
  const lines: string[] = options.name === undefined ? [] : [`Disassemble of BPF program ${options.name}:`];
  const push = (index: number, rest: string) => lines.push(`${String(index).padStart(4)}: ${rest}`);
  for (let index = 0; index < count; index++) {
    const instruction = read(view, index);
    const opcode = `(${instruction.opcode.toString(16).padStart(2, '0')})`;
    if (instruction.opcode !== OPCODE_WIDE_LOAD) {
      push(index, `${opcode} ${text(instruction)}`);
    } else if (index + 1 === count) {
      push(index, `${opcode} unknown <0x18>: its second half is missing`);
    } else {
      const name = relocated.get(index) ?? options.tableNames?.get(instruction.imm);
      push(index, `${opcode} ${wideLoad(instruction, read(view, index + 1).imm, name)}`);
      index++;
      push(index, '     (64-bit upper word)');
    }
  }
  return lines.join('\n');
}
