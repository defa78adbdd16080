import { basename } from 'node:path';
import { type InspectOptionsStylized, inspect } from 'node:util';
import { knownOptions, requireText } from './arguments';
import { BCCError, ClosedError } from './errors';
import { ElfFile } from './kernel/elf';
import { kernelSymbols } from './kernel/kallsyms';
import { ProcessSymbols } from './kernel/process-symbols';
import { requireProcess } from './kernel/processes';
import { type SymbolTable, symbolTable } from './kernel/symbol-table';
import { runtime } from './native';

/** What an address is. */
export interface ResolvedSymbol {
  /** The function; undefined where none holds the address. */
  name: string | undefined;
  /**
   * How far into the function the address is. Without a function: how far into the module; without a module: the address
   * itself.
   */
  offset: bigint;
  /** `kernel`, a kernel module's name, the path of the mapped file, or that of a perf map; undefined where there is none. */
  module: string | undefined;
}

/** How an address of the kernel is written. */
export interface SymbolTextOptions {
  /** Appends ` [module]`, the last part of its path. */
  showModule?: boolean;
  /** Appends `+0x12`. */
  showOffset?: boolean;
}

/** How an address of a process is written. */
export interface UserSymbolTextOptions extends SymbolTextOptions {
  /** C++ names as a person writes them; true where it is not given. */
  demangle?: boolean;
}

/** `demangle` changes nothing of the kernel's, and `sym` of a pid below 0 is `ksym`. */
const SYMBOL_TEXT_OPTIONS = ['showModule', 'showOffset', 'demangle'];

/** One frame of a stack that was recorded with build ids (`BPF_F_STACK_BUILD_ID`). */
export type BuildIdFrame =
  | {
      /** 40 hexadecimal digits. */
      buildId: string;
      /** Where in the file the instruction is. */
      offset: bigint;
    }
  | {
      /** The instruction's address, where the kernel could not tell the file. */
      ip: bigint;
    };

/**
 * Addresses to functions and back, of one process or of the kernel.
 *
 * A process is followed while it runs (libraries loaded later, code compiled later by Node or a JVM that writes a
 * `/tmp/perf-PID.map` file); what has been read stays usable when it has ended.
 */
export class SymbolCache {
  /** -1 is the kernel. */
  readonly pid: number;
  #process: ProcessSymbols | undefined;
  #closed = false;

  /**
   * @param pid a process id; -1 for the kernel.
   * @throws BCCError `ERR_BCC_PROCESS` (ESRCH) where there is no such process, `ERR_BCC_KALLSYMS` where the kernel's
   * symbols cannot be read.
   */
  constructor(pid: number) {
    if (!Number.isInteger(pid)) throw new TypeError(`pid must be an integer, not ${inspect(pid)}`);
    this.pid = pid < 0 ? -1 : pid;
    if (this.pid >= 0) {
      requireProcess(pid);
      this.#process = new ProcessSymbols(pid);
    }
  }

  /** The function that holds an address. Never throws for an address that nothing is known of. */
  resolve(address: bigint | number, options: { demangle?: boolean } = {}): ResolvedSymbol {
    this.#refuseClosed();
    const wanted = toAddress(address);
    if (!this.#process) {
      return kernelSymbols().resolve(wanted) ?? { name: undefined, offset: wanted, module: undefined };
    }
    const symbol = this.#process.resolve(wanted);
    if (options.demangle !== false) symbol.name = demangled(symbol.name);
    return symbol;
  }

  /**
   * The address of a function by its linker name, -1n where there is none. `module` is the path of a mapped file, or its
   * last part; for the kernel it is not looked at.
   */
  resolveName(module: string | null | undefined, name: string): bigint {
    this.#refuseClosed();
    if (!this.#process) return kernelSymbols().address(name) ?? -1n;
    return this.#process.address(module ?? '', name) ?? -1n;
  }

  /** Forgets what is known and reads it again. */
  refresh(): void {
    this.#refuseClosed();
    if (this.#process) this.#process.refresh();
    else kernelSymbols({ refresh: true });
  }

  /** Whether the number still belongs to the process that this was made for. */
  get current(): boolean {
    return this.#process?.current ?? true;
  }

  /** Releases what is held of the process. Harmless when repeated. */
  close(): void {
    this.#closed = true;
    this.#process?.close();
    this.#process = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  [inspect.custom](_depth: number, options: InspectOptionsStylized): string {
    const whose = this.pid < 0 ? 'the kernel' : `pid ${this.pid}`;
    return `${options.stylize('SymbolCache', 'special')} of ${whose}${this.#closed ? ' (closed)' : ''}`;
  }

  #refuseClosed(): void {
    if (this.#closed) throw new ClosedError('the symbol cache');
  }
}

/** Functions by build id: for stacks whose processes have long ended. Files are made known with `addModule`. */
export class BuildSymbolCache {
  readonly #modules = new Map<string, { path: string; toAddress(offset: bigint): bigint; table?: SymbolTable }>();

  /**
   * Makes an executable or a shared library known; false where the linker gave it no build id.
   *
   * @throws BCCError where the file cannot be read or is no ELF.
   */
  addModule(path: string): boolean {
    requireText(path, 'the path of a module');
    return ElfFile.with(path, (file) => {
      const buildId = file.buildId();
      if (buildId === undefined) return false;
      this.#modules.set(buildId, { path, toAddress: (offset) => file.offsetToAddress(offset) ?? offset });
      return true;
    });
  }

  /**
   * What is at an offset in the file with that build id (bytes or hexadecimal digits). undefined where no such module has
   * been added; `name` is undefined where the module has no function there.
   */
  resolve(
    buildId: Uint8Array | string,
    offset: bigint,
    options: { demangle?: boolean } = {},
  ): ResolvedSymbol | undefined {
    const key = typeof buildId === 'string' ? buildId.toLowerCase() : Buffer.from(buildId).toString('hex');
    const module = this.#modules.get(key);
    if (!module) return undefined;
    module.table ??= symbolTable(module.path);
    const address = module.toAddress(offset);
    const symbol = module.table?.find(address);
    if (!symbol) return { name: undefined, offset: address, module: module.path };
    const name = options.demangle === false ? symbol.name : demangled(symbol.name);
    return { name, offset: symbol.offset, module: module.path };
  }
}

/** The modules added with `BCC.addModule`, for the whole process. */
export const buildSymbols = new BuildSymbolCache();

const MAX_CACHES = 256;
const caches = new Map<number, SymbolCache>();

/**
 * The cache of a process (pid < 0: of the kernel) that `sym` uses, made at the first call and renewed where the number
 * belongs to another process by now.
 *
 * @throws as `new SymbolCache(pid)`.
 */
export function symbolCache(pid: number): SymbolCache {
  const key = pid < 0 ? -1 : pid;
  const known = caches.get(key);
  if (known && isFresh(known)) return known;
  // A process that has ended keeps its cache: profiles are printed afterwards. One that has taken its number does not.
  const cache = new SymbolCache(key);
  caches.delete(key);
  caches.set(key, cache);
  freshness.set(cache, performance.now());
  if (caches.size > MAX_CACHES) caches.delete(caches.keys().next().value!);
  return cache;
}

const REUSE_CHECK_MS = 1000;
const freshness = new WeakMap<SymbolCache, number>();

function isFresh(cache: SymbolCache): boolean {
  const now = performance.now();
  if (cache.pid < 0 || now - (freshness.get(cache) ?? 0) < REUSE_CHECK_MS) return true;
  freshness.set(cache, now);
  return cache.current || !isRunning(cache.pid);
}

function isRunning(pid: number): boolean {
  try {
    requireProcess(pid);
    return true;
  } catch {
    return false;
  }
}

/**
 * A user address as text: `start_thread`, with `showOffset` `start_thread+0x202`, with `showModule` besides
 * `start_thread+0x202 [libc.so.6]`. `[unknown]` stands for what has no name. A pid below 0 means the kernel. Instead of
 * an address, a frame with a build id is looked up among the modules added with `BCC.addModule`.
 */
export function sym(address: bigint | number | BuildIdFrame, pid: number, options: UserSymbolTextOptions = {}): string {
  knownOptions('sym', options, SYMBOL_TEXT_OPTIONS);
  if (typeof address === 'object' && address !== null) {
    if ('ip' in address) return sym(address.ip, pid, options);
    const unknown = { name: undefined, offset: address.offset, module: undefined };
    return symbolText(buildSymbols.resolve(address.buildId, address.offset, options) ?? unknown, options);
  }
  if (!Number.isInteger(pid)) throw new TypeError(`pid must be an integer, not ${inspect(pid)}`);
  if (pid < 0) return ksym(address, options);
  let cache: SymbolCache;
  try {
    cache = symbolCache(pid);
  } catch (error) {
    // Short-lived processes end before their stacks are read: a report must not end with them.
    if (error instanceof BCCError && error.code === 'ERR_BCC_PROCESS') return '[unknown]';
    throw error;
  }
  return symbolText(cache.resolve(address, options), options);
}

/**
 * A kernel address as text: `do_nanosleep`, with `showOffset` `do_nanosleep+0x5d`, with `showModule` besides
 * `do_nanosleep+0x5d [kernel]`. `[unknown]` where the address is below the kernel's code.
 *
 * @throws BCCError `ERR_BCC_KALLSYMS` where the kernel hides its addresses from this process.
 */
export function ksym(address: bigint | number, options: SymbolTextOptions = {}): string {
  const wanted = typeof address === 'bigint' ? address : toAddress(address);
  const { showModule, showOffset } = knownOptions('ksym', options, SYMBOL_TEXT_OPTIONS);
  return kernelSymbols().textAt(wanted, showModule, showOffset) ?? '[unknown]';
}

/**
 * The address of a kernel function, -1n where the kernel has none of that name.
 *
 * @throws BCCError `ERR_BCC_KALLSYMS` where the kernel hides its addresses from this process.
 */
export function ksymname(name: string): bigint {
  requireText(name, 'name');
  return kernelSymbols().address(name) ?? -1n;
}

/** A resolved symbol as `sym` writes it. */
export function symbolText(symbol: ResolvedSymbol, options: SymbolTextOptions = {}): string {
  const offset = options.showOffset && symbol.name !== undefined ? `+0x${symbol.offset.toString(16)}` : '';
  const module = options.showModule && symbol.module !== undefined ? ` [${basename(symbol.module)}]` : '';
  return `${symbol.name ?? '[unknown]'}${offset}${module}`;
}

const MAX_DEMANGLED = 10_000;
const demangledNames = new Map<string, string>();

function demangled(name: string | undefined): string | undefined {
  if (name === undefined || !(name.startsWith('_Z') || name.startsWith('___Z'))) return name;
  let text = demangledNames.get(name);
  if (text === undefined) {
    text = runtime().demangle(name);
    if (demangledNames.size >= MAX_DEMANGLED) demangledNames.clear();
    demangledNames.set(name, text);
  }
  return text;
}

function toAddress(address: bigint | number): bigint {
  if (typeof address === 'bigint') return BigInt.asUintN(64, address);
  if (Number.isSafeInteger(address) && address >= 0) return BigInt(address);
  throw new RangeError(
    `an address must be a bigint or a non-negative safe integer, not ${inspect(address)}: kernel addresses need a bigint`,
  );
}
