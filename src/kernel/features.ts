import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { requireText } from '../arguments';
import { BPFAttachType, BPFMapType, BPFProgType } from '../constants';
import { isNativeError } from '../errors';
import { type NativeFd, type NativeMapAttributes, type NativeProgramAttributes, runtime } from '../native';
import { kernelBtf, kernelBtfBlob } from './btf';
import { kernelSymbols } from './kallsyms';
import { type Lockdown, lockdown } from './lockdown';
import { findDebugfs, findTracefs, hasProbeEvents } from './tracefs';
import { linuxVersionCode } from './version';

/*
 * What the running kernel can do for this process, found by doing it: small maps and programs are made and closed again.
 * Versions are never asked, for distributions carry features back and leave others out; a refusal by privilege or
 * lockdown counts as "no", for that is what it means to the caller. Every answer is kept: kernels do not change.
 */

const BTF_KIND_FUNC = 12;
const ENOENT = 2;
const E2BIG = 7;
const EBADF = 9;
const EINVAL = 22;
const BPF_F_SLEEPABLE = 1 << 4;

/** `r0 = 0; exit`. */
const RETURN_ZERO = Uint8Array.from([0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);

function remembered<T>(find: () => T): () => T {
  let known: { value: T } | undefined;
  return () => {
    known ??= { value: find() };
    return known.value;
  };
}

/** Loads a program that does nothing; the caller closes it. */
function loadNothing(type: number, attributes: Partial<NativeProgramAttributes> = {}): NativeFd | null {
  const { fd } = runtime().loadProgram({
    type,
    name: 'tsbcc_probe',
    license: 'GPL',
    insns: RETURN_ZERO,
    kernVersion: linuxVersionCode(),
    logLevel: 0,
    logSize: 0,
    ...attributes,
  });
  return fd;
}

function loads(type: number, attributes: Partial<NativeProgramAttributes> = {}): boolean {
  const fd = loadNothing(type, attributes);
  fd?.close();
  return fd !== null;
}

/** Loads a program, hands it to `use` and closes it; undefined where it does not load. */
function withProgram<T>(type: number, attributes: Partial<NativeProgramAttributes>, use: (fd: number) => T) {
  const fd = loadNothing(type, attributes);
  if (!fd) return undefined;
  try {
    return use(fd.fd);
  } finally {
    fd.close();
  }
}

/** 0, or the errno of the native call that failed. */
function errnoOf(call: () => NativeFd): number {
  try {
    call().close();
    return 0;
  } catch (error) {
    if (isNativeError(error)) return error.errno;
    throw error;
  }
}

function btfFunction(...names: string[]): number {
  const blob = kernelBtfBlob();
  if (!blob) return 0;
  for (const name of names) {
    const id = runtime().btfFind(blob, name, BTF_KIND_FUNC);
    if (id !== 0) return id;
  }
  return 0;
}

function loadsOn(type: number, expectedAttachType: number, ...functions: string[]): boolean {
  const attachBtfId = btfFunction(...functions);
  return attachBtfId !== 0 && loads(type, { expectedAttachType, attachBtfId });
}

/** kfunc and kretfunc programs (fentry, fexit): one is loaded and attached to a function made for tests, or to sync(2). */
export const supportKfunc = remembered(() => {
  const expectedAttachType = BPFAttachType.TRACE_FENTRY;
  const attachBtfId = btfFunction('bpf_fentry_test1', 'ksys_sync');
  if (attachBtfId === 0) return false;
  const attaches = (fd: number) => errnoOf(() => runtime().rawTracepointOpen(null, fd)) === 0;
  return withProgram(BPFProgType.TRACING, { expectedAttachType, attachBtfId }, attaches) ?? false;
});

/** LSM programs: one is loaded, and `bpf` is among the active security modules where that can be told. */
export const supportLsm = remembered(() => {
  const active = readOptional('/sys/kernel/security/lsm');
  if (active !== undefined && !active.split(',').includes('bpf')) return false;
  return loadsOn(BPFProgType.LSM, BPFAttachType.LSM_MAC, 'bpf_lsm_bpf', 'bpf_lsm_file_open');
});

/** kmod_ret programs (fmod_ret): one is loaded for a hook of the security modules, which every such kernel allows. */
export const supportFmodRet = remembered(() => {
  return loadsOn(BPFProgType.TRACING, BPFAttachType.MODIFY_RETURN, 'security_bpf', 'security_file_permission');
});

/** Raw tracepoints: the kernel looks for one that does not exist, and says so. */
export const supportRawTracepoint = remembered(() => {
  const asks = (fd: number) => errnoOf(() => runtime().rawTracepointOpen('tsbcc_none', fd)) === ENOENT;
  return withProgram(BPFProgType.RAW_TRACEPOINT, {}, asks) ?? false;
});

/** Raw tracepoints of kernel modules (Linux 5.0): the kernel keeps a list of the modules that have some. */
export const supportRawTracepointInModule = remembered(() => kernelSymbols().has('bpf_trace_modules'));

/**
 * Multi-kprobe links (Linux 5.18 with CONFIG_FPROBE). Only a kernel that has them reads the names of the functions, and
 * finds this one too long (E2BIG) before it looks for it among all symbols.
 */
export const supportsKprobeMulti = remembered(() => {
  const expectedAttachType = BPFAttachType.TRACE_KPROBE_MULTI;
  const kprobeMulti = { flags: 0, symbols: ['x'.repeat(1024)] };
  const answers = (fd: number) => {
    return errnoOf(() => runtime().linkCreate(fd, 0, expectedAttachType, { kprobeMulti })) === E2BIG;
  };
  return withProgram(BPFProgType.KPROBE, { expectedAttachType }, answers) ?? false;
});

/** Multi-uprobe links (Linux 6.6): asked for one on a folder, the kernel finds fault with the folder. */
export const supportsUprobeMulti = remembered(() => errnoOfUprobeMulti(0) === EBADF);

/**
 * Multi-uprobe links for one process, with all its threads (Linux 6.10). Kernels before compare the pid with the thread's;
 * those after find fault with a pid of -1 before they look at the path.
 */
export const supportsUprobeMultiPid = remembered(() => supportsUprobeMulti() && errnoOfUprobeMulti(-1) === EINVAL);

function errnoOfUprobeMulti(pid: number): number | undefined {
  const expectedAttachType = BPFAttachType.TRACE_UPROBE_MULTI;
  const uprobeMulti = { flags: 0, path: '/', offsets: BigUint64Array.of(0n), pid };
  return withProgram(BPFProgType.KPROBE, { expectedAttachType }, (fd) => {
    return errnoOf(() => runtime().linkCreate(fd, 0, expectedAttachType, { uprobeMulti }));
  });
}

/** Whether a struct of the kernel has such a member, in itself or in an anonymous member; false for unknown structs. */
export function kernelStructHasField(structName: string, fieldName: string): boolean {
  requireText(structName, 'structName');
  requireText(fieldName, 'fieldName');
  if (!kernelBtfBlob()) return false;
  const btf = kernelBtf();
  const id = btf.find(structName, 'struct');
  const has = (type: number): boolean =>
    btf.members(type).some(({ name, type: inner }) => name === fieldName || (name === '' && has(btf.resolve(inner))));
  return id !== 0 && has(id);
}

/** Whether an enum of the kernel has such a value; false for unknown enums. */
export function kernelEnumHasVal(enumName: string, valueName: string): boolean {
  requireText(enumName, 'enumName');
  requireText(valueName, 'valueName');
  if (!kernelBtfBlob()) return false;
  const btf = kernelBtf();
  const id = btf.find(enumName, 'enum') || btf.find(enumName, 'enum64');
  return id !== 0 && btf.enumerators(id).some(({ name }) => name === valueName);
}

export type MapTypeName = keyof typeof BPFMapType;
export type ProgTypeName = keyof typeof BPFProgType;

/** BTF of one type, `int`: what the storage maps want their values described by. */
function intBtf(): Uint8Array {
  const strings = Buffer.from('\0int\0');
  const words = [0x0001eb9f, 24, 0, 16, 16, strings.length, 1, 1 << 24, 4, (1 << 24) | 32];
  return Buffer.concat([Buffer.from(Uint32Array.from(words).buffer), strings]);
}

const PAGE = 65536;
const BPF_F_NO_PREALLOC = 1;
const BPF_F_MMAPABLE = 1 << 10;

/** What each type of map wants where it is not a key and a value of four bytes and one element. */
const MAP_SHAPES: Partial<Record<MapTypeName, Partial<NativeMapAttributes>>> = {
  STACK_TRACE: { valueSize: 8 },
  LPM_TRIE: { keySize: 8, valueSize: 8, flags: BPF_F_NO_PREALLOC },
  CGROUP_STORAGE: { keySize: 16, valueSize: 8, maxEntries: 0 },
  PERCPU_CGROUP_STORAGE: { keySize: 16, valueSize: 8, maxEntries: 0 },
  QUEUE: { keySize: 0 },
  STACK: { keySize: 0 },
  BLOOM_FILTER: { keySize: 0 },
  RINGBUF: { keySize: 0, valueSize: 0, maxEntries: PAGE },
  USER_RINGBUF: { keySize: 0, valueSize: 0, maxEntries: PAGE },
  ARENA: { keySize: 0, valueSize: 0, maxEntries: 1, flags: BPF_F_MMAPABLE },
};

const STORAGE_MAPS: readonly MapTypeName[] = ['SK_STORAGE', 'INODE_STORAGE', 'TASK_STORAGE', 'CGRP_STORAGE'];

function createsMap(name: MapTypeName): boolean {
  const native = runtime();
  const base = { type: BPFMapType[name], name: 'tsbcc_probe', keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 };
  const creates = (more: Partial<NativeMapAttributes> = {}) => {
    return errnoOf(() => native.createMap({ ...base, ...MAP_SHAPES[name], ...more })) === 0;
  };
  if (STORAGE_MAPS.includes(name)) {
    return withFd(
      () => native.loadBtf(intBtf()),
      ({ fd: btfFd }) =>
        creates({ flags: BPF_F_NO_PREALLOC, maxEntries: 0, btfFd, btfKeyTypeId: 1, btfValueTypeId: 1 }),
    );
  }
  if (name === 'ARRAY_OF_MAPS' || name === 'HASH_OF_MAPS') {
    return withFd(
      () => native.createMap({ ...base, type: BPFMapType.HASH }),
      ({ fd: innerMapFd }) => creates({ innerMapFd }),
    );
  }
  // Its value is a kernel struct of function pointers that a program must supply: BTF tells whether there is one.
  if (name === 'STRUCT_OPS') return !!kernelBtfBlob() && kernelBtf().find('bpf_struct_ops_tcp_congestion_ops') !== 0;
  return creates();
}

function withFd(open: () => NativeFd, use: (fd: NativeFd) => boolean): boolean {
  let fd: NativeFd;
  try {
    fd = open();
  } catch {
    return false;
  }
  try {
    return use(fd);
  } finally {
    fd.close();
  }
}

/** What each type of program wants besides instructions. */
const PROGRAM_NEEDS: Partial<Record<ProgTypeName, Partial<NativeProgramAttributes>>> = {
  CGROUP_SOCK_ADDR: { expectedAttachType: BPFAttachType.CGROUP_INET4_CONNECT },
  CGROUP_SOCKOPT: { expectedAttachType: BPFAttachType.CGROUP_GETSOCKOPT },
  SK_LOOKUP: { expectedAttachType: BPFAttachType.SK_LOOKUP },
  NETFILTER: { expectedAttachType: BPFAttachType.NETFILTER },
  SYSCALL: { flags: BPF_F_SLEEPABLE },
};

function loadsProgram(name: ProgTypeName): boolean {
  const type = BPFProgType[name];
  switch (name) {
    case 'TRACING':
      return loadsOn(type, BPFAttachType.TRACE_FENTRY, 'bpf_fentry_test1', 'ksys_sync');
    case 'LSM':
      return loadsOn(type, BPFAttachType.LSM_MAC, 'bpf_lsm_bpf', 'bpf_lsm_file_open');
    case 'EXT':
      // It replaces a function of another program; without one the kernel names what is missing, if it knows the type.
      return refusalOf(type, { attachBtfId: 1 }).includes('Cannot replace kernel functions');
    case 'STRUCT_OPS':
      return createsMap('STRUCT_OPS');
    default:
      return loads(type, PROGRAM_NEEDS[name]);
  }
}

function refusalOf(type: number, attributes: Partial<NativeProgramAttributes>): string {
  const { fd, log } = runtime().loadProgram({
    type,
    name: 'tsbcc_probe',
    license: 'GPL',
    insns: RETURN_ZERO,
    kernVersion: 0,
    logLevel: 1,
    logSize: 4096,
    ...attributes,
  });
  fd?.close();
  return log;
}

const batchOperations = remembered(() => {
  const { createMap, updateMapBatch } = runtime();
  const attributes = { type: BPFMapType.HASH, name: 'tsbcc_probe', keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 };
  return withFd(
    () => createMap(attributes),
    ({ fd }) => updateMapBatch(fd, new Uint8Array(4), new Uint8Array(4), 1).errno === 0,
  );
});

const runStatistics = remembered(() =>
  withFd(
    () => runtime().enableStats(),
    () => true,
  ),
);

/** What the kernel, and this process on it, can do. */
export interface Features {
  /** Types of the kernel (CONFIG_DEBUG_INFO_BTF). */
  btf: boolean;
  kprobes: boolean;
  /** Many functions by one link. */
  kprobeMulti: boolean;
  uprobes: boolean;
  uprobeMulti: boolean;
  tracepoints: boolean;
  rawTracepoints: boolean;
  rawTracepointsInModules: boolean;
  kfunc: boolean;
  fmodRet: boolean;
  lsm: boolean;
  iterators: boolean;
  /** Ring buffers (`BPF_RINGBUF_OUTPUT`). */
  ringBuffer: boolean;
  /** Many elements of a table by one call. */
  batchOperations: boolean;
  /** Run counts and times of programs can be switched on. */
  runStatistics: boolean;
  /** Counters of the CPU itself. */
  hardwareCounters: boolean;
  jit: boolean;
  /** Mounted and readable. */
  tracefs: boolean;
  debugfs: boolean;
  bpffs: boolean;
  cgroup2: boolean;
  securityfs: boolean;
  /** How the kernel is locked down, undefined where it is not: with 'confidentiality' it refuses much even to root. */
  lockdown: Lockdown | undefined;
  /** /proc/kallsyms shows addresses to this process. */
  kernelAddresses: boolean;
  /** Maps and programs are not limited by RLIMIT_MEMLOCK: the kernel counts them by cgroup, or the limit is off. */
  unlimitedMemlock: boolean;
  /** By the names of BPFMapType and BPFProgType. */
  mapTypes: Record<MapTypeName, boolean>;
  programTypes: Record<ProgTypeName, boolean>;
}

/** Tries everything once (some tens of milliseconds, seconds under an emulator) and keeps the answers. */
export const features: () => Features = remembered(() => {
  const mapTypes = byName(BPFMapType, createsMap);
  const programTypes = byName(BPFProgType, loadsProgram);
  return {
    btf: kernelBtfBlob() !== undefined,
    kprobes: existsSync('/sys/bus/event_source/devices/kprobe') || hasProbeEvents('kprobe'),
    kprobeMulti: supportsKprobeMulti(),
    uprobes: existsSync('/sys/bus/event_source/devices/uprobe') || hasProbeEvents('uprobe'),
    uprobeMulti: supportsUprobeMulti(),
    tracepoints: findTracefs() !== undefined && programTypes.TRACEPOINT,
    rawTracepoints: supportRawTracepoint(),
    rawTracepointsInModules: supportRawTracepointInModule(),
    kfunc: supportKfunc(),
    fmodRet: supportFmodRet(),
    lsm: supportLsm(),
    iterators: loadsOn(BPFProgType.TRACING, BPFAttachType.TRACE_ITER, 'bpf_iter_task'),
    ringBuffer: mapTypes.RINGBUF,
    batchOperations: batchOperations(),
    runStatistics: runStatistics(),
    hardwareCounters: existsSync('/sys/bus/event_source/devices/cpu/events/cpu-cycles'),
    jit: /^[12]/.test(readOptional('/proc/sys/net/core/bpf_jit_enable') ?? ''),
    tracefs: findTracefs() !== undefined,
    debugfs: findDebugfs() !== undefined,
    bpffs: isMounted('bpf'),
    cgroup2: isMounted('cgroup2'),
    securityfs: isReadable('/sys/kernel/security/lsm'),
    lockdown: lockdown(),
    kernelAddresses: !kernelSymbols().hidden,
    unlimitedMemlock: countsByCgroup() || lockedMemoryIsUnlimited(),
    mapTypes,
    programTypes,
  };
});

function byName<Name extends string>(
  names: Readonly<Record<Name, number>>,
  find: (name: Name) => boolean,
): Record<Name, boolean> {
  const found = (Object.keys(names) as Name[]).map((name) => [name, find(name)]);
  return Object.fromEntries(found) as Record<Name, boolean>;
}

/** Since 5.11 maps are charged to the cgroup; the helper that came with that change is the sign libbpf goes by. */
function countsByCgroup(): boolean {
  return kernelEnumHasVal('bpf_func_id', 'BPF_FUNC_ktime_get_coarse_ns');
}

function lockedMemoryIsUnlimited(): boolean {
  return /^Max locked memory\s+unlimited\s/m.test(readOptional('/proc/self/limits') ?? '');
}

function isMounted(fsType: string): boolean {
  const mounts = readOptional('/proc/self/mounts') ?? '';
  return mounts.split('\n').some((line) => line.split(' ')[2] === fsType);
}

function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

function readOptional(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
}
