import { BPFMapType, BPFProgType } from '../../src/constants';
import { type NativeFd, runtime } from '../../src/native';

function insn(code: number, dst = 0, src = 0, offset = 0, imm = 0): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt8(code, 0);
  bytes.writeUInt8((src << 4) | dst, 1);
  bytes.writeInt16LE(offset, 2);
  bytes.writeInt32LE(imm, 4);
  return bytes;
}

const FP = 10;

/** A KPROBE program, made without a compiler, that counts by process how often it ran. */
export class PidCounter {
  readonly name = 'count_pids';
  readonly #map: NativeFd;
  readonly #program: NativeFd;

  constructor(options: { expectedAttachType?: number } = {}) {
    const native = runtime();
    const map = { type: BPFMapType.HASH, name: 'pids', keySize: 4, valueSize: 8, maxEntries: 1024, flags: 0 };
    this.#map = native.createMap(map);
    const loadMap = Buffer.concat([insn(0x18, 1, 1, 0, this.#map.fd), insn(0)]);
    const key = Buffer.concat([insn(0xbf, 2, FP), insn(0x07, 2, 0, 0, -4)]);
    const insns = Buffer.concat([
      insn(0x85, 0, 0, 0, 14), // get_current_pid_tgid
      insn(0x77, 0, 0, 0, 32),
      insn(0x63, FP, 0, -4),
      loadMap,
      key,
      insn(0x85, 0, 0, 0, 1), // map_lookup_elem
      insn(0x55, 0, 0, 10, 0),
      insn(0x7a, FP, 0, -16, 1),
      loadMap,
      key,
      insn(0xbf, 3, FP),
      insn(0x07, 3, 0, 0, -16),
      insn(0xb7, 4, 0, 0, 0),
      insn(0x85, 0, 0, 0, 2), // map_update_elem
      insn(0x05, 0, 0, 2),
      insn(0xb7, 1, 0, 0, 1),
      insn(0xdb, 0, 1),
      insn(0xb7, 0, 0, 0, 0),
      insn(0x95),
    ]);
    const { fd, errno, log } = native.loadProgram({
      type: BPFProgType.KPROBE,
      name: this.name,
      license: 'GPL',
      insns,
      kernVersion: 0,
      logLevel: 1,
      logSize: 65536,
      ...options,
    });
    if (!fd) throw new Error(`errno ${errno}\n${log}`);
    this.#program = fd;
  }

  get fd(): number {
    return this.#program.fd;
  }

  /** How often it has run in a process. */
  of(pid: number): number {
    const key = Buffer.alloc(4);
    key.writeUInt32LE(pid);
    const value = Buffer.alloc(8);
    new (runtime().MapAccess)(this.#map.fd, key, value).lookup();
    return Number(value.readBigUInt64LE());
  }

  close(): void {
    this.#program.close();
    this.#map.close();
  }
}
