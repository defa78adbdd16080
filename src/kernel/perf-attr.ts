import { endianness } from 'node:os';

/**
 * The fields of `struct perf_event_attr` (linux/perf_event.h, perf_event_open(2)), lowerCamelCase. What is absent is 0.
 */
export interface PerfEventAttr {
  type: number;
  config?: number | bigint;
  /** One of samplePeriod and sampleFreq: sampleFreq sets the `freq` flag. */
  samplePeriod?: number | bigint;
  /** Samples a second. */
  sampleFreq?: number | bigint;
  sampleType?: number | bigint;
  readFormat?: number | bigint;
  /** Events until a reader is woken; with `watermark`, bytes. */
  wakeupEvents?: number;
  bpType?: number;
  config1?: number | bigint;
  config2?: number | bigint;
  branchSampleType?: number | bigint;
  sampleRegsUser?: number | bigint;
  sampleStackUser?: number;
  clockid?: number;
  sampleRegsIntr?: number | bigint;
  auxWatermark?: number;
  sampleMaxStack?: number;

  disabled?: boolean;
  inherit?: boolean;
  pinned?: boolean;
  exclusive?: boolean;
  excludeUser?: boolean;
  excludeKernel?: boolean;
  excludeHv?: boolean;
  excludeIdle?: boolean;
  mmap?: boolean;
  comm?: boolean;
  freq?: boolean;
  inheritStat?: boolean;
  enableOnExec?: boolean;
  task?: boolean;
  watermark?: boolean;
  /** 0 to 3: how near to the event the sampled instruction must be. */
  preciseIp?: number;
  mmapData?: boolean;
  sampleIdAll?: boolean;
  excludeHost?: boolean;
  excludeGuest?: boolean;
  excludeCallchainKernel?: boolean;
  excludeCallchainUser?: boolean;
  useClockid?: boolean;
}

/** PERF_ATTR_SIZE_VER7 (Linux 5.13). Older kernels take a longer struct than theirs as long as the rest is 0. */
export const PERF_ATTR_SIZE = 128;

/** The bit of each flag in the word at byte 40. */
const FLAG_BITS = {
  disabled: 0,
  inherit: 1,
  pinned: 2,
  exclusive: 3,
  excludeUser: 4,
  excludeKernel: 5,
  excludeHv: 6,
  excludeIdle: 7,
  mmap: 8,
  comm: 9,
  freq: 10,
  inheritStat: 11,
  enableOnExec: 12,
  task: 13,
  watermark: 14,
  mmapData: 17,
  sampleIdAll: 18,
  excludeHost: 19,
  excludeGuest: 20,
  excludeCallchainKernel: 21,
  excludeCallchainUser: 22,
  useClockid: 25,
} as const satisfies Partial<Record<keyof PerfEventAttr, number>>;

const PRECISE_IP_SHIFT = 15n;
const LITTLE = endianness() === 'LE';

/** `attr` as the bytes that perf_event_open(2) takes. */
export function perfEventAttr(attr: PerfEventAttr): Uint8Array {
  if (attr.samplePeriod !== undefined && attr.sampleFreq !== undefined) {
    throw new TypeError('samplePeriod and sampleFreq exclude each other: give one');
  }
  const bytes = new Uint8Array(PERF_ATTR_SIZE);
  const view = new DataView(bytes.buffer);
  const put32 = (at: number, value: number | undefined) => view.setUint32(at, value ?? 0, LITTLE);
  const put64 = (at: number, value: number | bigint | undefined) => {
    view.setBigUint64(at, BigInt.asUintN(64, BigInt(value ?? 0)), LITTLE);
  };
  put32(0, attr.type);
  put32(4, PERF_ATTR_SIZE);
  put64(8, attr.config);
  put64(16, attr.sampleFreq ?? attr.samplePeriod);
  put64(24, attr.sampleType);
  put64(32, attr.readFormat);

  let flags = BigInt((attr.preciseIp ?? 0) & 3) << PRECISE_IP_SHIFT;
  for (const [name, bit] of Object.entries(FLAG_BITS)) {
    if (attr[name as keyof typeof FLAG_BITS]) flags |= 1n << BigInt(bit);
  }
  if (attr.sampleFreq !== undefined) flags |= 1n << BigInt(FLAG_BITS.freq);
  put64(40, LITTLE ? flags : mirrored(flags));

  put32(48, attr.wakeupEvents);
  put32(52, attr.bpType);
  put64(56, attr.config1);
  put64(64, attr.config2);
  put64(72, attr.branchSampleType);
  put64(80, attr.sampleRegsUser);
  put32(88, attr.sampleStackUser);
  view.setInt32(92, attr.clockid ?? 0, LITTLE);
  put64(96, attr.sampleRegsIntr);
  put32(104, attr.auxWatermark);
  view.setUint16(108, attr.sampleMaxStack ?? 0, LITTLE);
  return bytes;
}

/** C allots bitfields from the other end on big-endian machines; a field wider than a bit keeps its own bits' order. */
function mirrored(flags: bigint): bigint {
  const precise = (flags >> PRECISE_IP_SHIFT) & 3n;
  let result = precise << (62n - PRECISE_IP_SHIFT);
  for (const bit of Object.values(FLAG_BITS)) {
    if ((flags >> BigInt(bit)) & 1n) result |= 1n << BigInt(63 - bit);
  }
  return result;
}
