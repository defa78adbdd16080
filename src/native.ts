import * as path from 'node:path';
import { BCCError } from './errors';
import { NATIVE_FOLDER } from './package';

/*
 * The one file that requires the addon: `runtime` (libbcc_bpf, libbpf), needed by everything. libbcc, and with it LLVM,
 * stands in a program of its own (program/compiler.ts). The addon never prints and never decides: a failed call throws
 * an Error with `errno` (positive) and `syscall`, or returns the errno where failing is part of the plan.
 */

/** A file descriptor owned by JavaScript: closed by close() or, at the latest, by the garbage collector. */
export interface NativeFd {
  /** The number, -1 once closed. */
  readonly fd: number;
  /** Harmless when repeated. */
  close(): void;
}

export interface NativeMapAttributes {
  type: number;
  name: string;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags: number;
  ifindex?: number;
  innerMapFd?: number;
  btfFd?: number;
  btfKeyTypeId?: number;
  btfValueTypeId?: number;
}

export interface NativeMapInfo {
  type: number;
  id: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags: number;
  name: string;
  ifindex: number;
  btfId: number;
  btfKeyTypeId: number;
  btfValueTypeId: number;
}

/**
 * Single-element access to one map through two buffers that are handed over once: a call reads its key from `key` and
 * reads or writes `value`, and returns 0 or the positive errno. It borrows the fd: the owner must outlive it.
 */
export interface NativeMapAccess {
  lookup(): number;
  update(flags: number): number;
  delete(): number;
  lookupAndDelete(): number;
  /** Moves `key` to the key after it (or to the first one); ENOENT at the end. */
  nextKey(fromStart: boolean): number;
}

/**
 * Consecutive keys and values as the kernel lays them out: `keySize` and `valueSize` bytes each, `count` times, from the
 * start of arrays that may be longer.
 */
export interface NativeMapScan {
  count: number;
  keys: Uint8Array;
  values: Uint8Array;
  /** 'batch' where the kernel's batch commands served, 'walk' where one call per element did. */
  method: 'batch' | 'walk';
}

export interface NativeProgramAttributes {
  type: number;
  name: string;
  license: string;
  /** 8 bytes an instruction. */
  insns: Uint8Array;
  kernVersion: number;
  expectedAttachType?: number;
  ifindex?: number;
  flags?: number;
  attachBtfId?: number;
  attachBtfObjFd?: number;
  attachProgFd?: number;
  btfFd?: number;
  funcInfo?: Uint8Array;
  funcInfoRecSize?: number;
  lineInfo?: Uint8Array;
  lineInfoRecSize?: number;
  /** 0 none, 1 the verifier's steps, 2 with register states, 4 statistics only. */
  logLevel: number;
  /** Bytes of log to keep, 0 for none. */
  logSize: number;
}

/** `fd` is null where the kernel refused (`errno` tells); `log` is what the verifier wrote, '' without a log level. */
export interface NativeProgramResult {
  fd: NativeFd | null;
  errno: number;
  log: string;
}

export interface NativeProgramInfo {
  type: number;
  id: number;
  name: string;
  /** 16 hexadecimal digits. */
  tag: string;
  gplCompatible: boolean;
  loadTimeNs: bigint;
  jitedSize: number;
  xlatedSize: number;
  mapIds: number[];
  btfId: number;
  runTimeNs: bigint;
  runCount: bigint;
  recursionMisses: bigint;
  /** 0 before Linux 5.16, which does not tell. */
  verifiedInstructions: number;
  funcInfo: Uint8Array;
  funcInfoRecSize: number;
  lineInfo: Uint8Array;
  lineInfoRecSize: number;
}

export interface NativeLinkOptions {
  flags?: number;
  /** union bpf_iter_link_info, as bytes. */
  iterInfo?: Uint8Array;
  targetBtfId?: number;
  kprobeMulti?: { flags: number; symbols?: string[]; addresses?: BigUint64Array };
  uprobeMulti?: { flags: number; path: string; offsets: BigUint64Array; refCtrOffsets?: BigUint64Array; pid?: number };
}

export interface NativeLinkInfo {
  /** enum bpf_link_type. */
  type: number;
  id: number;
  programId: number;
  /** Of an XDP link; 0 once detached. */
  ifindex?: number;
  /** Of a cgroup link; 0 once detached. */
  cgroupId?: bigint;
  /** Of a link on a network namespace; 0 once detached. */
  netnsInode?: number;
  /** Of links on cgroups and network namespaces. */
  attachType?: number;
}

export interface NativeTestRun {
  errno: number;
  returnValue: number;
  durationNs: number;
  dataOut: Uint8Array;
}

/** The words in which a reader tells about its last drain, and is told. Only what moves an entry sets all of them. */
export const Report = {
  /** The ring that was drained. */
  Ring: 0,
  /** Bytes of the buffer in use. */
  Bytes: 1,
  /** Bytes from entry to entry where all are records of one size, else 0. */
  Stride: 2,
  /** The bytes that an entry too large for the empty buffer needs, 0 where all fitted. */
  Needed: 3,
  /** Bytes that waited in the ring when the drain began, their headers included. */
  Available: 4,
  /** To be set: how many entries a watcher may drain before it calls back. Any drain takes it back to 0. */
  Wanted: 5,
  /** To be set: whether the watcher's wait keeps the event loop alive, as found after each wake-up. */
  Held: 6,
  /** 1 during a watcher's callback and the promises that it resolves, else 0. */
  Waking: 7,
  Words: 8,
} as const;

/**
 * Several of the kernel's rings behind one epoll descriptor, drained without a call per record. A ring is told by the
 * index that `add` gave it; indices are not used again.
 */
export interface NativeRecordReader {
  /** An epoll fd, readable when any ring has a record. Owned by the reader. */
  readonly pollFd: number;
  /**
   * Waits up to `timeoutMs` (-1 for ever, 0 not at all) for any ring: how many have something (at most 16 are told). A
   * signal ends the wait with 0.
   */
  wait(timeoutMs: number): number;
  /**
   * Says where drains write their entries, `out` (8-byte aligned), and where they tell about themselves: `report`, whose
   * words are those of {@link Report}.
   */
  target(out: Uint8Array, report: Uint32Array): void;
  /**
   * Moves records of a ring into the target's buffer until either is exhausted or `most` are moved, and gives their room
   * back to the kernel: of the first of `span` rings, from ring `from` on and around, that has any. An entry is `u32 kind,
   * u32 size` and the bytes, padded to a multiple of 8: kind 0 is a record, kind 1 a loss, whose bytes are a u64: how many
   * records were lost here. Returns the number of entries.
   */
  drain(from: number, span: number, most: number): number;
  /** As `wait`, and then drains the first ring that has something: one call, since each is dear after a long sleep. */
  poll(timeoutMs: number): number;
  /** Losses the kernel knows and no drain has told yet (perf, Linux 6.0; 0 elsewhere): a call to the ring's CPU. */
  takeLost(ring: number): number;
  /** Harmless when repeated. */
  remove(ring: number): void;
  close(): void;
}

/** Ring buffer maps (Linux 5.8): each is mapped and held by the reader. */
export interface NativeRingReader extends NativeRecordReader {
  add(mapFd: number): number;
}

/** Perf event arrays: one ring for each CPU, held by the map's slot until it is removed. */
export interface NativePerfReader extends NativeRecordReader {
  /** `pages` is a power of two; the consumer is woken by every `wakeupEvents`th record. */
  add(mapFd: number, options: { cpu: number; pages: number; wakeupEvents: number; pid?: number }): number;
}

/** libuv's wait on a descriptor: `callback` runs on the event loop whenever it is readable, until stop(). */
export interface NativeFdWatcher {
  /**
   * `errno` is 0, or what made waiting impossible; `drained` tells what the watcher's reader has drained for this call. A
   * callback once given stays.
   */
  start(callback?: (errno: number, drained: number) => void): void;
  stop(): void;
  ref(): void;
  unref(): void;
  /** To be called before the descriptor is closed. */
  close(): void;
}

/** Where a symbol table (Elf64_Sym, or Elf32_Sym where not `wide`) and its names lie in a file. */
export interface NativeSymbolSection {
  path: string;
  wide: boolean;
  offset: bigint;
  size: bigint;
  stringsOffset: bigint;
  stringsSize: bigint;
}

/** The function symbols of an ELF file by column, ascending; the name of symbol i is `text[starts[i]..starts[i + 1]]`. */
export interface NativeElfSymbols {
  text: Uint8Array;
  starts: Uint32Array;
  /** Virtual addresses. */
  addresses: BigUint64Array;
  sizes: BigUint64Array;
  /** The furthest end of the symbols up to i: where to stop looking for one that encloses an address. */
  reach: BigUint64Array;
}

export interface RuntimeAddon {
  readonly libbpfVersion: string;
  Fd: new (fd: number) => NativeFd;

  createMap(attributes: NativeMapAttributes): NativeFd;
  mapInfo(fd: number): NativeMapInfo;
  /** A process's pidfd (Linux 5.3). */
  pidfdOpen(pid: number): NativeFd;
  MapAccess: new (fd: number, key: Uint8Array, value: Uint8Array) => NativeMapAccess;
  /**
   * Every element; `remove` deletes what it returns (batch only where the kernel can, else ENOTSUP). The arrays of an
   * earlier scan, given again, are filled again where they are large enough: fresh memory costs as much as the scan.
   */
  scanMap(
    fd: number,
    keySize: number,
    valueSize: number,
    maxEntries: number,
    remove: boolean,
    scratchKeys?: Uint8Array,
    scratchValues?: Uint8Array,
  ): NativeMapScan;
  updateMapBatch(fd: number, keys: Uint8Array, values: Uint8Array, count: number): { errno: number; count: number };
  deleteMapBatch(fd: number, keys: Uint8Array, count: number): { errno: number; count: number };

  loadProgram(attributes: NativeProgramAttributes): NativeProgramResult;
  programInfo(fd: number): NativeProgramInfo;
  /** The instructions as the kernel runs them (after the verifier's rewriting), 8 bytes each. */
  programXlated(fd: number): Uint8Array;
  testRun(fd: number, dataIn: Uint8Array | null, ctxIn: Uint8Array | null, repeat: number): NativeTestRun;
  /** BPF_ENABLE_STATS: run counts are kept while the returned fd is open (Linux 5.8). */
  enableStats(): NativeFd;

  linkCreate(programFd: number, target: number, attachType: number, options?: NativeLinkOptions): NativeFd;
  linkInfo(fd: number): NativeLinkInfo;
  /** Puts another program in the place of the link's. */
  linkUpdate(fd: number, programFd: number): void;
  linkDetach(fd: number): void;
  programAttach(programFd: number, target: number, attachType: number, flags: number): void;
  programDetach(programFd: number, target: number, attachType: number): void;
  rawTracepointOpen(name: string | null, programFd: number): NativeFd;
  iterCreate(linkFd: number): NativeFd;
  /** `config1Text`, where given, is passed by pointer as the attribute's config1 (the kprobe and uprobe PMUs). */
  perfEventOpen(
    attributes: Uint8Array,
    pid: number,
    cpu: number,
    groupFd: number,
    flags: number,
    config1Text?: string,
  ): NativeFd;
  perfEventIoctl(fd: number, request: 'enable' | 'disable' | 'setBpf', argument: number): void;
  /** The interfaces of this process's network namespace (sysfs shows those of the one it was mounted in). */
  interfaces(): { name: string; index: number }[];
  xdpAttach(ifindex: number, programFd: number, flags: number): void;
  xdpQuery(ifindex: number, flags: number): number;
  tcAttach(
    ifindex: number,
    direction: number,
    programFd: number,
    priority: number,
    handle: number,
    replace: boolean,
  ): { priority: number; handle: number; createdHook: boolean };
  /** `destroyHook` removes the clsact qdisc as well, if no filter is left on it. */
  tcDetach(ifindex: number, direction: number, priority: number, handle: number, destroyHook: boolean): void;
  openRawSocket(ifname: string): NativeFd;
  attachSocket(socketFd: number, programFd: number): void;

  pin(fd: number, path: string): void;
  getPinned(path: string): NativeFd;
  fdById(kind: 'program' | 'map' | 'link' | 'btf', id: number): NativeFd;
  /** The ids of all live objects of a kind, ascending (CAP_SYS_ADMIN). */
  ids(kind: 'program' | 'map' | 'link' | 'btf'): number[];

  /** Loads a BTF blob; a refusal throws with the kernel's log in `log`. */
  loadBtf(blob: Uint8Array): NativeFd;
  btfBlob(fd: number): Uint8Array;
  btfInfo(fd: number): { id: number; name: string; kernel: boolean };
  /** All types of a blob as one C header, through libbpf's btf_dump; `base` for split BTF (modules). */
  btfDumpC(blob: Uint8Array, base?: Uint8Array): string;
  /** The id of a type by name and BTF kind in a blob, or 0. */
  btfFind(blob: Uint8Array, name: string, kind: number): number;

  /** Raises RLIMIT_MEMLOCK to infinity where that is allowed (needed before Linux 5.11); whether it worked. */
  raiseMemlock(): boolean;

  RingReader: new () => NativeRingReader;
  PerfReader: new () => NativePerfReader;
  /** With a reader, whose `pollFd` is then watched: drains as many entries as its report wants before it calls back. */
  FdWatcher: new (
    fd: number,
    reader?: NativeRecordReader,
  ) => NativeFdWatcher;

  /** Function symbols of tables that `symbolSections` found. */
  elfSymbols(sections: NativeSymbolSection[]): NativeElfSymbols;
  /** The virtual address of a symbol in such tables, functions before variables; undefined where there is none. */
  elfSymbolAddress(sections: NativeSymbolSection[], name: string): bigint | undefined;
  /** A C++ (or old Rust) name as a person writes it; other names as they are. */
  demangle(name: string): string;
  /** The path of lib<name>.so as the process (0: none) has it mapped, else as the loader's cache has it. */
  findLibrary(name: string, pid: number): string | undefined;
}

function load(): RuntimeAddon {
  try {
    return require(process.env.TSBCC_RUNTIME_ADDON ?? path.join(NATIVE_FOLDER, 'runtime.node')) as RuntimeAddon;
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND';
    throw new BCCError(
      'ERR_BCC_ADDON',
      missing
        ? 'the native addon runtime.node has not been built'
        : `the native addon runtime.node does not load: ${cause}`,
      {
        cause,
        hint: missing
          ? 'run "npm run build" in the package (dependencies\' install scripts may need approval: npm approve-scripts tsbcc)'
          : 'install libbpfcc and libbpf (Debian: apt-get install libbpfcc-dev libbpf-dev) and run "npm rebuild tsbcc"',
      },
    );
  }
}

let addon: RuntimeAddon | undefined;

/** The runtime addon, loaded at the first call. */
export function runtime(): RuntimeAddon {
  addon ??= load();
  return addon;
}
