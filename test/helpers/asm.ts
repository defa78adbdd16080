import { readFileSync } from 'node:fs';
import { BPFMapType } from '../../src/constants';
import { type NativeFd, type NativeProgramAttributes, runtime } from '../../src/native';

/*
 * Small programs written in instructions: tests of hooks need no compiler, and take milliseconds in a virtual machine.
 */

/** One instruction of RFC 9669: opcode, registers, offset, immediate. */
export function insn(code: number, dst = 0, src = 0, off = 0, imm = 0): Buffer {
  const bytes = Buffer.alloc(8);
  bytes[0] = code;
  bytes[1] = (src << 4) | dst;
  bytes.writeInt16LE(off, 2);
  bytes.writeInt32LE(imm | 0, 4);
  return bytes;
}

export const movImm = (dst: number, imm: number) => insn(0xb7, dst, 0, 0, imm);
export const call = (helper: number) => insn(0x85, 0, 0, 0, helper);
export const exit = insn(0x95);
export const loadMap = (dst: number, fd: number) => Buffer.concat([insn(0x18, dst, 1, 0, fd), insn(0)]);

/** `r0 = value; exit`. */
export const returns = (value: number) => Buffer.concat([movImm(0, value), exit]);

export function loadInsns(
  insns: Uint8Array,
  attributes: Partial<NativeProgramAttributes> & { type: number },
): LoadedProgram {
  const name = attributes.name ?? 'count';
  const { fd, errno } = runtime().loadProgram({
    license: 'GPL',
    kernVersion: 0,
    logLevel: 0,
    logSize: 0,
    insns,
    ...attributes,
    name,
  });
  if (!fd) {
    const { log } = runtime().loadProgram({
      license: 'GPL',
      kernVersion: 0,
      insns,
      ...attributes,
      name,
      logLevel: 1,
      logSize: 65536,
    });
    throw new Error(`the kernel refused the test's program: errno ${errno}\n${log}`);
  }
  return { name, fd: fd.fd, close: () => fd.close() };
}

export interface LoadedProgram {
  name: string;
  fd: number;
  close(): void;
}

const GET_CURRENT_PID_TGID = 14;
const MAP_LOOKUP = 1;

/**
 * A program that counts how often it ran, and how often in this process (told by the pid in the initial namespace: see
 * {@link Counter.own}); it returns `result`.
 */
export class Counter {
  readonly #map: NativeFd;
  readonly program: LoadedProgram;

  /** `own` is left out for program types that may not ask for the pid. */
  constructor(
    attributes: Partial<NativeProgramAttributes> & { type: number },
    options: { result?: number; pid?: boolean } = {},
  ) {
    const { result = 0, pid = true } = options;
    this.#map = runtime().createMap({
      type: BPFMapType.ARRAY,
      name: 'counts',
      keySize: 4,
      valueSize: 8,
      maxEntries: 2,
      flags: 0,
    });
    const bump = (index: number) => [
      insn(0x62, 10, 0, -4, index),
      loadMap(1, this.#map.fd),
      insn(0xbf, 2, 10),
      insn(0x07, 2, 0, 0, -4),
      call(MAP_LOOKUP),
      insn(0x15, 0, 0, 2, 0),
      movImm(1, 1),
      insn(0xdb, 0, 1),
    ];
    const ofThisProcess = pid
      ? [
          call(GET_CURRENT_PID_TGID),
          insn(0x77, 0, 0, 0, 32),
          insn(0x55, 0, 0, bumpLength(bump(1)), hostPid()),
          ...bump(1),
        ]
      : [];
    this.program = loadInsns(Buffer.concat([...bump(0), ...ofThisProcess, movImm(0, result), exit]), attributes);
  }

  /** Runs so far. */
  get all(): number {
    return this.#read(0);
  }

  /** Runs so far in this process. */
  get own(): number {
    return this.#read(1);
  }

  #read(index: number): number {
    const key = new Uint8Array(Uint32Array.of(index).buffer);
    const value = new Uint8Array(8);
    const { MapAccess } = runtime();
    new MapAccess(this.#map.fd, key, value).lookup();
    return Number(new DataView(value.buffer).getBigUint64(0, true));
  }

  close(): void {
    this.program.close();
    this.#map.close();
  }
}

function bumpLength(instructions: Buffer[]): number {
  return instructions.reduce((sum, { length }) => sum + length / 8, 0);
}

/** This process's pid as the kernel's programs see it: the first of `NSpid`. */
function hostPid(): number {
  return Number(/^NSpid:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? process.pid);
}
