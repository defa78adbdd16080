import { BPFMapType, BPFProgType } from '../../src/constants';
import { type NativeFd, runtime } from '../../src/native';

/*
 * A program that sends numbered events, written in instructions: tests of the readers need no compiler. Running it is a
 * test run of a socket filter, so that a test decides how many events there are.
 */

const FP = 10;
const BPF_F_CURRENT_CPU = 0xffffffff;
const Helper = { mapLookup: 1, ktime: 5, cpu: 8, perfEventOutput: 25, ringbufOutput: 130 };

function insn(code: number, dst = 0, src = 0, off = 0, imm = 0): Buffer {
  const bytes = Buffer.alloc(8);
  bytes[0] = code;
  bytes[1] = (src << 4) | dst;
  bytes.writeInt16LE(off, 2);
  bytes.writeInt32LE(imm | 0, 4);
  return bytes;
}

const movImm = (dst: number, imm: number) => insn(0xb7, dst, 0, 0, imm);
const mov = (dst: number, src: number) => insn(0xbf, dst, src);
const addImm = (dst: number, imm: number) => insn(0x07, dst, 0, 0, imm);
const andImm = (dst: number, imm: number) => insn(0x57, dst, 0, 0, imm);
const store32 = (dst: number, off: number, src: number) => insn(0x63, dst, src, off);
const store64 = (dst: number, off: number, src: number) => insn(0x7b, dst, src, off);
const fetchAdd64 = (dst: number, off: number, src: number) => insn(0xdb, dst, src, off, 1);
const loadMap = (dst: number, fd: number) => Buffer.concat([insn(0x18, dst, 1, 0, fd), insn(0)]);
const move32 = (dst: number, imm: number) => insn(0xb4, dst, 0, 0, imm);
const call = (helper: number) => insn(0x85, 0, 0, 0, helper);
const jumpIfNot0 = (dst: number, skip: number) => insn(0x55, dst, 0, skip, 0);
const jumpIf0 = (dst: number, skip: number) => insn(0x15, dst, 0, skip, 0);
const exit = insn(0x95);

/** Size and fields of what {@link EventProgram} sends; a record of fewer bytes is the start of it. */
export const EVENT_SIZE = 48;

export function readEvent(data: Uint8Array): { cpu: number; seq: number; ts: bigint } {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return { cpu: bytes.readUInt32LE(4), seq: Number(bytes.readBigUInt64LE(8)), ts: bytes.readBigUInt64LE(16) };
}

export interface EventProgramOptions {
  /** Sizes run from 24 to 24 + varies, by the event's number; a power of two minus one. */
  varies?: number;
  /** BPF_RB_* flags of every output. */
  flags?: number;
}

/** Sends through a ring buffer or a perf event array, and counts what it sent and what was refused. */
export class EventProgram {
  readonly #counters: NativeFd;
  readonly #program: NativeFd;

  constructor(target: NativeFd, kind: 'ring' | 'perf', options: EventProgramOptions = {}) {
    this.#counters = runtime().createMap({
      type: BPFMapType.ARRAY,
      name: 'counters',
      keySize: 4,
      valueSize: 16,
      maxEntries: 1,
      flags: 0,
    });
    const size = options.varies === undefined ? movImm(3, EVENT_SIZE) : sizeOf(options.varies);
    const output =
      kind === 'ring'
        ? [loadMap(1, target.fd), mov(2, FP), addImm(2, -56), size, movImm(4, options.flags ?? 0)]
        : [size, mov(5, 3), mov(1, 6), loadMap(2, target.fd), move32(3, BPF_F_CURRENT_CPU), mov(4, FP), addImm(4, -56)];
    const insns = Buffer.concat([
      mov(6, 1),
      movImm(1, 0),
      ...[-56, -40, -32, -24, -16, -8].map((offset) => store64(FP, offset, 1)),
      loadMap(1, this.#counters.fd),
      mov(2, FP),
      addImm(2, -8),
      call(Helper.mapLookup),
      jumpIfNot0(0, 1),
      exit,
      mov(7, 0),
      movImm(8, 1),
      fetchAdd64(7, 0, 8),
      store64(FP, -48, 8),
      call(Helper.cpu),
      store32(FP, -52, 0),
      call(Helper.ktime),
      store64(FP, -40, 0),
      ...output,
      call(kind === 'ring' ? Helper.ringbufOutput : Helper.perfEventOutput),
      jumpIf0(0, 2),
      movImm(1, 1),
      fetchAdd64(7, 8, 1),
      movImm(0, 0),
      exit,
    ]);
    const { fd, log, errno } = runtime().loadProgram({
      type: BPFProgType.SOCKET_FILTER,
      name: 'events',
      license: 'GPL',
      insns,
      kernVersion: 0,
      logLevel: 1,
      logSize: 65536,
    });
    if (!fd) throw new Error(`errno ${errno}\n${log}`);
    this.#program = fd;
  }

  get fd(): number {
    return this.#program.fd;
  }

  /** Sends `count` events from the CPU that this thread runs on. */
  run(count: number): void {
    const packet = new Uint8Array(64);
    const { errno } = runtime().testRun(this.#program.fd, packet, null, count);
    if (errno !== 0) throw new Error(`test run failed with errno ${errno}`);
  }

  get #values(): Buffer {
    const value = Buffer.alloc(16);
    new (runtime().MapAccess)(this.#counters.fd, Buffer.alloc(4), value).lookup();
    return value;
  }

  /** Attempts so far. */
  get produced(): number {
    return Number(this.#values.readBigUInt64LE(0));
  }

  /** Attempts that the kernel refused because the ring was full. */
  get refused(): number {
    return Number(this.#values.readBigUInt64LE(8));
  }

  close(): void {
    this.#program.close();
    this.#counters.close();
  }
}

function sizeOf(varies: number): Buffer {
  return Buffer.concat([mov(3, 8), andImm(3, varies), addImm(3, 24)]);
}

/** The size of event number `seq` of a program that varies. */
export function variedSize(seq: number, varies: number): number {
  return 24 + (seq & varies);
}

export function ringMap(bytes: number): NativeFd {
  return runtime().createMap({
    type: BPFMapType.RINGBUF,
    name: 'ring',
    keySize: 0,
    valueSize: 0,
    maxEntries: bytes,
    flags: 0,
  });
}

export function perfMap(cpus: number): NativeFd {
  return runtime().createMap({
    type: BPFMapType.PERF_EVENT_ARRAY,
    name: 'perf',
    keySize: 4,
    valueSize: 4,
    maxEntries: cpus,
    flags: 0,
  });
}
