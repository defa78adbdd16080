import { statSync } from 'node:fs';
import { constants } from 'node:os';
import { type InspectOptionsStylized, inspect } from 'node:util';
import { knownOptions } from './arguments';
import { BCCError, ClosedError, didYouMean } from './errors';
import { resolveBinary } from './kernel/binaries';
import { ElfFile } from './kernel/elf';
import { noSuchProcess, pathInProcess, processExists, processMappings, requireProcess } from './kernel/processes';
import { symbolAddress } from './kernel/symbol-table';
import {
  type OperandSite,
  operandReader,
  operandText,
  operandType,
  parseUsdtArguments,
  type UsdtOperand,
} from './kernel/usdt-arguments';

/*
 * USDT probes: places that a program's author marked with <sys/sdt.h>. They are found in the notes of ELF files, and the
 * readers of their arguments are C text that a BPF program is compiled with. All of it is ours: libbcc's own reader
 * writes what it does not understand to stderr, needs a pid where a probe has a semaphore, and puts a semaphore up by
 * writing into the process, which stays up when the tracer is killed.
 *
 * Codes of errors: ERR_BCC_USDT_PROBE (no such probe, or several), ERR_BCC_USDT_ENABLED (the function is on the probe
 * already), ERR_BCC_USDT_ARGUMENTS (argument readers cannot be generated), ERR_BCC_PROCESS, ERR_BCC_FILE,
 * ERR_BCC_NOT_ELF, ERR_BCC_LIBRARY.
 */

/** Whose probes: of a process, of a file, or of a file in a process. */
export interface USDTOptions {
  /** The probes of all files that a process has mapped; with `path`, those of that file, in that process only. */
  pid?: number;
  /** A path, an executable that is found through PATH, or a library's short name. */
  path?: string;
}

/** A probe, and the function that runs there. */
export interface EnableProbe {
  /** `name`, or `provider:name` where several providers have a probe of that name. */
  probe: string;
  /** The BPF function that runs there; it reads arguments with bpf_usdt_readarg(). */
  fnName: string;
}

/** One argument of a probe at one place: where the program keeps it when it gets there. */
export class USDTProbeArgument {
  /** Bytes. */
  readonly size: number;
  readonly signed: boolean;
  /** The value itself, where it is always the same. */
  readonly constant: bigint | undefined;
  /** Where the value is in memory: this far from the base register; undefined where it is in the register itself. */
  readonly derefOffset: number | undefined;
  readonly derefIdent: string | undefined;
  /** A field of the kernel's struct pt_regs. */
  readonly baseRegisterName: string | undefined;
  readonly indexRegisterName: string | undefined;
  readonly scale: number | undefined;
  /** As the assembler wrote it: `-4@%edi`. */
  readonly text: string;
  readonly #operand: UsdtOperand;

  constructor(operand: UsdtOperand) {
    this.#operand = operand;
    this.size = operand.size;
    this.signed = operand.signed;
    this.constant = operand.constant;
    this.derefOffset = operand.derefOffset;
    this.derefIdent = operand.derefIdent;
    this.baseRegisterName = operand.baseRegisterName;
    this.indexRegisterName = operand.indexRegisterName;
    this.scale = operand.scale;
    this.text = operand.text;
  }

  /** As BCC writes it: `4 signed   bytes @ di`. */
  toString(): string {
    return `${this.size} ${this.signed ? 'signed  ' : 'unsigned'} bytes @ ${operandText(this.#operand)}`;
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

/** One place of a probe. */
export class USDTProbeLocation {
  constructor(
    readonly probe: USDTProbe,
    readonly index: number,
    private readonly place: Place,
  ) {}

  /** The virtual address in the file. */
  get address(): bigint {
    return this.place.address;
  }

  /** The file that holds this place. */
  get binPath(): string {
    return this.place.file.path;
  }

  /** How many arguments the probe passes here. */
  get numArguments(): number {
    return this.place.operands.length;
  }

  /** Argument `index`, from 0. */
  getArgument(index: number): USDTProbeArgument {
    return new USDTProbeArgument(at(this.place.operands, index, `${this.probe.shortName()} has arguments`));
  }

  /** As BCC writes it: the path and the address. */
  toString(): string {
    return `${this.binPath} 0x${this.address.toString(16)}`;
  }

  [inspect.custom](): string {
    const operands = this.place.operands.map((operand, i) => `\n  ${i + 1}: ${new USDTProbeArgument(operand)}`);
    return `${this}${operands.join('')}`;
  }
}

/** One probe, with all the places where the program calls it. */
export class USDTProbe {
  readonly provider: string;
  readonly name: string;
  /** The file of its first place. */
  readonly binPath: string;
  /** The virtual address of the counter that tells the program to prepare arguments, 0n where it has none. */
  readonly semaphore: bigint;
  /** Where the counter is in the file, 0n where it has none. */
  readonly semaphoreOffset: bigint;
  readonly numLocations: number;
  readonly numArguments: number;
  readonly #places: readonly Place[];

  constructor(probe: Probe) {
    const first = probe.places[0]!;
    this.provider = probe.provider;
    this.name = probe.name;
    this.binPath = first.file.path;
    this.semaphore = first.semaphore;
    this.semaphoreOffset = first.semaphoreOffset;
    this.numLocations = probe.places.length;
    this.numArguments = argumentCount(probe.places);
    this.#places = probe.places;
  }

  /** `provider:name`. */
  shortName(): string {
    return `${this.provider}:${this.name}`;
  }

  /** Place `index` of the probe, from 0. */
  getLocation(index: number): USDTProbeLocation {
    return new USDTProbeLocation(this, index, at(this.#places, index, `${this.shortName()} has locations`));
  }

  /** As BCC writes it: `provider:name [sema 0x4038]`. */
  toString(): string {
    return `${this.shortName()} [sema 0x${this.semaphore.toString(16)}]`;
  }

  [inspect.custom](_depth: number, options: InspectOptionsStylized): string {
    const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;
    const facts = [count(this.numLocations, 'location'), count(this.numArguments, 'argument')];
    if (this.semaphore !== 0n) facts.push('semaphore');
    return `${options.stylize(this.shortName(), 'special')} (${facts.join(', ')})`;
  }
}

/** What attaching a probe takes: the places of one enabled probe in one file. */
export interface USDTAttachment {
  provider: string;
  name: string;
  fnName: string;
  /** The file, as this process reaches it. */
  path: string;
  /** -1 for every process. */
  pid: number;
  locations: {
    /** Where in the file. */
    offset: bigint;
    /** Where in the file the semaphore is, 0n where there is none. */
    semaphoreOffset: bigint;
  }[];
}

interface BinaryFile {
  path: string;
  relocatable: boolean;
}

interface Place {
  file: BinaryFile;
  address: bigint;
  offset: bigint;
  semaphore: bigint;
  semaphoreOffset: bigint;
  operands: UsdtOperand[];
}

interface Probe {
  provider: string;
  name: string;
  /** By file and address; at least one. */
  places: Place[];
}

/**
 * The USDT probes of a process or of a file, and which BPF functions are to run at them.
 *
 * Probes are attached when a `BCC` object is made with this context in `usdtContexts`. Their semaphores are raised by the
 * kernel while they are attached (Linux 4.20), whatever happens to this process; before, by writing into the process,
 * for which a pid is needed.
 */
export class USDT {
  /** -1 where none was given. */
  readonly pid: number;
  /** As it was given. */
  readonly path: string | undefined;
  readonly #probes: readonly Probe[];
  readonly #enabled: { probe: Probe; fnName: string }[] = [];
  #closed = false;

  /** @throws TypeError where neither a pid nor a path is given, BCCError where either does not exist. */
  constructor(options: USDTOptions) {
    const { pid = -1, path } = knownOptions('USDT', options, ['pid', 'path']);
    if (pid === -1 && (path === undefined || path === '')) throw new TypeError('give a pid or a path');
    if (path !== undefined && typeof path !== 'string') throw new TypeError('path must be a string');
    if (pid !== -1) requireProcess(pid);
    this.pid = pid;
    this.path = path;
    this.#probes = path === undefined ? probesOfProcess(pid) : probesOf([resolveBinary(path, pid, 'executable')], true);
  }

  /** The probes that were found, each once. */
  enumerateProbes(): USDTProbe[] {
    this.#refuseClosed();
    return this.#probes.map((probe) => new USDTProbe(probe));
  }

  /**
   * Has a BPF function run at a probe, once this context is given to a BCC object. A probe takes several functions, a
   * function several probes.
   *
   * @throws BCCError `ERR_BCC_USDT_PROBE` where there is no such probe (the hint names near ones) or where several
   * providers have one, `ERR_BCC_PROCESS` where the process has ended.
   */
  enableProbe(options: EnableProbe): this {
    this.#refuseClosed();
    const { probe: wanted, fnName } = knownOptions('enableProbe', options, ['probe', 'fnName']);
    if (typeof fnName !== 'string' || !/^[A-Za-z_]\w*$/.test(fnName)) {
      throw new TypeError(`fnName must be the name of a C function, not ${String(fnName)}`);
    }
    if (this.pid !== -1 && !processExists(this.pid)) throw noSuchProcess(this.pid);
    const probe = this.#find(wanted);
    if (this.#enabled.some((one) => one.probe === probe && one.fnName === fnName)) {
      throw new BCCError('ERR_BCC_USDT_ENABLED', `${fnName} is on the probe ${wanted} already`, {
        hint: 'enable each function once for a probe',
      });
    }
    this.#enabled.push({ probe, fnName });
    return this;
  }

  /** As `enableProbe`; what goes wrong is written to stderr and ends the process with status 1. For scripts. */
  enableProbeOrBail(options: EnableProbe): this {
    try {
      return this.enableProbe(options);
    } catch (error) {
      process.stderr.write(`${(error as Error).message}\n`);
      process.exit(1);
    }
  }

  /** The C text that declares the argument readers of the enabled probes; it stands before the program's text. */
  getText(): string {
    return usdtText([this]);
  }

  /**
   * The C type of an argument (from 0) that holds it at all places of the probe: `int32_t`, `uint64_t`, …
   *
   * @throws BCCError `ERR_BCC_USDT_PROBE` where there is no such probe, RangeError where it has not that many arguments.
   */
  getProbeArgCtype(probeName: string, argIndex: number): string {
    this.#refuseClosed();
    const probe = this.#find(probeName);
    const operands = probe.places.map(({ operands }) => operands[argIndex]).filter((operand) => operand !== undefined);
    if (operands.length === 0) {
      throw new RangeError(
        `${probeName} has ${argumentCount(probe.places)} arguments, counted from 0: none is ${argIndex}`,
      );
    }
    return operandType(widest(operands));
  }

  /** Where each enabled probe is: the file, the function, the virtual address in the file, the pid. */
  enumerateActiveProbes(): [binPath: string, fnName: string, addr: bigint, pid: number][] {
    this.#refuseClosed();
    return this.#enabled.flatMap(({ probe, fnName }) =>
      probe.places.map(({ file, address }): [string, string, bigint, number] => [file.path, fnName, address, this.pid]),
    );
  }

  /** What is to be attached: for each enabled probe and file, all its places. */
  attachments(): USDTAttachment[] {
    this.#refuseClosed();
    const attachments = new Map<string, USDTAttachment>();
    for (const { probe, fnName } of this.#enabled) {
      const { provider, name } = probe;
      for (const { file, offset, semaphoreOffset } of probe.places) {
        const key = JSON.stringify([provider, name, fnName, file.path]);
        const attachment = attachments.get(key) ?? {
          provider,
          name,
          fnName,
          path: file.path,
          pid: this.pid,
          locations: [],
        };
        attachment.locations.push({ offset, semaphoreOffset });
        attachments.set(key, attachment);
      }
    }
    return [...attachments.values()];
  }

  /** The enabled functions and the places they read arguments at: what `usdtText` is made from. */
  readers(): { fnName: string; places: readonly USDTReaderPlace[] }[] {
    this.#refuseClosed();
    return this.#enabled.map(({ probe, fnName }) => ({ fnName, places: probe.places }));
  }

  /** Forgets the probes. What is attached belongs to the BCC object and stays. */
  close(): void {
    this.#closed = true;
    this.#enabled.length = 0;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  [inspect.custom](_depth: number, options: InspectOptionsStylized): string {
    const where = [this.path, this.pid === -1 ? undefined : `pid ${this.pid}`].filter(Boolean).join(', ');
    const enabled = this.#enabled.map(({ probe, fnName }) => `\n  ${probe.provider}:${probe.name} → ${fnName}`);
    const state = this.#closed ? 'closed' : `${this.#probes.length} probes`;
    return `${options.stylize('USDT', 'special')} ${where} (${state})${enabled.join('')}`;
  }

  #find(wanted: string): Probe {
    if (typeof wanted !== 'string' || wanted === '') throw new TypeError('probe must be a name, or provider:name');
    const colon = wanted.indexOf(':');
    const provider = colon < 0 ? undefined : wanted.slice(0, colon);
    const name = wanted.slice(colon + 1);
    const found = this.#probes.filter(
      (one) => one.name === name && (provider === undefined || one.provider === provider),
    );
    if (found.length === 1) return found[0]!;
    const where = this.path ?? `process ${this.pid}`;
    if (found.length > 1) {
      throw new BCCError('ERR_BCC_USDT_PROBE', `${where} has several probes named ${name}`, {
        hint: `name one of ${found.map((one) => `${one.provider}:${one.name}`).join(', ')}`,
      });
    }
    throw new BCCError('ERR_BCC_USDT_PROBE', `${where} has no USDT probe ${wanted}`, {
      errno: constants.errno.ENOENT,
      hint: this.#hintFor(wanted, name),
    });
  }

  #hintFor(wanted: string, name: string): string {
    if (this.#probes.length === 0) {
      return 'it has no USDT probes at all: it may have been built without them (look for an option such as --with-dtrace)';
    }
    const full = this.#probes.map((one) => `${one.provider}:${one.name}`);
    const sameName = this.#probes.filter((one) => one.name === name).map((one) => `${one.provider}:${one.name}`);
    if (sameName.length > 0) return `did you mean ${sameName.join(' or ')}?`;
    const near = didYouMean(wanted, wanted.includes(':') ? full : this.#probes.map((one) => one.name));
    const count = full.length === 1 ? '1 probe' : `${full.length} probes`;
    return near ?? `it has ${count}: ${full.slice(0, 8).join(', ')}${full.length > 8 ? ', …' : ''}`;
  }

  #refuseClosed(): void {
    if (this.#closed) throw new ClosedError('the USDT context');
  }
}

/** One place as its argument readers see it. */
export interface USDTReaderPlace {
  readonly file: { readonly path: string; readonly relocatable: boolean };
  readonly address: bigint;
  readonly offset: bigint;
  readonly operands: readonly UsdtOperand[];
}

/** Memory is mapped in whole pages, so the lowest bits of an address are the same in every process. */
const PAGE = 4096n;

/**
 * The C text that declares the argument readers of all probes that are enabled in the contexts: for the function `f`,
 * `_bpf_readarg_f_1` and so on, which `bpf_usdt_readarg(1, ctx, &value)` in `f` becomes. A reader returns 0, or -1 where
 * the argument cannot be read there, or where `value` is narrower than the argument; a wider one is filled by C's rules.
 *
 * @throws BCCError `ERR_BCC_USDT_ARGUMENTS` where two places cannot be told apart.
 */
export function usdtText(contexts: Iterable<USDT>): string {
  const byFunction = new Map<string, ReaderPlace[]>();
  for (const context of contexts) {
    for (const { fnName, places } of context.readers()) {
      const all = byFunction.get(fnName) ?? [];
      all.push(...places.map((place) => ({ ...place, pid: context.pid })));
      byFunction.set(fnName, all);
    }
  }
  if (byFunction.size === 0) return '';
  let text = '#include <uapi/linux/ptrace.h>\n';
  for (const [fnName, places] of byFunction) {
    for (let index = 0; index < argumentCount(places); index++) text += readerText(fnName, index, places);
  }
  return text;
}

interface ReaderPlace extends USDTReaderPlace {
  pid: number;
}

const UNREADABLE = 'return -1;';

function readerText(fnName: string, index: number, places: readonly ReaderPlace[]): string {
  const operands = places.map((place) => place.operands[index]).filter((operand) => operand !== undefined);
  const type = operandType(widest(operands));
  const statements = places.map((place) => {
    const operand = place.operands[index];
    return (operand && operandReader(operand, siteOf(place), 'value')) ?? UNREADABLE;
  });
  const body = new Set(statements).size === 1 ? `  ${statements[0]}\n` : selection(fnName, places, statements);
  return `static __always_inline int _bpf_readarg_${fnName}_${index + 1}(struct pt_regs *ctx, void *dest, size_t len) {
  ${type} value = 0;
${body}  switch (len) {
${storeCases(widest(operands))}  default: return -1;
  }
  return 0;
}
`;
}

/** A value goes into a variable of its own width or, by C's rules, of a greater one. */
function storeCases({ size, signed }: UsdtOperand): string {
  const widths = [1, 2, 4, 8].filter((width) => width >= size);
  const cases = (widths.length > 0 ? widths : [8]).map((width) => {
    return `  case ${width}: *(${operandType({ size: width, signed })} *)dest = value; break;\n`;
  });
  return cases.join('');
}

/** Chooses by the place at which the program runs. */
function selection(fnName: string, places: readonly ReaderPlace[], statements: readonly string[]): string {
  const inPage = cases(
    places.map((place) => place.address % PAGE),
    statements,
  );
  if (inPage) return switchText(`PT_REGS_IP(ctx) % 0x${PAGE.toString(16)}ULL`, inPage);
  const global = cases(places.map(globalAddress), statements);
  if (global) return switchText('PT_REGS_IP(ctx)', global);
  throw new BCCError('ERR_BCC_USDT_ARGUMENTS', `the places at which ${fnName} runs cannot be told apart`, {
    hint: 'give the pid of the process, or enable a function of its own for each probe and file',
  });
}

function cases(keys: readonly (bigint | undefined)[], statements: readonly string[]): Map<bigint, string> | undefined {
  const found = new Map<bigint, string>();
  for (const [i, key] of keys.entries()) {
    if (key === undefined || (found.has(key) && found.get(key) !== statements[i])) return undefined;
    found.set(key, statements[i]!);
  }
  return found;
}

function switchText(selector: string, found: ReadonlyMap<bigint, string>): string {
  let text = `  switch (${selector}) {\n`;
  for (const [key, statement] of found) {
    text += `  case 0x${key.toString(16)}ULL: ${statement}${statement === UNREADABLE ? '' : ' break;'}\n`;
  }
  return `${text}  default: ${UNREADABLE}\n  }\n`;
}

/** Where the place is in its process's memory; undefined where that cannot be known. */
function globalAddress({ file, address, offset, pid }: ReaderPlace): bigint | undefined {
  if (!file.relocatable) return address;
  if (pid === -1) return undefined;
  const { ino } = statSync(file.path);
  const mapping = processMappings(pid).find(
    (one) => one.executable && one.inode === ino && offset >= one.offset && offset - one.offset < one.end - one.start,
  );
  return mapping && mapping.start + (offset - mapping.offset);
}

function siteOf({ file, address }: ReaderPlace): OperandSite {
  return {
    address,
    relocatable: file.relocatable,
    symbolAddress: (name) => symbolAddress(file.path, name),
  };
}

function probesOfProcess(pid: number): Probe[] {
  const paths = new Set<string>();
  for (const mapping of processMappings(pid)) {
    if (mapping.executable && mapping.inode !== 0 && mapping.path.startsWith('/') && !mapping.deleted) {
      paths.add(pathInProcess(pid, mapping.path));
    }
  }
  return probesOf(paths, false);
}

/** `strict`: a file that cannot be read is an error, and not one of many that a process has mapped. */
function probesOf(paths: Iterable<string>, strict: boolean): Probe[] {
  const probes = new Map<string, Probe>();
  for (const path of paths) {
    try {
      ElfFile.with(path, (elf) => addProbes(probes, elf));
    } catch (error) {
      if (strict || !(error instanceof BCCError)) throw error;
    }
  }
  for (const probe of probes.values()) {
    probe.places.sort((a, b) => compare(a.file.path, b.file.path) || compare(a.address, b.address));
    // An inlined function's probe may be noted twice for one address.
    probe.places = probe.places.filter((place, i, all) => i === 0 || !isSamePlace(place, all[i - 1]!));
  }
  return [...probes.values()];
}

function addProbes(probes: Map<string, Probe>, elf: ElfFile): void {
  const file = { path: elf.path, relocatable: elf.relocatable };
  for (const note of elf.usdtNotes()) {
    const { provider, name, address, semaphore, semaphoreOffset, argumentText } = note;
    const offset = elf.addressToOffset(address);
    if (offset === undefined) continue;
    const key = `${provider}:${name}`;
    const probe = probes.get(key) ?? { provider, name, places: [] };
    const operands = parseUsdtArguments(elf.machine, argumentText);
    probe.places.push({ file, address, offset, semaphore, semaphoreOffset, operands });
    probes.set(key, probe);
  }
}

function isSamePlace(a: Place, b: Place): boolean {
  return a.file.path === b.file.path && a.address === b.address;
}

function compare<T extends string | bigint>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function argumentCount(places: readonly { operands: readonly UsdtOperand[] }[]): number {
  return Math.max(0, ...places.map(({ operands }) => operands.length));
}

function widest(operands: readonly UsdtOperand[]): UsdtOperand {
  return operands.reduce((best, operand) => (operand.size > best.size ? operand : best));
}

function at<T>(items: readonly T[], index: number, what: string): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`${what} 0 to ${items.length - 1}, none is ${index}`);
  return item;
}
