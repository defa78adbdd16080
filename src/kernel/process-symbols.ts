import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { type NativeFd, runtime } from '../native';
import { ElfFile } from './elf';
import {
  type ProcessMapping,
  parseMappings,
  pathInProcess,
  pidInNamespace,
  processMappings,
  processStart,
  sharesFileSystem,
} from './processes';
import { SymbolTable, symbolColumns, symbolTable } from './symbol-table';

/** What an address of a process is. */
export interface ProcessSymbol {
  /** As the linker knows it (mangled); undefined where no function holds the address. */
  name: string | undefined;
  /** From the start of the function; without one from the start of the module; without that the address itself. */
  offset: bigint;
  /** The mapped file as the process sees it, or a perf map; undefined where nothing is mapped. */
  module: string | undefined;
}

const O_PATH = 0o10000000;

/** How long what was read of a process is trusted. */
const RECHECK_MS = 50;

interface Module {
  table: SymbolTable | undefined;
  /** What the virtual address of code is more than its offset in the file, at some offset. */
  biasAt(offset: bigint, size: bigint): bigint;
}

/** A mapping with what is known of its file. */
interface Loaded {
  mapping: ProcessMapping;
  module: Module;
  /** From an address in the process to the virtual address that symbols have. */
  bias: bigint;
}

/**
 * Symbols of one process: of the files it has mapped, with their debug files, of the vDSO, and of the
 * `/tmp/perf-PID.map` file in which runtimes that compile at run time (Node, the JVM, .NET) tell what they compiled.
 *
 * It follows the process: a library that is loaded later and code that is compiled later are found when they are first
 * asked for. What has been read stays usable when the process has ended.
 */
export class ProcessSymbols {
  readonly pid: number;
  readonly #start: string | undefined;
  #mappings: ProcessMapping[] = [];
  #mappingsText: string | undefined;
  #executable: string;
  /** When the process was last looked at, and when its mappings were last read. */
  #checked: number;
  #read: number;
  readonly #modules = new Map<string, Module>();
  readonly #loaded = new Map<ProcessMapping, Loaded>();
  /** The mapping that was looked up last: the next address is often in it too. */
  #latest: ProcessMapping | undefined;
  readonly #sharesFiles: boolean;
  /** Keeps the process's root reachable when the process has ended. */
  readonly #root: NativeFd | undefined;
  #perfMap: PerfMap | undefined;

  /** @throws BCCError `ERR_BCC_PROCESS` where there is no such process. */
  constructor(pid: number) {
    this.pid = pid;
    this.#mappings = executable(processMappings(pid));
    this.#start = processStart(pid);
    this.#sharesFiles = sharesFileSystem(pid);
    if (!this.#sharesFiles) this.#root = openRoot(pid);
    this.#perfMap = PerfMap.of(pid);
    this.#executable = identityOf(`/proc/${pid}/exe`);
    this.#checked = this.#read = performance.now();
  }

  /** Whether `pid` is still the process that this was made for. */
  get current(): boolean {
    return processStart(this.pid) === this.#start;
  }

  resolve(address: bigint): ProcessSymbol {
    const now = performance.now();
    if (now - this.#checked >= RECHECK_MS) this.#follow(now);
    const known = this.#resolveKnown(address);
    if (known.name !== undefined || now - this.#read < RECHECK_MS) return known;
    return this.#reread() ? this.#resolveKnown(address) : known;
  }

  /**
   * The address of a function in this process. `module` is a path as the process sees it, or its last part; undefined
   * where the process has no such module or the module no such function.
   */
  address(module: string, name: string): bigint | undefined {
    const wanted = (mapping: ProcessMapping) =>
      mapping.path === module || mapping.path.slice(mapping.path.lastIndexOf('/') + 1) === module;
    if (!this.#mappings.some(wanted)) this.#reread();
    for (const mapping of this.#mappings.filter(wanted)) {
      const { module, bias } = this.#load(mapping);
      const address = module.table?.address(name);
      if (address === undefined) continue;
      // A file may be mapped in several pieces: it is the piece that holds the function which tells where that is.
      const global = address - bias;
      if (global >= mapping.start && global < mapping.end) return global;
    }
    return undefined;
  }

  /** Forgets what is known of the process and reads it anew. */
  refresh(): void {
    this.#mappingsText = undefined;
    this.#perfMap?.forget();
    this.#modules.clear();
    this.#setMappings(this.#mappings);
    this.#reread();
  }

  close(): void {
    this.#modules.clear();
    this.#setMappings([]);
    this.#perfMap = undefined;
    this.#root?.close();
  }

  #resolveKnown(address: bigint): ProcessSymbol {
    const mapping = this.#mappingOf(address);
    const loaded = mapping && isBacked(mapping) ? this.#load(mapping) : undefined;
    const inModule = loaded && address + loaded.bias;
    const symbol = inModule === undefined ? undefined : loaded!.module.table?.find(inModule);
    if (symbol) return { name: symbol.name, offset: symbol.offset, module: mapping!.path };
    const compiled = this.#perfMap?.find(address);
    if (compiled) return { ...compiled, module: this.#perfMap!.path };
    return inModule === undefined
      ? { name: undefined, offset: address, module: undefined }
      : { name: undefined, offset: inModule, module: mapping!.path };
  }

  #mappingOf(address: bigint): ProcessMapping | undefined {
    const latest = this.#latest;
    if (latest && address >= latest.start && address < latest.end) return latest;
    let from = 0;
    let to = this.#mappings.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (this.#mappings[middle]!.start <= address) from = middle + 1;
      else to = middle;
    }
    const mapping = this.#mappings[from - 1];
    if (!mapping || address >= mapping.end) return undefined;
    this.#latest = mapping;
    return mapping;
  }

  #setMappings(mappings: ProcessMapping[]): void {
    this.#mappings = mappings;
    this.#loaded.clear();
    this.#latest = undefined;
  }

  /** What makes known addresses wrong: another program in the same process (exec), code compiled over older code. */
  #follow(now: number): void {
    this.#checked = now;
    const executable = identityOf(`/proc/${this.pid}/exe`);
    if (executable !== '' && executable !== this.#executable && this.current) {
      this.#executable = executable;
      this.refresh();
    } else {
      this.#perfMap?.refresh();
    }
  }

  /** Whether anything has changed since it was last read. */
  #reread(): boolean {
    this.#read = performance.now();
    let changed = false;
    if (this.current) {
      try {
        const text = readFileSync(`/proc/${this.pid}/maps`, 'utf8');
        if (text !== this.#mappingsText) {
          this.#mappingsText = text;
          this.#setMappings(executable(parseMappings(text)));
          changed = true;
        }
      } catch {
        // It ended meanwhile: what is known stays.
      }
    }
    this.#perfMap ??= PerfMap.of(this.pid);
    return (this.#perfMap?.refresh() ?? false) || changed;
  }

  #load(mapping: ProcessMapping): Loaded {
    let loaded = this.#loaded.get(mapping);
    if (!loaded) {
      const key = `${mapping.inode}:${mapping.path}`;
      const module =
        this.#modules.get(key) ?? (mapping.path === '[vdso]' ? vdso() : readModule(this.#readablePath(mapping)));
      this.#modules.set(key, module);
      const bias = module.biasAt(mapping.offset, mapping.end - mapping.start) + mapping.offset - mapping.start;
      loaded = { mapping, module, bias };
      this.#loaded.set(mapping, loaded);
    }
    return loaded;
  }

  #readablePath(mapping: ProcessMapping): string {
    if (mapping.deleted || mapping.path.startsWith('/memfd:')) {
      return `/proc/${this.pid}/map_files/${mapping.start.toString(16)}-${mapping.end.toString(16)}`;
    }
    if (this.#sharesFiles) return mapping.path;
    return this.#root ? `/proc/self/fd/${this.#root.fd}${mapping.path}` : pathInProcess(this.pid, mapping.path);
  }
}

function executable(mappings: ProcessMapping[]): ProcessMapping[] {
  return mappings.filter((mapping) => mapping.executable);
}

/** Whether a file (or the vDSO) stands behind a mapping: other executable memory belongs to a run-time compiler. */
function isBacked(mapping: ProcessMapping): boolean {
  if (mapping.path === '[vdso]') return true;
  return mapping.inode !== 0 && mapping.path.startsWith('/') && !mapping.path.startsWith('/dev/zero');
}

function openRoot(pid: number): NativeFd | undefined {
  try {
    return new (runtime().Fd)(openSync(`/proc/${pid}/root`, O_PATH));
  } catch {
    return undefined;
  }
}

function readModule(path: string): Module {
  try {
    const { segments } = ElfFile.with(path, (file) => ({ segments: file.codeSegments() }));
    return {
      table: symbolTable(path),
      biasAt: (offset, size) => {
        const found = segments.find((one) => one.offset < offset + size && offset < one.offset + one.fileSize);
        return found ? found.address - found.offset : 0n;
      },
    };
  } catch {
    return { table: undefined, biasAt: () => 0n };
  }
}

let vdsoModule: Module | undefined;

/** The vDSO is one and the same for all processes of an architecture: it is read from this process's own memory. */
function vdso(): Module {
  vdsoModule ??= readVdso();
  return vdsoModule;
}

function readVdso(): Module {
  const mapping = processMappings(process.pid).find(({ path }) => path === '[vdso]');
  const image = Buffer.alloc(mapping ? Number(mapping.end - mapping.start) : 0);
  if (mapping) {
    const fd = openSync('/proc/self/mem', 'r');
    try {
      readSync(fd, image, 0, image.length, mapping.start);
    } finally {
      closeSync(fd);
    }
  }
  return {
    table: mapping
      ? ElfFile.withImage('[vdso]', image, (file) => new SymbolTable(symbolColumns(file.functions())))
      : undefined,
    biasAt: () => 0n,
  };
}

/** What a runtime wrote of the code it compiles: one line each of start, length (hexadecimal) and name. It grows. */
class PerfMap {
  readonly path: string;
  readonly #readable: string;
  #table: SymbolTable | undefined;
  #version = '';

  private constructor(path: string, readable: string) {
    this.path = path;
    this.#readable = readable;
  }

  /** The one that the process writes itself, in its own file system, or one that another wrote for it in this one. */
  static of(pid: number): PerfMap | undefined {
    const own = `/tmp/perf-${pidInNamespace(pid)}.map`;
    const candidates = [
      [own, pathInProcess(pid, own)],
      [`/tmp/perf-${pid}.map`, `/tmp/perf-${pid}.map`],
    ] as const;
    const found = candidates.find(([, readable]) => identityOf(readable) !== '');
    return found && new PerfMap(found[0], found[1]);
  }

  find(address: bigint) {
    if (this.#version === '') this.refresh();
    return this.#table?.find(address);
  }

  /** Reads the file again where it has changed; whether it has. */
  refresh(): boolean {
    const version = identityOf(this.#readable);
    if (version === '' || version === this.#version) return false;
    try {
      this.#table = new SymbolTable(symbolColumns(parsePerfMap(readFileSync(this.#readable, 'utf8'))));
      this.#version = version;
      return true;
    } catch {
      return false;
    }
  }

  forget(): void {
    this.#version = '';
  }
}

/** Which file it is, in which state; '' where there is none. */
function identityOf(path: string): string {
  try {
    const { dev, ino, size, mtimeMs } = statSync(path);
    return `${dev}:${ino}:${size}:${mtimeMs}`;
  } catch {
    return '';
  }
}

const PERF_MAP_LINE = /^(?:0x)?([0-9a-f]+) +(?:0x)?([0-9a-f]+) +(.+)$/gim;

/** Memory is used again for other code: of two lines for one address the later holds. */
export function parsePerfMap(text: string): { name: string; address: bigint; size: bigint }[] {
  const symbols = new Map<string, { name: string; address: bigint; size: bigint }>();
  for (const [, start, size, name] of text.matchAll(PERF_MAP_LINE)) {
    symbols.set(start!, { name: name!, address: BigInt(`0x${start}`), size: BigInt(`0x${size}`) });
  }
  return [...symbols.values()];
}
