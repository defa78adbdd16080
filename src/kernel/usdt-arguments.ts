/*
 * What a USDT probe's note says of its arguments, and the C that reads them in a BPF program. A note holds one operand an
 * argument, as the compiler chose it and the assembler wrote it: `-4@%edi`, `8@-24(%rbp)`, `4@$7`, `8@[sp, 16]`. The
 * number before the @ is the size in bytes, negative for signed values.
 */

/** Where an argument is. All parts are as in the operand; registers are named as fields of the kernel's struct pt_regs. */
export interface UsdtOperand {
  /** As the note has it. */
  text: string;
  /** Bytes. */
  size: number;
  signed: boolean;
  constant?: bigint;
  /** With it, the value is in memory at base + index * scale + symbol + derefOffset; without, in the base register. */
  derefOffset?: number;
  derefIdent?: string;
  baseRegisterName?: string;
  indexRegisterName?: string;
  scale?: number;
  /** The value is this many bits up in the register: x86's %ah. */
  shift?: number;
}

const EM_386 = 3;
const EM_PPC64 = 21;
const EM_S390 = 22;
const EM_X86_64 = 62;
const EM_AARCH64 = 183;
const EM_LOONGARCH = 258;

type Place = Omit<UsdtOperand, 'text' | 'size' | 'signed'> & { registerSize?: number };

const NUMBER = String.raw`-?(?:0x[0-9a-f]+|\d+)`;

/**
 * The arguments of a note's text for a machine (`ElfFile.machine`). An operand that is not understood, or that a BPF
 * program cannot read (floating-point registers), keeps its place and has a text and a size only.
 */
export function parseUsdtArguments(machine: number, text: string): UsdtOperand[] {
  // On x86 no operand holds a space and the size may be missing; elsewhere it is the other way round.
  const x86 = machine === EM_X86_64 || machine === EM_386;
  const operands = text.trim().split(x86 ? /\s+/ : /\s+(?=-?\d+f?@)/);
  return operands.filter((operand) => operand !== '').map((operand) => parseOperand(machine, operand));
}

function parseOperand(machine: number, text: string): UsdtOperand {
  const [, size, float, rest] = /^(?:(-?\d+)(f?)@)?(.*)$/s.exec(text)!;
  const { registerSize, ...place } = (float ? undefined : placeParsers[machine]?.(rest!)) ?? {};
  const bytes = size === undefined ? (registerSize ?? 8) : Math.abs(Number(size));
  const known = [1, 2, 4, 8].includes(bytes) && Number.isSafeInteger(place.derefOffset ?? 0);
  return { text, size: bytes, signed: size?.startsWith('-') ?? false, ...(known ? place : {}) };
}

/** Whether a BPF program can read it. */
export function isReadable(operand: UsdtOperand): boolean {
  return operand.constant !== undefined || operand.baseRegisterName !== undefined || operand.derefOffset !== undefined;
}

/** The C type that holds an argument, as BCC names it. */
export function operandType({ size, signed }: { size: number; signed: boolean }): string {
  return `${signed ? 'int' : 'uint'}${([1, 2, 4, 8].includes(size) ? size : 8) * 8}_t`;
}

/** What must be known of a probe's place in its file to read what lies at fixed distances from it. */
export interface OperandSite {
  /** The probe's own virtual address. */
  address: bigint;
  /** The file is loaded at an address of the loader's choosing. */
  relocatable: boolean;
  symbolAddress(name: string): bigint | undefined;
}

/** C statements that put the argument into `target`; undefined where a BPF program cannot read it. */
export function operandReader(operand: UsdtOperand, site: OperandSite, target: string): string | undefined {
  const type = operandType(operand);
  const { constant, baseRegisterName: base, indexRegisterName: index, derefOffset } = operand;
  if (constant !== undefined) return `${target} = (${type})0x${BigInt.asUintN(64, constant).toString(16)}ULL;`;
  if (derefOffset === undefined) {
    if (base === undefined) return undefined;
    return `${target} = (${type})(ctx->${base}${operand.shift ? ` >> ${operand.shift}` : ''}); ${BARRIER}`;
  }
  const terms: string[] = [];
  let distance = BigInt(derefOffset);
  if (operand.derefIdent !== undefined) {
    const symbol = site.symbolAddress(operand.derefIdent);
    if (symbol === undefined) return undefined;
    distance += symbol;
    if (base === 'ip') {
      // The symbol is as far from the probe in memory as in the file, wherever the file is loaded.
      distance -= site.address;
      terms.push('PT_REGS_IP(ctx)');
    } else if (site.relocatable) {
      return undefined;
    }
  }
  if (base !== undefined && !(base === 'ip' && terms.length > 0)) terms.push(`ctx->${base}`);
  if (index !== undefined) terms.push(`ctx->${index} * ${operand.scale ?? 1}`);
  terms.push(`0x${BigInt.asUintN(64, distance).toString(16)}ULL`);
  return (
    `{ ${type} part = 0; u64 address = ${terms.join(' + ')}; ${BARRIER} ` +
    `bpf_probe_read_user(&part, sizeof(part), (void *)address); ${target} = part; }`
  );
}

/** Without it, the compiler merges the reads of several places into one through a changed ctx, which the verifier refuses. */
const BARRIER = 'asm volatile("" : : : "memory");';

/** The operand as BCC prints it: `di`, `*(bp - 24)`, `7`. */
export function operandText(operand: UsdtOperand): string {
  const { constant, baseRegisterName: base, indexRegisterName: index, derefIdent, derefOffset, scale } = operand;
  if (constant !== undefined) return String(constant);
  if (!isReadable(operand)) return `unrecognized argument format ${operand.text}`;
  if (derefOffset === undefined) return String(base);
  const start =
    derefIdent === undefined ? base : [`&${derefIdent}`, base === 'ip' ? undefined : base].filter(Boolean).join(' + ');
  const indexed = index === undefined ? '' : ` + ${index}${scale === undefined ? '' : ` * ${scale}`}`;
  return `*(${start ?? 0} ${derefOffset < 0 ? '-' : '+'} ${Math.abs(derefOffset)}${indexed})`;
}

const placeParsers: Partial<Record<number, (text: string) => Place | undefined>> = {
  [EM_X86_64]: parseX86,
  [EM_386]: parseX86,
  [EM_AARCH64]: parseArm64,
  [EM_PPC64]: parsePowerpc64,
  [EM_S390]: parseS390,
  [EM_LOONGARCH]: parseLoongarch,
};

const X86_CONSTANT = new RegExp(`^\\$(${NUMBER})$`, 'i');
const X86_MEMORY = new RegExp(
  `^(${NUMBER})?\\+?([a-z_.][\\w.]*)?([+-](?:0x[0-9a-f]+|\\d+))?\\((?:%(\\w+))?(?:,%(\\w+)(?:,([1248]))?)?\\)$`,
  'i',
);

function parseX86(text: string): Place | undefined {
  const constant = X86_CONSTANT.exec(text);
  if (constant) return { constant: toBigInt(constant[1]!) };
  if (text.startsWith('%')) {
    const register = x86Register(text.slice(1));
    if (!register) return undefined;
    const { field, size, shift } = register;
    return { baseRegisterName: field, registerSize: size, ...(shift === 0 ? {} : { shift }) };
  }
  const memory = X86_MEMORY.exec(text);
  if (!memory) return undefined;
  const [, before, symbol, after, base, index, scale] = memory;
  const baseRegister = base === undefined ? undefined : x86Register(base);
  const indexRegister = index === undefined ? undefined : x86Register(index);
  if ((base !== undefined && !baseRegister) || (index !== undefined && !indexRegister)) return undefined;
  return {
    derefOffset: Number(toBigInt(before ?? '0') + toBigInt(after ?? '0')),
    ...(symbol === undefined ? {} : { derefIdent: symbol }),
    ...(baseRegister && { baseRegisterName: baseRegister.field }),
    ...(indexRegister && { indexRegisterName: indexRegister.field }),
    ...(scale === undefined ? {} : { scale: Number(scale) }),
  };
}

/** A register's field in struct pt_regs: `di` for %rdi, %edi, %di and %dil. */
function x86Register(name: string): { field: string; size: number; shift: number } | undefined {
  const numbered = /^(r(?:8|9|1[0-5]))([dwb]?)$/.exec(name);
  if (numbered) return { field: numbered[1]!, size: { d: 4, w: 2, b: 1, '': 8 }[numbered[2]!]!, shift: 0 };
  const wide = /^([re]?)(ax|bx|cx|dx|si|di|bp|sp|ip)$/.exec(name);
  if (wide) return { field: wide[2]!, size: { r: 8, e: 4, '': 2 }[wide[1]!]!, shift: 0 };
  const low = /^(si|di|bp|sp)l$/.exec(name);
  if (low) return { field: low[1]!, size: 1, shift: 0 };
  const byte = /^([abcd])([lh])$/.exec(name);
  if (byte) return { field: `${byte[1]}x`, size: 1, shift: byte[2] === 'h' ? 8 : 0 };
  return undefined;
}

const ARM64_MEMORY = new RegExp(`^\\[(x\\d+|sp)(?:, *(?:#?(${NUMBER})|(x\\d+)(?:, *lsl #(\\d))?))?\\]$`, 'i');

function parseArm64(text: string): Place | undefined {
  const field = (name: string) => (name === 'sp' || name === 'x31' ? 'sp' : `regs[${name.slice(1)}]`);
  if (/^#?-?\d+$/.test(text)) return { constant: toBigInt(text.replace('#', '')) };
  if (/^(?:[xw]\d+|sp)$/.test(text)) return { baseRegisterName: field(text) };
  const memory = ARM64_MEMORY.exec(text);
  if (!memory) return undefined;
  const [, base, offset, index, shift] = memory;
  return {
    baseRegisterName: field(base!),
    derefOffset: Number(toBigInt(offset ?? '0')),
    ...(index === undefined ? {} : { indexRegisterName: field(index), scale: 1 << Number(shift ?? 0) }),
  };
}

const PPC_MEMORY = new RegExp(`^(${NUMBER})\\((?:%?r)?(\\d+)\\)$`);

function parsePowerpc64(text: string): Place | undefined {
  const constant = /^i(-?\d+)$/.exec(text);
  if (constant) return { constant: toBigInt(constant[1]!) };
  const register = /^(?:%?r)?(\d+)$/.exec(text);
  if (register) return { baseRegisterName: `gpr[${register[1]}]` };
  const memory = PPC_MEMORY.exec(text);
  if (memory) return { baseRegisterName: `gpr[${memory[2]}]`, derefOffset: Number(memory[1]) };
  const indexed = /^(?:%?r)?(\d+),(?:%?r)?(\d+)$/.exec(text);
  if (!indexed) return undefined;
  return { baseRegisterName: `gpr[${indexed[1]}]`, indexRegisterName: `gpr[${indexed[2]}]`, derefOffset: 0 };
}

const S390_MEMORY = new RegExp(`^(${NUMBER})?\\(%r(\\d+)(?:,%r(\\d+))?\\)$`);

function parseS390(text: string): Place | undefined {
  if (/^-?\d+$/.test(text)) return { constant: toBigInt(text) };
  const register = /^%r(\d+)$/.exec(text);
  if (register) return { baseRegisterName: `gprs[${register[1]}]` };
  const memory = S390_MEMORY.exec(text);
  if (!memory) return undefined;
  return {
    derefOffset: Number(memory[1] ?? 0),
    baseRegisterName: `gprs[${memory[2]}]`,
    ...(memory[3] === undefined ? {} : { indexRegisterName: `gprs[${memory[3]}]` }),
  };
}

const LOONGARCH_MEMORY = new RegExp(`^\\[\\$r(\\d+)(?:, *(?:(${NUMBER})|\\$r(\\d+)))?\\]$`);

function parseLoongarch(text: string): Place | undefined {
  if (/^-?\d+$/.test(text)) return { constant: toBigInt(text) };
  const register = /^\$r(\d+)$/.exec(text);
  if (register) return { baseRegisterName: `regs[${register[1]}]` };
  const memory = LOONGARCH_MEMORY.exec(text);
  if (!memory) return undefined;
  return {
    baseRegisterName: `regs[${memory[1]}]`,
    derefOffset: Number(memory[2] ?? 0),
    ...(memory[3] === undefined ? {} : { indexRegisterName: `regs[${memory[3]}]` }),
  };
}

function toBigInt(text: string): bigint {
  const [, sign, digits] = /^([+-]?)(.*)$/.exec(text)!;
  return sign === '-' ? -BigInt(digits!) : BigInt(digits!);
}
