import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import { inspect } from 'node:util';
import { knownOptions, requireName, requireText } from './arguments';
import { autoloadTarget } from './attach/autoload';
import { attachFunc, detachFunc, type FuncTarget, requireFuncTarget } from './attach/cgroup';
import { attachIter, type IteratorLink, type IteratorScope } from './attach/iterator';
import {
  attachKprobe,
  attachKprobeMulti,
  attachKprobes,
  type KprobeKind,
  type KprobeSet,
  kprobeEventName,
  supportsKprobeMulti,
} from './attach/kprobe';
import { type Link, OwnedLink } from './attach/link';
import { attachRawSocket, attachXdp, removeXdp } from './attach/network';
import { interfaceIndex } from './attach/network-interface';
import {
  attachPerfEvent,
  attachPerfEventRaw,
  type PerfEventOptions,
  perfEventIdentity,
  type RawPerfEventOptions,
} from './attach/perf-event';
import { attachRawTracepoint } from './attach/raw-tracepoint';
import { LinkRegistry } from './attach/registry';
import { attachTc, type TcLink, type TcOptions } from './attach/tc';
import { attachTracepoint, attachTracepoints, getTracepoints, tracepointExists } from './attach/tracepoint';
import {
  attachTrampoline,
  type TrampolineKind,
  trampolineKind,
  trampolineName,
  trampolineTarget,
} from './attach/trampoline';
import {
  attachUprobes,
  findExe,
  findLibrary,
  getUserAddresses,
  getUserFunctions,
  getUserFunctionsAndAddresses,
  planUprobes,
  type UprobeKind,
  type UprobeOptions,
  type UprobePlan,
  uprobeLabel,
} from './attach/uprobe';
import { planUsdt } from './attach/usdt';
import { privilegeHint } from './capabilities';
import { BPFAttachType, BPFProgType, Debug, XDPAction, XDPFlags } from './constants';
import { BCCError, ClosedError, didYouMean, isNativeError, UnsupportedError } from './errors';
import { PerfManager } from './events/perf-manager';
import { RingManager } from './events/ring-manager';
import {
  type NoTraceFields,
  type TraceFields,
  type TraceOptions,
  TracePipe,
  type TraceReadOptions,
} from './events/trace-pipe';
import {
  features,
  kernelEnumHasVal,
  kernelStructHasField,
  supportFmodRet,
  supportKfunc,
  supportLsm,
  supportRawTracepoint,
  supportRawTracepointInModule,
} from './kernel/features';
import type { HeadersContext, HeadersOption } from './kernel/headers';
import { absoluteFlags } from './kernel/headers/flags';
import { includes } from './kernel/headers/scan';
import {
  addPrefix,
  fixSyscallFnname,
  getKprobeFunctions,
  getProbeLimit,
  getSyscallFnname,
  getSyscallPrefix,
} from './kernel/probe-functions';
import { type NativeFd, runtime } from './native';
import {
  type CacheOption,
  type Obtained,
  obtainProgram,
  obtainProgramSync,
  type ProgramSource,
  readProgramFile,
} from './program/cache';
import type { CompileRequest } from './program/compile';
import type { CompiledProgram } from './program/compiled';
import { disassemble } from './program/disassemble';
import { BPFFunction, type Detachable } from './program/function';
import type { MapSpec } from './program/maps';
import { ProgramModule } from './program/module';
import { generateAutoIncludes, LOST_TABLE, programText } from './program/source';
import { releaseAll } from './release';
import { buildSymbols, ksym, ksymname, sym } from './symbols';
import { decodeTable } from './table/decode-table';
import { type AnyTable, createTable, type TableOptions } from './table/factory';
import { pin } from './table/pin';
import type { Int64Mode, TableHost, TableSpec } from './table/spec';
import type { Untyped } from './table/table';
import { USDT, usdtText } from './usdt';

/** How a program is made: every field is optional, but one of `text`, `srcFile` and `program` must be there. */
export interface BCCOptions {
  /** The program's C text. */
  text?: string;
  /** A file with the program's C text; looked for in the working directory, then beside the running script. */
  srcFile?: string;
  /** A header file that is put before `srcFile`'s text. */
  hdrFile?: string;
  /** A file that `tsbcc compile` wrote; with `text` or `srcFile` besides, those are compiled where the file does not fit. */
  program?: string;
  /** Flags of {@link Debug}, joined with `|`. */
  debug?: number;
  /** Flags for the C compiler: `-DNAME=1`, `-Ifolder`. */
  cflags?: string[];
  /** USDT probes enabled for this program: their argument readers are put before its text, and they are attached. */
  usdtContexts?: USDT[];
  /** Let RLIMIT_MEMLOCK be raised where the kernel counts maps against it (before Linux 5.11); true by default. */
  allowRlimit?: boolean;
  /** The network interface to offload the program to. */
  device?: string;
  /** Attach USDT probes to all processes, not only to the one their context names. */
  attachUsdtIgnorePid?: boolean;
  /** 64-bit integers arrive as bigints; as numbers with 'number', and then a value that would be rounded throws. */
  int64?: Int64Mode;
  /** Where the kernel's types come from: see {@link HeadersOption}. */
  headers?: HeadersOption;
  /** Compile for another kernel than the running one. Such a program cannot be loaded here. */
  kernel?: HeadersContext;
  /** The cache of compiled programs: see {@link CacheOption}. */
  cache?: CacheOption;
  /** Count events that a ring buffer had no room for: `stream.stats.lost` and loss notices then tell them. */
  countLost?: boolean;
}

/** How {@link BCC.load} makes a program. */
export interface BCCLoadOptions extends BCCOptions {
  /** Ends the compiler when it is aborted, and rejects. */
  signal?: AbortSignal;
}

/** A program type, by number (`BPFProgType.KPROBE`, `BCC.KPROBE`). */
export type ProgType = number;

/** Static methods that BCC's users call on an object as well, as Python lets them: `b.ksym(address)`, `b.attach_xdp(…)`. */
const ON_OBJECTS = [
  ...['attachRawSocket', 'attachXdp', 'removeXdp', 'attachFunc', 'detachFunc'],
  ...['getKprobeFunctions', 'getProbeLimit', 'getTracepoints', 'tracepointExists', 'findLibrary', 'findExe'],
  ...['getUserFunctions', 'getUserAddresses', 'getUserFunctionsAndAddresses'],
  ...['supportKfunc', 'supportLsm', 'supportFmodRet', 'supportRawTracepoint', 'supportRawTracepointInModule'],
  ...['kernelStructHasField', 'kernelEnumHasVal'],
  ...['sym', 'ksym', 'ksymname', 'addPrefix', 'generateAutoIncludes', 'addModule', 'monotonicTime'],
] as const;

const ANY_KPROBE = ['kprobe', 'kretprobe'];
const ANY_UPROBE = ['uprobe', 'uretprobe', 'usdt'];
const ANY_TRACEPOINT = ['tracepoint'];

export interface BCC extends Pick<typeof BCC, (typeof ON_OBJECTS)[number]> {}

/**
 * A BPF program: compiled from C, loaded into the kernel as its functions are attached, and its tables.
 *
 * Everything it attached and made is undone by `close()`, by `using`, when the process ends, and when it is collected: as long as a table, a stream or lines of trace_pipe are in
 * use it is not.
 * BCC's static methods answer on objects too, as in Python: `b.ksym(address)`.
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: what the interface adds is defined below, name by name
export class BCC implements Disposable {
  // BCC's class attributes: program types, XDP verdicts and flags

  static readonly SOCKET_FILTER = BPFProgType.SOCKET_FILTER;
  static readonly KPROBE = BPFProgType.KPROBE;
  static readonly SCHED_CLS = BPFProgType.SCHED_CLS;
  static readonly SCHED_ACT = BPFProgType.SCHED_ACT;
  static readonly TRACEPOINT = BPFProgType.TRACEPOINT;
  static readonly XDP = BPFProgType.XDP;
  static readonly PERF_EVENT = BPFProgType.PERF_EVENT;
  static readonly CGROUP_SKB = BPFProgType.CGROUP_SKB;
  static readonly CGROUP_SOCK = BPFProgType.CGROUP_SOCK;
  static readonly LWT_IN = BPFProgType.LWT_IN;
  static readonly LWT_OUT = BPFProgType.LWT_OUT;
  static readonly LWT_XMIT = BPFProgType.LWT_XMIT;
  static readonly SOCK_OPS = BPFProgType.SOCK_OPS;
  static readonly SK_SKB = BPFProgType.SK_SKB;
  static readonly CGROUP_DEVICE = BPFProgType.CGROUP_DEVICE;
  static readonly SK_MSG = BPFProgType.SK_MSG;
  static readonly RAW_TRACEPOINT = BPFProgType.RAW_TRACEPOINT;
  static readonly CGROUP_SOCK_ADDR = BPFProgType.CGROUP_SOCK_ADDR;
  static readonly TRACING = BPFProgType.TRACING;
  static readonly LSM = BPFProgType.LSM;
  static readonly XDP_ABORTED = XDPAction.XDP_ABORTED;
  static readonly XDP_DROP = XDPAction.XDP_DROP;
  static readonly XDP_PASS = XDPAction.XDP_PASS;
  static readonly XDP_TX = XDPAction.XDP_TX;
  static readonly XDP_REDIRECT = XDPAction.XDP_REDIRECT;
  static readonly XDP_FLAGS_UPDATE_IF_NOEXIST = XDPFlags.UPDATE_IF_NOEXIST;
  static readonly XDP_FLAGS_SKB_MODE = XDPFlags.SKB_MODE;
  static readonly XDP_FLAGS_DRV_MODE = XDPFlags.DRV_MODE;
  static readonly XDP_FLAGS_HW_MODE = XDPFlags.HW_MODE;
  static readonly XDP_FLAGS_REPLACE = XDPFlags.REPLACE;

  readonly #module: ProgramModule;
  readonly #registry = new LinkRegistry();
  readonly #host: ProgramHost;
  readonly #tables = new Map<string, AnyTable>();
  readonly #int64: Int64Mode;
  readonly #parts: Parts;
  #trace: TracePipe | undefined;

  /** The tables by name, made when they are first read. A table of one's own can be put in a name's place. */
  readonly tables: Record<string, AnyTable>;
  /** Where the program's kernel types came from, in one line for people. */
  readonly headers: string;
  /** 'cache', 'process' (a compiler just run in a process of its own) or 'file' (compiled ahead of time). */
  readonly compiledBy: ProgramSource;

  /**
   * Compiles (in a process of its own, or takes from the cache), makes the tables, and loads and attaches the functions
   * whose names say where they belong (`kprobe__vfs_read`, …). Options stand beside the text or after it:
   * `new BCC(text, { cflags })` is `new BCC({ text, cflags })`.
   * @throws CompileError, LoadError, AttachError, HeadersError
   */
  constructor(source: string | BCCOptions, more?: Omit<BCCOptions, 'text'>) {
    const options = gatherOptions(source, more);
    checkOptions(options);
    const { program, source: from } = obtainedFor.get(options) ?? obtain(options);
    this.headers = program.origin.headers;
    this.compiledBy = from;
    // With debug flags the compiler has said it itself.
    if (program.warnings !== '' && !options.debug) process.emitWarning(program.warnings, 'CompileWarning');
    this.#int64 = options.int64 ?? 'bigint';
    if (options.allowRlimit !== false) runtime().raiseMemlock();
    this.#module = new ProgramModule(program, {
      ifindex: options.device === undefined ? 0 : interfaceIndex(options.device),
      logLevel: logLevelOf(options.debug ?? 0),
      targetOf: (fnName) => {
        const kind = trampolineKind(fnName);
        return kind && trampolineTarget(fnName, kind);
      },
    });
    this.#host = new ProgramHost(this.#module);
    this.tables = this.#describeTables(program);
    this.#parts = { module: this.#module, registry: this.#registry };
    collected.register(this.#host, this.#parts, this);
    keepUntilExit(this.#parts);
    try {
      for (const usdt of options.usdtContexts ?? []) this.#attachUsdt(usdt, options.attachUsdtIgnorePid ?? false);
      this.#autoload();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** As the constructor, with the event loop free while the compiler runs; an aborted signal ends it. */
  static async load(source: string | BCCLoadOptions, more?: Omit<BCCLoadOptions, 'text'>): Promise<BCC> {
    const { signal, ...options } = gatherOptions<BCCLoadOptions>(source, more);
    checkOptions(options);
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
      throw new TypeError(`signal must be an AbortSignal, not ${inspect(signal)}`);
    }
    signal?.throwIfAborted();
    const obtained = fromFile(options) ?? (await obtainProgram(requestOf(options), options.cache ?? true, signal));
    obtainedFor.set(options, obtained);
    return new BCC(options);
  }

  /**
   * Compiles (or takes from the cache) and loads nothing: plain data, for `tsbcc compile` and for a look at what came out.
   * @throws CompileError, HeadersError
   */
  static compile(source: string | BCCOptions, more?: Omit<BCCOptions, 'text'>): CompiledProgram {
    const options = gatherOptions(source, more);
    checkOptions(options);
    return obtain(options).program;
  }

  #describeTables(program: CompiledProgram): Record<string, AnyTable> {
    const tables: Record<string, AnyTable> = Object.create(null);
    for (const { name } of program.tables) {
      Object.defineProperty(tables, name, {
        enumerable: name !== LOST_TABLE,
        configurable: true,
        get: () => this.table(name),
        set: (table: AnyTable) => this.#tables.set(name, table),
      });
    }
    return tables;
  }

  /** The compiled program, as plain data. */
  get program(): CompiledProgram {
    return this.#module.program;
  }

  /** What the compiler warned of, as text; '' where it did not. It is a Node warning as well, `CompileWarning`. */
  get warnings(): string {
    return this.program.warnings;
  }

  /** Whether {@link close} has been called. */
  get closed(): boolean {
    return this.#module.closed;
  }

  /** The functions by name that can be loaded and attached. */
  get functions(): string[] {
    return this.#module.functionNames;
  }

  /**
   * Everything that is attached, in the order in which it was; what static methods attached (raw sockets, XDP, cgroups)
   * comes last.
   */
  get links(): Link[] {
    const owned = this.#module.loaded.flatMap(({ attachments }) => attachments.filter(isLink));
    return [...this.#registry.links, ...owned.filter(({ attached }) => attached)];
  }

  #requireOpen(): void {
    if (this.#module.closed) throw new ClosedError('the BCC object');
  }

  // Tables

  /**
   * The table of that name, the same object at every call.
   * @throws BCCError `ERR_BCC_UNKNOWN_TABLE`, naming the nearest ones.
   */
  table<K = Untyped, L = Untyped>(name: string): AnyTable<K, L> {
    const known = this.#tables.get(name);
    if (known) return known as AnyTable<K, L>;
    const table = this.getTable<K, L>(name);
    this.#tables.set(name, table as AnyTable);
    return table;
  }

  /** A table object of its own, with keys and leaves read as other types than the program's, or reduced over CPUs. */
  getTable<K = Untyped, L = Untyped>(name: string, options: TableOptions = {}): AnyTable<K, L> {
    const lostIndex = this.program.lostTables.indexOf(name);
    const bound = this.#bind(this.#spec(name));
    if (lostIndex >= 0) bound.lost = () => this.table<number, bigint>(LOST_TABLE).sum(lostIndex);
    return createTable(bound, knownOptions('getTable', options, TABLE_OPTIONS)) as AnyTable<K, L>;
  }

  #spec(name: string): MapSpec {
    this.#requireOpen();
    requireText(name, 'the name of a table');
    const spec = this.#module.maps.specs.get(name);
    if (spec) return spec;
    const names = Object.keys(this.tables);
    throw new BCCError('ERR_BCC_UNKNOWN_TABLE', `the program has no table ${JSON.stringify(name)}`, {
      hint: didYouMean(name, names) ?? (names.length > 0 ? `it has ${names.join(', ')}` : 'it has none'),
    });
  }

  #bind({ inner, ...spec }: MapSpec): TableSpec {
    return { ...spec, int64: this.#int64, host: this.#host, ...(inner && { inner: this.#bind(inner) }) };
  }

  /** How a table's keys and leaves are laid out, with sizes where asked for: see {@link decodeTable}. */
  decodeTable(name: string, options: { sizeinfo?: boolean } = {}): string {
    const { sizeinfo = false } = knownOptions('decodeTable', options, ['sizeinfo']);
    return decodeTable(this.#spec(name), sizeinfo);
  }

  // Functions

  /**
   * A function, loaded as `progType` (a value of {@link BPFProgType}). It ends with this object: hold that, or a table or
   * stream of it, as long as the function is to run.
   * @throws BCCError `ERR_BCC_UNKNOWN_FUNCTION`; LoadError with the verifier's log where the kernel refuses it.
   */
  loadFunc(funcName: string, progType: ProgType, options: { device?: string; attachType?: number } = {}): BPFFunction {
    const { device, attachType } = knownOptions('loadFunc', options, ['device', 'attachType']);
    if (!Number.isInteger(progType) || progType <= 0) {
      throw new TypeError(`progType must be a value of BPFProgType, not ${inspect(progType)}`);
    }
    return this.#module.load(funcName, progType, {
      ...(device !== undefined && { ifindex: interfaceIndex(device) }),
      ...(attachType !== undefined && attachType >= 0 && { expectedAttachType: attachType }),
    });
  }

  /** Every function of the program, loaded as `progType`. */
  loadFuncs(progType: ProgType = BPFProgType.KPROBE): BPFFunction[] {
    return this.functions.map((name) => this.loadFunc(name, progType));
  }

  /** A function's instructions as compiled, 8 bytes each. */
  dumpFunc(funcName: string): Buffer {
    return Buffer.from(this.#module.compiled(funcName).insns);
  }

  /** A function's instructions as text, one a line, with the tables' names where it loads them. */
  disassembleFunc(funcName: string): string {
    const { insns, relocations } = this.#module.compiled(funcName);
    return disassemble(insns, { name: funcName, relocations });
  }

  // kprobes

  /** Runs a function where a kernel function begins (or `eventOff` bytes into it); with `eventRe`, many of them. */
  attachKprobe(options: { event?: string; eventOff?: number; fnName?: string; eventRe?: string | RegExp }): this {
    return this.#attachKprobe('kprobe', options);
  }

  /** Runs a function where a kernel function returns. `maxactive`: how many calls may be under way at once. */
  attachKretprobe(options: { event?: string; fnName?: string; eventRe?: string | RegExp; maxactive?: number }): this {
    return this.#attachKprobe('kretprobe', options);
  }

  #attachKprobe(
    kind: KprobeKind,
    options: { event?: string; eventOff?: number; fnName?: string; eventRe?: string | RegExp; maxactive?: number },
  ): this {
    const { event, eventOff = 0, eventRe, maxactive = 0 } = knownOptions(callOf(kind), options, KPROBE_OPTIONS);
    const fnName = requireName(options.fnName, 'fnName');
    if (isGiven(eventRe)) {
      this.#module.compiled(fnName);
      const symbols = getKprobeFunctions(eventRe);
      const detail = { kind, pattern: eventRe };
      let set: KprobeSet;
      if (symbols.length > 1 && maxactive === 0 && supportsKprobeMulti()) {
        const attachType = BPFAttachType.TRACE_KPROBE_MULTI;
        set = attachKprobeMulti(this.loadFunc(fnName, BPFProgType.KPROBE, { attachType }), symbols, detail);
      } else {
        set = attachKprobes(this.loadFunc(fnName, BPFProgType.KPROBE), symbols, { ...detail, maxactive });
      }
      this.#registry.add(set, { names: () => set.symbols, leave: (symbol) => set.detachSymbol(symbol) });
      return this;
    }
    const target = requireName(event, 'event');
    const fn = this.loadFunc(fnName, BPFProgType.KPROBE);
    const link = attachKprobe(fn, { event: target, eventOff, kind, maxactive });
    this.#registry.add(link, { names: () => [target] });
    return this;
  }

  /** Detaches from a kernel function: all functions of the program, or `fnName` alone. */
  detachKprobe(options: { event: string; fnName?: string }): this {
    const { event, fnName } = knownOptions('detachKprobe', options, KPROBE_OPTIONS);
    this.#registry.detach(['kprobe'], event, { fnName });
    return this;
  }

  /** As {@link detachKprobe}, from the function's return. */
  detachKretprobe(options: { event: string; fnName?: string }): this {
    const { event, fnName } = knownOptions('detachKretprobe', options, KPROBE_OPTIONS);
    this.#registry.detach(['kretprobe'], event, { fnName });
    return this;
  }

  /** Detaches by BCC's name for the event: `p_vfs_read`, `r_vfs_read`. */
  detachKprobeEvent(evName: string): this {
    this.#registry.detach(ANY_KPROBE, evName, { nameOf: kprobeNameOf });
    return this;
  }

  /** Detaches one function by BCC's name for the event: see {@link detachKprobeEvent}. */
  detachKprobeEventByFn(evName: string, fnName: string): this {
    this.#registry.detach(ANY_KPROBE, evName, { nameOf: kprobeNameOf, fnName });
    return this;
  }

  /** Kprobes and kretprobes that are open, each function of a pattern counted. */
  numOpenKprobes(): number {
    return this.#registry.count(ANY_KPROBE);
  }

  // uprobes

  /** Runs a function where a function of a program or library begins: see {@link UprobeOptions}. */
  attachUprobe(options: UprobeOptions & { fnName?: string }): this {
    return this.#attachUprobe('uprobe', options);
  }

  /** Runs a function where a function of a program or library returns: see {@link UprobeOptions}. */
  attachUretprobe(options: Omit<UprobeOptions, 'symOff'> & { fnName?: string }): this {
    return this.#attachUprobe('uretprobe', options);
  }

  #attachUprobe(kind: UprobeKind, given: UprobeOptions & { fnName?: string }): this {
    const { fnName, ...options } = knownOptions(callOf(kind), given, UPROBE_OPTIONS);
    const name = requireName(fnName, 'fnName');
    this.#module.compiled(name);
    const plan = planUprobes(kind, options);
    this.#addUprobes(name, plan, uprobeLabel(options));
    return this;
  }

  #addUprobes(fnName: string, plan: UprobePlan, label: string): void {
    const attachType = plan.multi ? { attachType: BPFAttachType.TRACE_UPROBE_MULTI } : {};
    const link = attachUprobes(this.loadFunc(fnName, BPFProgType.KPROBE, attachType), plan, { multi: plan.multi });
    this.#registry.add(link, { names: () => link.events, label, leave: (event) => link.detachEvent(event) });
  }

  /** Detaches what {@link attachUprobe} attached with the same options; without `fnName`, all functions there. */
  detachUprobe(options: UprobeOptions & { fnName?: string }): this {
    return this.#detachUprobe('uprobe', options);
  }

  /** Detaches what {@link attachUretprobe} attached with the same options. */
  detachUretprobe(options: UprobeOptions & { fnName?: string }): this {
    return this.#detachUprobe('uretprobe', options);
  }

  #detachUprobe(kind: UprobeKind, given: UprobeOptions & { fnName?: string }): this {
    const { fnName, ...options } = knownOptions(`de${callOf(kind).slice(2)}`, given, UPROBE_OPTIONS);
    const label = uprobeLabel(options);
    // As it was asked for, which still serves where the file or process has gone; else by what it comes to.
    const names = this.#registry.hasLabel([kind], label)
      ? [label]
      : planUprobes(kind, options).targets.map(({ event }) => event);
    for (const name of names) this.#registry.detach([kind], name, { fnName });
    return this;
  }

  /** Detaches by BCC's name for the event: `p__usr_lib_libc_so_6_0x9a930`. */
  detachUprobeEvent(evName: string): this {
    this.#registry.detach(ANY_UPROBE, evName);
    return this;
  }

  /** Uprobes and uretprobes that are open, each function of a pattern counted. */
  numOpenUprobes(): number {
    return this.#registry.count(ANY_UPROBE);
  }

  // tracepoints

  /** Runs a function at the tracepoint `tp` (`category:event`), or at all whose names begin as `tpRe` says. */
  attachTracepoint(options: { tp?: string; tpRe?: string | RegExp; fnName?: string }): this {
    const { tp, tpRe, fnName } = knownOptions('attachTracepoint', options, ['tp', 'tpRe', 'fnName']);
    const fn = this.loadFunc(requireName(fnName, 'fnName'), BPFProgType.TRACEPOINT);
    if (!isGiven(tpRe)) {
      this.#registry.add(attachTracepoint(fn, requireName(tp, 'tp')));
      return this;
    }
    for (const link of attachTracepoints(fn, tpRe)) this.#registry.add(link);
    return this;
  }

  /** Detaches from the tracepoint `tp`. */
  detachTracepoint(options: { tp: string }): this {
    const { tp } = knownOptions('detachTracepoint', options, ['tp']);
    this.#registry.detach(ANY_TRACEPOINT, tp);
    return this;
  }

  /** Tracepoints that are open. */
  numOpenTracepoints(): number {
    return this.#registry.count(ANY_TRACEPOINT);
  }

  /** Runs a function at a raw tracepoint: the arguments as the kernel passes them (Linux 4.17). */
  attachRawTracepoint(options: { tp: string; fnName: string }): this {
    const { tp, fnName } = knownOptions('attachRawTracepoint', options, ['tp', 'fnName']);
    const fn = this.loadFunc(requireName(fnName, 'fnName'), BPFProgType.RAW_TRACEPOINT);
    this.#registry.add(attachRawTracepoint(fn, requireName(tp, 'tp')));
    return this;
  }

  /** Detaches from the raw tracepoint `tp`. */
  detachRawTracepoint(options: { tp: string }): this {
    const { tp } = knownOptions('detachRawTracepoint', options, ['tp']);
    this.#registry.detach(['raw_tracepoint'], tp);
    return this;
  }

  // Programs bound to their hook when they are loaded

  /** Runs a `kfunc__…` function (KFUNC_PROBE) where its kernel function begins (fentry, Linux 5.5). */
  attachKfunc(options: { fnName: string }): this {
    const { fnName } = knownOptions('attachKfunc', options, ['fnName']);
    return this.#attachTrampoline('kfunc', fnName);
  }

  /** Runs a `kretfunc__…` function (KRETFUNC_PROBE) where its kernel function returns (fexit, Linux 5.5). */
  attachKretfunc(options: { fnName: string }): this {
    const { fnName } = knownOptions('attachKretfunc', options, ['fnName']);
    return this.#attachTrampoline('kretfunc', fnName);
  }

  /** Runs a `kmod_ret__…` function, whose result can take the place of its kernel function's (fmod_ret, Linux 5.7). */
  attachFmodRet(options: { fnName: string }): this {
    const { fnName } = knownOptions('attachFmodRet', options, ['fnName']);
    return this.#attachTrampoline('kmod_ret', fnName);
  }

  /** Runs an `lsm__…` function (LSM_PROBE) at its security hook (Linux 5.7, with `bpf` among the active LSMs). */
  attachLsm(options: { fnName: string }): this {
    const { fnName } = knownOptions('attachLsm', options, ['fnName']);
    return this.#attachTrampoline('lsm', fnName);
  }

  /** Detaches what {@link attachKfunc} attached. */
  detachKfunc(options: { fnName: string }): this {
    const { fnName } = knownOptions('detachKfunc', options, ['fnName']);
    return this.#detachTrampoline('kfunc', fnName);
  }

  /** Detaches what {@link attachKretfunc} attached. */
  detachKretfunc(options: { fnName: string }): this {
    const { fnName } = knownOptions('detachKretfunc', options, ['fnName']);
    return this.#detachTrampoline('kretfunc', fnName);
  }

  /** Detaches what {@link attachFmodRet} attached. */
  detachFmodRet(options: { fnName: string }): this {
    const { fnName } = knownOptions('detachFmodRet', options, ['fnName']);
    return this.#detachTrampoline('kmod_ret', fnName);
  }

  /** Detaches what {@link attachLsm} attached. */
  detachLsm(options: { fnName: string }): this {
    const { fnName } = knownOptions('detachLsm', options, ['fnName']);
    return this.#detachTrampoline('lsm', fnName);
  }

  #attachTrampoline(kind: TrampolineKind, fnName: string | undefined): this {
    const full = withPrefix(kind, requireName(fnName, 'fnName'));
    const fn = this.loadFunc(full, kind === 'lsm' ? BPFProgType.LSM : BPFProgType.TRACING);
    this.#registry.add(attachTrampoline(fn, kind, trampolineName(full, kind)), { names: () => [full] });
    return this;
  }

  #detachTrampoline(kind: TrampolineKind, fnName: string): this {
    this.#registry.detach([kind], withPrefix(kind, requireName(fnName, 'fnName')));
    return this;
  }

  /** Attaches a `bpf_iter__…` function (BPF_ITER): the result reads what it writes (Linux 5.8). */
  attachIter(options: { fnName: string } & IteratorScope): IteratorLink {
    const { fnName, ...scope } = knownOptions('attachIter', options, ITERATOR_OPTIONS);
    const full = withPrefix('bpf_iter', requireName(fnName, 'fnName'));
    const fn = this.loadFunc(full, BPFProgType.TRACING);
    return this.#registry.add(attachIter(fn, full.slice('bpf_iter__'.length), scope), { names: () => [full] });
  }

  // Perf events

  /** Runs a function at every so many events of a counter: see {@link PerfEventOptions}. */
  attachPerfEvent(given: PerfEventOptions & { fnName: string }): this {
    const { fnName, ...options } = knownOptions('attachPerfEvent', given, PERF_EVENT_OPTIONS);
    const fn = this.loadFunc(requireName(fnName, 'fnName'), BPFProgType.PERF_EVENT);
    const name = perfEventKey(options.evType, options.evConfig);
    this.#registry.add(attachPerfEvent(fn, options), { names: () => [name] });
    return this;
  }

  /** As {@link attachPerfEvent}, by a whole `perf_event_attr`: see {@link RawPerfEventOptions}. */
  attachPerfEventRaw(given: RawPerfEventOptions & { fnName: string }): this {
    const names = ['attr', 'fnName', 'pid', 'cpu', 'groupFd'];
    const { fnName, ...options } = knownOptions('attachPerfEventRaw', given, names);
    const fn = this.loadFunc(requireName(fnName, 'fnName'), BPFProgType.PERF_EVENT);
    const { type, config } = perfEventIdentity(options.attr);
    this.#registry.add(attachPerfEventRaw(fn, options), { names: () => [perfEventKey(type, config)] });
    return this;
  }

  /** Detaches from the counter of that type and configuration. */
  detachPerfEvent(options: { evType: number; evConfig: number | bigint }): this {
    const { evType, evConfig } = knownOptions('detachPerfEvent', options, ['evType', 'evConfig']);
    this.#registry.detach(['perf_event'], perfEventKey(evType, evConfig));
    return this;
  }

  // Network

  /** Puts a SCHED_CLS function on an interface's ingress or egress: {@link TcOptions}. */
  attachTc(given: TcOptions & { fn: BPFFunction | string }): this {
    const { fn, ...options } = knownOptions('attachTc', given, TC_OPTIONS);
    const program = typeof fn === 'string' ? this.loadFunc(fn, BPFProgType.SCHED_CLS) : requireLoaded(fn);
    const link: TcLink = attachTc(program, options);
    this.#registry.add(link, { names: () => [`${link.dev} ${link.direction}`] });
    return this;
  }

  /** Detaches what {@link attachTc} put there. */
  detachTc(options: { dev: string; direction: TcOptions['direction'] }): this {
    const { dev, direction } = knownOptions('detachTc', options, ['dev', 'direction']);
    this.#registry.detach(['tc'], `${dev} ${direction}`);
    return this;
  }

  /** Gives a SOCKET_FILTER function a raw socket on `dev` ('' is every interface); `fn.sock` is its descriptor. */
  static attachRawSocket(fn: BPFFunction, dev: string): void {
    fn.sock = requireLoaded(fn).own(attachRawSocket(fn, dev)).sock;
  }

  /** Puts an XDP function on an interface; `flags` of {@link XDPFlags}. It ends with the program. */
  static attachXdp(dev: string, fn: BPFFunction, flags = 0): void {
    requireLoaded(fn).own(attachXdp(fn, dev, flags));
  }

  /** Removes whatever XDP program is on the interface, whoever put it there. */
  static removeXdp(dev: string, flags = 0): void {
    removeXdp(dev, flags);
  }

  /**
   * Attaches to a cgroup (an open directory or its path), a socket map or a network namespace. It ends with the program.
   * `flags` of {@link CgroupAttachFlag}: with 0 no program may be attached to a cgroup below, and what another process
   * attached so is replaced; without flags both run, and the kernel detaches even if a signal kills this process.
   */
  static attachFunc(fn: BPFFunction, attachableFd: FuncTarget, attachType: number, flags?: number): void {
    requireLoaded(fn).own(attachFunc(fn, attachableFd, attachType, flags), `${attachType} ${attachableFd}`);
  }

  /** Detaches what {@link attachFunc} attached, or another process did. */
  static detachFunc(fn: BPFFunction, attachableFd: FuncTarget, attachType: number): void {
    requireFuncTarget(attachableFd);
    const own = requireLoaded(fn).detachOwn(`${attachType} ${attachableFd}`);
    if (!own) detachFunc(fn, attachableFd, attachType);
  }

  // Events

  get #rings(): RingManager {
    this.#requireOpen();
    return RingManager.of(this.#host);
  }

  get #perfBuffers(): PerfManager {
    this.#requireOpen();
    return PerfManager.of(this.#host);
  }

  /** Waits up to `timeout` milliseconds (-1: for ever) for ring buffers and runs their callbacks. */
  ringBufferPoll(timeout = -1): number {
    return this.#rings.poll(timeout);
  }

  /** Runs the callbacks for what is in the ring buffers now, whether or not the kernel has signalled it. */
  ringBufferConsume(): number {
    return this.#rings.consume();
  }

  /** Waits up to `timeout` milliseconds (-1: for ever) for perf buffers and runs their callbacks. */
  perfBufferPoll(timeout = -1): number {
    return this.#perfBuffers.poll(timeout);
  }

  /** Runs the callbacks for what is in the perf buffers now, whether or not the kernel has signalled it. */
  perfBufferConsume(): number {
    return this.#perfBuffers.consume();
  }

  /** BCC's older name for {@link perfBufferPoll}. */
  kprobePoll(timeout = -1): number {
    return this.perfBufferPoll(timeout);
  }

  // trace_pipe

  #tracePipe(): TracePipe {
    this.#requireOpen();
    this.#trace ??= new TracePipe(this.#host);
    return this.#trace;
  }

  /** Opens trace_pipe, where bpf_trace_printk writes: {@link TracePipe}. Every reader of a line takes it from the others. */
  traceOpen(options: TraceReadOptions = {}): TracePipe {
    return this.#tracePipe().open(options);
  }

  /** The next line of trace_pipe; with `nonblocking`, undefined where none is there. */
  traceReadline(options: TraceReadOptions = {}): string | undefined {
    return this.#tracePipe().readline(options);
  }

  /**
   * The next message of trace_pipe in its parts: task, pid, cpu, flags, seconds since boot, text. With `nonblocking`, six
   * times undefined where none is there.
   */
  traceFields(options?: { nonblocking?: false }): TraceFields;
  traceFields(options?: TraceReadOptions): TraceFields | NoTraceFields;
  traceFields(options: TraceReadOptions = {}): TraceFields | NoTraceFields {
    return this.#tracePipe().fields(options);
  }

  /**
   * Prints trace_pipe as it comes, until `close()` or the signal. `fmt` chooses among the fields as Python's format does:
   * {0} the task, {1} its pid, {2} the CPU, {3} the flags, {4} the time, {5} the message; in columns {1:>6}, {4:.3f}.
   */
  tracePrint(fmt?: string, options: TraceOptions = {}): Promise<void> {
    return this.#tracePipe().print(fmt, options);
  }

  /** The lines of trace_pipe as they come, without polling: `for await (const line of b.trace({ signal }))`. */
  trace(options: TraceOptions = {}): AsyncIterableIterator<string> {
    return this.#tracePipe().lines(options);
  }

  // Names, symbols, features

  /** What this kernel puts before a system call's name: `__x64_sys_`. */
  getSyscallPrefix(): string {
    return getSyscallPrefix();
  }

  /** The kernel's function for a system call: `__x64_sys_clone` for `clone`. */
  getSyscallFnname(name: string): string {
    return getSyscallFnname(requireName(name, 'name'));
  }

  /** A system call's function under another kernel's prefix (`sys_clone`) as this kernel names it; other names stay. */
  fixSyscallFnname(name: string): string {
    return fixSyscallFnname(requireName(name, 'name'));
  }

  static readonly getKprobeFunctions = getKprobeFunctions;
  static readonly getProbeLimit = getProbeLimit;
  static readonly getTracepoints = getTracepoints;
  static readonly tracepointExists = tracepointExists;
  static readonly findLibrary = findLibrary;
  static readonly findExe = findExe;
  static readonly getUserFunctions = getUserFunctions;
  static readonly getUserAddresses = getUserAddresses;
  static readonly getUserFunctionsAndAddresses = getUserFunctionsAndAddresses;
  static readonly supportKfunc = supportKfunc;
  static readonly supportLsm = supportLsm;
  static readonly supportFmodRet = supportFmodRet;
  static readonly supportRawTracepoint = supportRawTracepoint;
  static readonly supportRawTracepointInModule = supportRawTracepointInModule;
  static readonly kernelStructHasField = kernelStructHasField;
  static readonly kernelEnumHasVal = kernelEnumHasVal;
  static readonly features = features;
  static readonly sym = sym;
  static readonly ksym = ksym;
  static readonly ksymname = ksymname;
  static readonly addPrefix = addPrefix;
  static readonly generateAutoIncludes = generateAutoIncludes;

  /** Makes an executable's or library's symbols known to stacks with build ids; false where it has no build id. */
  static addModule(modname: string): boolean {
    return buildSymbols.addModule(modname);
  }

  /** CLOCK_MONOTONIC in nanoseconds: what bpf_ktime_get_ns gives. */
  static monotonicTime(): bigint {
    return process.hrtime.bigint();
  }

  /** Keeps a table, a function or any BPF descriptor beyond this process, at a path on bpffs; `unlink` ends that. */
  static pin(object: Parameters<typeof pin>[0], where: string): void {
    pin(object, where);
  }

  /** In Python this frees LLVM's memory after loading. Here that memory is never this process's: nothing is left to free. */
  freeBccMemory(): number {
    this.#requireOpen();
    return 0;
  }

  /**
   * Counts every BPF program's runs (runCount, runTimeNs) until the result is disposed of (Linux 5.8, CAP_SYS_ADMIN).
   * @throws UnsupportedError `ERR_BCC_STATS`
   */
  static enableStats(): Disposable {
    let stats: NativeFd;
    try {
      stats = runtime().enableStats();
    } catch (cause) {
      if (!isNativeError(cause)) throw cause;
      throw new UnsupportedError(`the kernel keeps no statistics of programs for this process: ${cause.message}`, {
        code: 'ERR_BCC_STATS',
        errno: cause.errno,
        cause,
        hint: privilegeHint(cause.errno, 'CAP_SYS_ADMIN') ?? 'Linux 5.8 and newer have them',
      });
    }
    return { [Symbol.dispose]: () => stats.close() };
  }

  // USDT and autoload

  #attachUsdt(usdt: USDT, ignorePid: boolean): void {
    for (const plan of planUsdt(usdt, { ignorePid })) {
      this.#module.compiled(plan.fnName);
      this.#addUprobes(plan.fnName, plan, plan.label);
    }
  }

  #autoload(): void {
    for (const fnName of this.functions) {
      const found = autoloadTarget(fnName);
      if (!found) continue;
      const { kind, target } = found;
      if (kind === 'kprobe') this.attachKprobe({ event: fixSyscallFnname(target), fnName });
      else if (kind === 'kretprobe') this.attachKretprobe({ event: fixSyscallFnname(target), fnName });
      else if (kind === 'tracepoint') this.attachTracepoint({ tp: target, fnName });
      else if (kind === 'raw_tracepoint') this.attachRawTracepoint({ tp: target, fnName });
      else this.#attachTrampoline(kind, fnName);
    }
  }

  // Closing

  /**
   * Detaches everything, latest first, ends every stream, and gives programs and maps back to the kernel. Harmless when
   * repeated. What was pinned stays.
   */
  close(): void {
    if (this.#module.closed) return;
    collected.unregister(this);
    this.#tables.clear();
    this.#trace?.close();
    // Hooks first, so that nothing runs any more; then readers; then programs and maps.
    releaseAll([() => this.#registry.close(), () => this.#host.close(), () => release(this.#parts)]);
  }

  /** BCC's name for {@link close}. */
  cleanup(): void {
    this.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Names and links: what JSON.stringify can show of it. */
  toJSON(): {
    closed: boolean;
    tables: string[];
    functions: string[];
    links: Pick<Link, 'kind' | 'target' | 'fnName'>[];
  } {
    return {
      closed: this.closed,
      tables: Object.keys(this.tables),
      functions: this.functions,
      links: this.links.map(({ kind, target, fnName }) => ({ kind, target, fnName })),
    };
  }

  [inspect.custom](_depth: number, options: { stylize(text: string, style: string): string }): string {
    if (this.closed) return `${options.stylize('BCC', 'special')} (closed)`;
    const list = (names: string[]) => (names.length > 0 ? names.join(', ') : 'none');
    const links = this.links.map((link) => `\n    ${inspect(link, { colors: false })}`).join('');
    return [
      options.stylize('BCC', 'special'),
      `  tables:    ${list(Object.keys(this.tables))}`,
      `  functions: ${list(this.functions)}`,
      `  links:     ${links || 'none'}`,
    ].join('\n');
  }
}

for (const name of ON_OBJECTS) {
  Object.defineProperty(BCC.prototype, name, { value: BCC[name], writable: true, configurable: true });
}

interface Parts {
  module: ProgramModule;
  registry: LinkRegistry;
}

/** What is open in this thread. */
const open = new Set<Parts>();

/**
 * Most attachments end with their descriptors, and so with the process. Tracefs events, and XDP, tc and cgroup programs
 * that could not be attached by links, do not: they are undone when the process ends by itself, by exit() or by an
 * exception. No signal's meaning is changed: a process that a signal kills leaves those few behind.
 */
function keepUntilExit(parts: Parts): void {
  if (open.size === 0) process.on('exit', releaseOpen);
  open.add(parts);
}

function releaseOpen(): void {
  releaseAll([...open].reverse().map((parts) => () => release(parts)));
}

function release(parts: Parts): void {
  open.delete(parts);
  if (open.size === 0) process.off('exit', releaseOpen);
  releaseAll([() => parts.registry.close(), () => parts.module.close()]);
}

/**
 * What a BCC object attached must not outlive it: it is closed where nobody holds it any more, nor a table or stream of
 * it. Those hold its host, which is what is watched.
 */
const collected = new FinalizationRegistry<Parts>(release);

/** What the tables and streams of one BCC object share. Nothing that is released with it may hold it. */
class ProgramHost implements TableHost {
  readonly #module: ProgramModule;
  readonly #releases = new Set<() => void>();
  readonly #shared = new Map<string, unknown>();

  constructor(module: ProgramModule) {
    this.#module = module;
  }

  get closed(): boolean {
    return this.#module.closed;
  }

  onClose(release: () => void): () => void {
    this.#releases.add(release);
    return () => {
      this.#releases.delete(release);
    };
  }

  programFd(fnName: string, progType: number = BPFProgType.KPROBE): number {
    // A function that is loaded already says itself what type a tail call needs.
    const loaded = this.#module.loaded.find(({ name, fd }) => name === fnName && fd >= 0);
    return (loaded ?? this.#module.load(fnName, progType)).fd;
  }

  shared<T>(key: string, make: () => T): T {
    if (!this.#shared.has(key)) this.#shared.set(key, make());
    return this.#shared.get(key) as T;
  }

  close(): void {
    const releases = [...this.#releases].reverse();
    this.#releases.clear();
    releaseAll(releases);
  }
}

const OPTION_NAMES = new Set([
  'text',
  'srcFile',
  'hdrFile',
  'program',
  'debug',
  'cflags',
  'usdtContexts',
  'allowRlimit',
  'device',
  'attachUsdtIgnorePid',
  'int64',
  'headers',
  'kernel',
  'cache',
  'countLost',
]);

const KPROBE_OPTIONS = ['event', 'eventOff', 'fnName', 'eventRe', 'maxactive'];
const UPROBE_OPTIONS = ['name', 'sym', 'symRe', 'addr', 'fnName', 'pid', 'symOff'];
const PERF_EVENT_OPTIONS = ['evType', 'evConfig', 'fnName', 'samplePeriod', 'sampleFreq', 'pid', 'cpu', 'groupFd'];
const TC_OPTIONS = ['fn', 'dev', 'direction', 'priority', 'handle', 'replace'];
const ITERATOR_OPTIONS = ['fnName', 'mapFd', 'tid', 'pid', 'cgroupFd', 'order'];
const TABLE_OPTIONS = ['keyType', 'leafType', 'reducer'];

/** `attachKretprobe` for 'kretprobe'. */
function callOf(kind: KprobeKind | UprobeKind): string {
  return `attach${kind[0]!.toUpperCase()}${kind.slice(1)}`;
}

/** What `load` has obtained for the constructor, by the very object of options that it hands on. */
const obtainedFor = new WeakMap<BCCOptions, Obtained>();

/** The options of `(text, options)` and of `(options)` in one object; the second form's own, where no more are given. */
function gatherOptions<T extends BCCOptions>(source: string | T, more: Omit<T, 'text'> | undefined): T {
  if (typeof source !== 'string' && (typeof source !== 'object' || source === null)) {
    throw new TypeError(`expected the program's C text or an object of options, not ${inspect(source)}`);
  }
  const options = typeof source === 'string' ? ({ text: source } as T) : source;
  if (more === undefined) return options;
  if (typeof more !== 'object' || more === null) {
    throw new TypeError(`options must be an object, not ${inspect(more)}`);
  }
  for (const name in more) {
    if (name in options) throw new TypeError(`the option ${name} is given twice`);
  }
  return { ...options, ...more };
}

function checkOptions(options: BCCOptions): void {
  for (const name of Object.keys(options)) {
    if (OPTION_NAMES.has(name)) continue;
    throw new TypeError(
      `unknown option ${JSON.stringify(name)}: ${didYouMean(name, OPTION_NAMES) ?? [...OPTION_NAMES].join(', ')}`,
    );
  }
  const { text, srcFile, program, cflags, usdtContexts, int64, debug } = options;
  if (text !== undefined && srcFile !== undefined) throw new TypeError('give text or srcFile, not both');
  if (text === undefined && srcFile === undefined && program === undefined) {
    throw new TypeError('give the program: text, srcFile or program');
  }
  if (text !== undefined && typeof text !== 'string')
    throw new TypeError(`text must be a string, not ${inspect(text)}`);
  if (cflags !== undefined && !(Array.isArray(cflags) && cflags.every((flag) => typeof flag === 'string'))) {
    throw new TypeError(`cflags must be an array of strings, not ${inspect(cflags)}`);
  }
  if (
    usdtContexts !== undefined &&
    !(Array.isArray(usdtContexts) && usdtContexts.every((one) => one instanceof USDT))
  ) {
    throw new TypeError(`usdtContexts must be an array of USDT objects, not ${inspect(usdtContexts, { depth: 1 })}`);
  }
  if (program !== undefined) requireName(program, 'program');
  if (int64 !== undefined && int64 !== 'bigint' && int64 !== 'number') {
    throw new TypeError(`int64 must be 'bigint' or 'number', not ${inspect(int64)}`);
  }
  if (debug !== undefined && !Number.isInteger(debug))
    throw new TypeError(`debug must be flags of Debug, not ${inspect(debug)}`);
}

/** Looks where Python's BCC looks: as given, then beside the running script. */
function readSource(name: string, option: string): { text: string; file: string; folder: string } {
  const beside = process.argv[1] === undefined ? [] : [path.join(path.dirname(process.argv[1]), name)];
  for (const file of [name, ...beside]) {
    try {
      return { text: programText(readFileSync(file, 'utf8')), file, folder: path.dirname(path.resolve(file)) };
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') {
        throw new BCCError('ERR_BCC_SOURCE_FILE', `${option} ${file} cannot be read: ${(cause as Error).message}`, {
          cause,
        });
      }
    }
  }
  throw new BCCError('ERR_BCC_SOURCE_FILE', `${option} ${name} does not exist`, {
    errno: 2,
    hint: `it was looked for in ${process.cwd()}${beside[0] ? ` and in ${path.dirname(beside[0])}` : ''}`,
  });
}

function requestOf(options: BCCOptions): CompileRequest {
  const { text, srcFile, hdrFile, usdtContexts = [] } = options;
  const source =
    text === undefined
      ? readSource(srcFile!, 'srcFile')
      : { text: programText(text), file: undefined, folder: undefined };
  const header = hdrFile === undefined ? undefined : readSource(hdrFile, 'hdrFile');
  const folders = [source, header].flatMap((file) =>
    file?.folder !== undefined && includes(file.text).some(({ angled }) => !angled) ? [`-I${file.folder}`] : [],
  );
  return {
    text: source.text,
    file: source.file,
    prelude: (header ? `${header.text}\n` : '') + usdtText(usdtContexts),
    header: header && { file: header.file, lines: header.text.split('\n').length },
    cflags: absoluteFlags([...(options.cflags ?? []), ...folders], process.cwd()),
    debug: options.debug ?? 0,
    allowRlimit: options.allowRlimit ?? true,
    device: options.device,
    headers: options.headers,
    kernel: options.kernel,
    countLost: options.countLost ?? false,
  };
}

/** The compiled file that the options name; undefined where they name none, or text for when it cannot be used here. */
function fromFile({ program, text, srcFile }: BCCOptions): Obtained | undefined {
  if (program === undefined) return undefined;
  try {
    return { program: readProgramFile(program), source: 'file' };
  } catch (error) {
    if (text === undefined && srcFile === undefined) throw error;
    return undefined;
  }
}

function obtain(options: BCCOptions): Obtained {
  return fromFile(options) ?? obtainProgramSync(requestOf(options), options.cache ?? true);
}

function logLevelOf(debug: number): number {
  if ((debug & Debug.BPF_REGISTER_STATE) !== 0) return 2;
  return (debug & Debug.BPF) !== 0 ? 1 : 0;
}

function isLink(attachment: Detachable): attachment is Link {
  return attachment instanceof OwnedLink;
}

function isGiven(pattern: string | RegExp | undefined): pattern is string | RegExp {
  return pattern !== undefined && pattern !== '';
}

function requireLoaded(fn: BPFFunction): BPFFunction {
  if (!(fn instanceof BPFFunction)) {
    throw new TypeError(`fn must be a function that loadFunc gave, not ${inspect(fn, { depth: 0 })}`);
  }
  return fn;
}

function withPrefix(kind: string, fnName: string): string {
  return addPrefix(`${kind}__`, fnName);
}

function kprobeNameOf(symbol: string, kind: string): string {
  return kprobeEventName(kind as KprobeKind, symbol);
}

function perfEventKey(type: number, config: number | bigint): string {
  return `${type}:${config}`;
}
