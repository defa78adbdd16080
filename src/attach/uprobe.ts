import { readFileSync } from 'node:fs';
import { BPFAttachType, BPFProgType } from '../constants';
import { AttachError, BCCError, didYouMean, UnsupportedError } from '../errors';
import { resolveBinary } from '../kernel/binaries';
import { ElfFile } from '../kernel/elf';
import { supportsUprobeMulti, supportsUprobeMultiPid } from '../kernel/features';
import { perfEventAttr } from '../kernel/perf-attr';
import { requireProcess } from '../kernel/processes';
import { symbolAddress, symbolTable } from '../kernel/symbol-table';
import { type NativeFd, runtime } from '../native';
import { releaseAll } from '../release';
import { attachFailure, EINVAL, ENOENT, ENOTSUPP, EOPNOTSUPP, ESRCH, type Meanings } from './failure';
import { type AttachableProgram, OwnedLink } from './link';
import { openProgramEvent } from './tracing-event';

/*
 * uprobes and uretprobes: a perf event of the uprobe PMU for each place (Linux 4.17), or one multi-uprobe link for many
 * places (Linux 6.6). Places are files and offsets in them; the kernel finds every process that has the file mapped, now
 * or later.
 *
 * Codes of errors besides those of failure.ts:
 * ERR_BCC_LIBRARY      no library or executable of that name
 * ERR_BCC_FILE         the path does not exist or cannot be read
 * ERR_BCC_NOT_ELF      the file is no ELF file
 * ERR_BCC_SYMBOL       the file has no such function, or none that fits the pattern
 * ERR_BCC_ADDRESS      the address is not in the file's code
 * ERR_BCC_PROCESS      there is no such process (ESRCH)
 * ERR_BCC_UNSUPPORTED  the kernel has no uprobes
 */

export { findExe, findLibrary } from '../kernel/binaries';
export { supportsUprobeMulti } from '../kernel/features';

/** Whether the program runs where a function is entered or where it returns. */
export type UprobeKind = 'uprobe' | 'uretprobe';

/** Where to attach: one of `sym`, `symRe` and `addr`. */
export interface UprobeOptions {
  /** A path, a library's short name (`c` for libc.so.6), or an executable that is found through PATH. */
  name: string;
  /** A function, as the linker knows it. */
  sym?: string;
  /** Every function whose name fits: a RegExp as it is; text as Python's `re.match`, from the beginning of the name. */
  symRe?: string | RegExp;
  /** A virtual address of the file (not of a process). */
  addr?: bigint | number;
  /** Bytes behind `sym`, on the boundary of an instruction; not for uretprobes. */
  symOff?: number;
  /** Only in this process; -1 or absent: in every process. The name is then looked up in that process's file system. */
  pid?: number;
}

/** One place for a probe. */
export interface UprobeTarget {
  /** Where in the file. */
  offset: bigint;
  /** The name BCC gives the event, by which it is detached: `p__usr_lib_libc_so_6_0x9a930`. */
  event: string;
  /** Where in the file the USDT semaphore is that the kernel raises meanwhile. */
  refCtrOffset?: bigint;
}

/** What an attach call comes to: found before anything is attached. */
export interface UprobePlan {
  kind: UprobeKind;
  /** What its link is called, where that is not the kind: `usdt`. */
  linkKind?: string;
  /** The file, as this process reaches it. */
  path: string;
  /** -1 for every process. */
  pid: number;
  /** At least one. */
  targets: readonly UprobeTarget[];
  /** As a person would name it: `c:malloc`, `/bin/bash:/^read/ (12 functions)`. */
  label: string;
  /**
   * One multi-uprobe link is to hold all targets, which is several times faster. Its program must have been loaded with the expected
   * attach type BPFAttachType.TRACE_UPROBE_MULTI, and serves for nothing else then.
   */
  multi: boolean;
  /** Called before attaching; what it returns is called once all is detached, or where attaching failed. */
  prepare?: () => () => void;
}

/** The name BCC gives a uprobe's event: `p_` or `r_`, the path, the offset in the file, and the pid if there is one. */
export function uprobeEventName(kind: UprobeKind, file: string, offset: bigint, pid = -1): string {
  const name = `${kind === 'uprobe' ? 'p' : 'r'}_${file.replace(/[^a-zA-Z0-9_]/g, '_')}_0x${offset.toString(16)}`;
  return pid === -1 ? name : `${name}_${pid}`;
}

/** What a uprobe request is called, without looking at any file: it names its links when the file or process has gone. */
export function uprobeLabel(options: UprobeOptions): string {
  const { name, sym, symRe, addr, symOff = 0, pid = -1 } = options;
  let place: string;
  if (symRe !== undefined) place = symRe instanceof RegExp ? String(symRe) : `/${symRe}/`;
  else if (addr !== undefined) place = `0x${addr.toString(16)}`;
  else place = symOff === 0 ? String(sym) : `${sym}+0x${symOff.toString(16)}`;
  return pid === -1 ? `${name}:${place}` : `${name}:${place} (pid ${pid})`;
}

/**
 * Finds the places that an attach call means, and the names of their events.
 *
 * @throws TypeError or RangeError for options that make no sense, BCCError for what does not exist.
 */
export function planUprobes(kind: UprobeKind, options: UprobeOptions): UprobePlan {
  checkOptions(kind, options);
  const { pid = -1 } = options;
  const file = resolveBinary(options.name, pid);
  const offsets = options.symRe === undefined ? [offsetOf(file, options)] : offsetsOf(file, options.symRe);
  const targets = offsets.map((offset) => ({ offset, event: uprobeEventName(kind, file, offset, pid) }));
  const label = uprobeLabel(options);
  return {
    kind,
    path: file,
    pid,
    targets,
    label: options.symRe === undefined ? label : `${label} (${targets.length} functions)`,
    multi: prefersMulti(targets.length, pid),
  };
}

/**
 * Whether places are better held by one multi-uprobe link than each by a perf event. From Linux 6.10 always: closing a
 * perf event there waits a tenth of a second for grace periods, and all of them wait one after the other, at the end of a
 * process too; a link waits a quarter of that, once. Before 6.10 such links miss threads where a pid is given.
 */
export function prefersMulti(places: number, pid: number): boolean {
  return supportsUprobeMultiPid() || (places > 1 && pid === -1 && supportsUprobeMulti());
}

/** One program on one or several places of a file. */
export class UprobeLink extends OwnedLink {
  readonly path: string;
  readonly pid: number;
  readonly #holder: Holder;

  constructor(program: AttachableProgram, plan: UprobePlan, holder: Holder, release: () => void) {
    super(plan.linkKind ?? plan.kind, plan.label, program.name, release);
    this.path = plan.path;
    this.pid = plan.pid;
    this.#holder = holder;
  }

  /** 'uprobe-multi' where one kernel link holds all places. */
  get method(): 'uprobe-multi' | 'one-by-one' {
    return this.#holder.method;
  }

  /** BCC's names of the events it is on; [] once detached. */
  get events(): string[] {
    return this.attached ? [...this.#holder.targets.keys()] : [];
  }

  /**
   * Leaves one place and stays on the others; false where it was not on it. A multi-uprobe link cannot shrink: a new one
   * for the rest is made before the old one goes, and calls in between are seen twice rather than missed.
   */
  detachEvent(event: string): boolean {
    if (!this.attached || !this.#holder.targets.has(event)) return false;
    if (this.#holder.targets.size === 1) this.detach();
    else this.#holder.drop(event);
    return true;
  }
}

/**
 * Attaches a KPROBE program to all places of a plan, or to none. With `multi` one kernel link holds them: only for plans
 * with `multi` and programs loaded for it.
 *
 * @throws AttachError where the kernel refuses; nothing stays attached then.
 */
export function attachUprobes(
  program: AttachableProgram,
  plan: UprobePlan,
  options: { multi?: boolean } = {},
): UprobeLink {
  const undo = plan.prepare?.();
  try {
    const holder = options.multi ? new MultiHolder(program, plan) : new SingleHolder(program, plan);
    return new UprobeLink(program, plan, holder, () => releaseAll([() => holder.close(), () => undo?.()]));
  } catch (error) {
    undo?.();
    throw error;
  }
}

/** What holds the attachments of one link. */
interface Holder {
  readonly method: UprobeLink['method'];
  /** By event name. */
  readonly targets: ReadonlyMap<string, UprobeTarget>;
  drop(event: string): void;
  close(): void;
}

class SingleHolder implements Holder {
  readonly method = 'one-by-one';
  readonly targets = new Map<string, UprobeTarget>();
  readonly #fds = new Map<string, NativeFd>();

  constructor(program: AttachableProgram, plan: UprobePlan) {
    for (const target of plan.targets) {
      try {
        this.#fds.set(target.event, openOne(program, plan, target));
        this.targets.set(target.event, target);
      } catch (error) {
        this.close();
        throw failure(program, plan, error, target);
      }
    }
  }

  drop(event: string): void {
    this.#fds.get(event)?.close();
    this.#fds.delete(event);
    this.targets.delete(event);
  }

  close(): void {
    for (const fd of this.#fds.values()) fd.close();
    this.#fds.clear();
    this.targets.clear();
  }
}

class MultiHolder implements Holder {
  readonly method = 'uprobe-multi';
  readonly targets: Map<string, UprobeTarget>;
  readonly #program: AttachableProgram;
  readonly #plan: UprobePlan;
  #fd: NativeFd;

  constructor(program: AttachableProgram, plan: UprobePlan) {
    this.#program = program;
    this.#plan = plan;
    this.targets = new Map(plan.targets.map((target) => [target.event, target]));
    this.#fd = this.#open();
  }

  drop(event: string): void {
    const target = this.targets.get(event)!;
    this.targets.delete(event);
    const old = this.#fd;
    try {
      this.#fd = this.#open();
    } catch (error) {
      this.targets.set(event, target);
      throw error;
    }
    old.close();
  }

  close(): void {
    this.#fd.close();
    this.targets.clear();
  }

  #open(): NativeFd {
    const targets = [...this.targets.values()];
    const counted = targets.some(({ refCtrOffset }) => refCtrOffset !== undefined);
    try {
      return runtime().linkCreate(this.#program.fd, 0, BPFAttachType.TRACE_UPROBE_MULTI, {
        uprobeMulti: {
          flags: this.#plan.kind === 'uretprobe' ? BPF_F_UPROBE_MULTI_RETURN : 0,
          path: this.#plan.path,
          ...(this.#plan.pid !== -1 && { pid: this.#plan.pid }),
          offsets: BigUint64Array.from(targets, ({ offset }) => offset),
          ...(counted && { refCtrOffsets: BigUint64Array.from(targets, ({ refCtrOffset = 0n }) => refCtrOffset) }),
        },
      });
    } catch (error) {
      throw failure(this.#program, this.#plan, error);
    }
  }
}

const BPF_F_UPROBE_MULTI_RETURN = 1;

function openOne(program: AttachableProgram, plan: UprobePlan, target: UprobeTarget): NativeFd {
  const pmu = requirePmu();
  let config = plan.kind === 'uretprobe' ? 1n << pmu.returnBit : 0n;
  if (target.refCtrOffset !== undefined) {
    if (pmu.refCtrShift === undefined) throw new UnsupportedError('this kernel keeps no USDT semaphores for uprobes');
    config |= target.refCtrOffset << pmu.refCtrShift;
  }
  const attr = perfEventAttr({ type: pmu.type, config, config2: target.offset, samplePeriod: 1, wakeupEvents: 1 });
  // One CPU is enough for all processes: the breakpoint is in the code, and the program runs wherever it is hit.
  return openProgramEvent(program.fd, { attr, pid: plan.pid, cpu: plan.pid === -1 ? 0 : -1, config1Text: plan.path });
}

function failure(program: AttachableProgram, plan: UprobePlan, cause: unknown, target?: UprobeTarget): unknown {
  const place = target && plan.targets.length > 1 ? `${plan.label} at 0x${target.offset.toString(16)}` : plan.label;
  const noInstruction = {
    code: 'ERR_BCC_ADDRESS',
    hint: 'the kernel takes no probe there: give the offset of the first byte of an instruction, and attach to code',
  };
  const meanings: Meanings = {
    [ENOENT]: { code: 'ERR_BCC_FILE', hint: `${plan.path} does not exist: check the path` },
    [ESRCH]: { code: 'ERR_BCC_PROCESS', hint: `process ${plan.pid} has ended: name one that is running` },
    [EINVAL]: noInstruction,
    [EOPNOTSUPP]: noInstruction,
    [ENOTSUPP]: noInstruction,
  };
  return attachFailure(`cannot attach ${program.name} to ${plan.kind} ${place}`, cause, meanings, {
    program,
    types: [BPFProgType.KPROBE],
  });
}

interface UprobePmu {
  type: number;
  returnBit: bigint;
  /** undefined before Linux 4.20, which cannot keep semaphores. */
  refCtrShift: bigint | undefined;
}

let knownPmu: UprobePmu | null | undefined;

/** The uprobe PMU's number and what its config holds; null where the kernel has none. */
function uprobePmu(): UprobePmu | null {
  if (knownPmu === undefined) {
    const read = (name: string) => readFileSync(`/sys/bus/event_source/devices/uprobe/${name}`, 'latin1');
    const firstBit = (name: string) => BigInt(/^config:(\d+)/.exec(read(`format/${name}`))?.[1] ?? 0);
    try {
      knownPmu = { type: Number(read('type')), returnBit: firstBit('retprobe'), refCtrShift: undefined };
      knownPmu.refCtrShift = firstBit('ref_ctr_offset');
    } catch {
      knownPmu ??= null;
    }
  }
  return knownPmu;
}

function requirePmu(): UprobePmu {
  const pmu = uprobePmu();
  if (pmu) return pmu;
  throw new UnsupportedError('this kernel has no uprobe events', {
    hint: 'use Linux 4.17 or newer built with CONFIG_UPROBE_EVENTS, with sysfs mounted at /sys',
  });
}

/** Whether the kernel raises USDT semaphores itself while a probe is attached (Linux 4.20). */
export function supportsRefCtrOffset(): boolean {
  return uprobePmu()?.refCtrShift !== undefined;
}

function checkOptions(kind: UprobeKind, options: UprobeOptions): void {
  const { name, sym, symRe, addr, symOff = 0, pid = -1 } = options;
  if (typeof name !== 'string' || name === '') throw new TypeError('name must be a path or the name of a library');
  if (name.includes('\0')) throw new TypeError('name holds a NUL character');
  const given = [sym || undefined, symRe || undefined, addr].filter((value) => value !== undefined).length;
  if (given !== 1) throw new TypeError('give one of sym, symRe and addr');
  if (addr !== undefined && typeof addr !== 'bigint' && !(Number.isSafeInteger(addr) && addr >= 0)) {
    throw new RangeError(`addr must be a bigint or a non-negative safe integer, not ${String(addr)}`);
  }
  if (!Number.isSafeInteger(symOff) || symOff < 0) throw new RangeError(`symOff is ${symOff}, no offset in bytes`);
  if (symOff !== 0 && (sym === undefined || sym === '')) throw new TypeError('symOff needs sym');
  if (symOff !== 0 && kind === 'uretprobe') {
    throw new RangeError('a uretprobe has no offset: it runs where the function returns');
  }
  if (pid !== -1) requireProcess(pid);
}

function offsetOf(file: string, { sym, addr, symOff = 0 }: UprobeOptions): bigint {
  return ElfFile.with(file, (elf) => {
    let address: bigint;
    if (addr !== undefined) {
      address = BigInt(addr);
    } else {
      address = (symbolAddress(file, sym!) ?? unknownSymbol(file, sym!)) + BigInt(symOff);
    }
    const offset = elf.addressToOffset(address);
    if (offset !== undefined) return offset;
    throw new BCCError('ERR_BCC_ADDRESS', `0x${address.toString(16)} is not in the code of ${file}`, {
      errno: EINVAL,
      hint:
        sym === undefined
          ? 'give an address as nm or objdump shows it for the file, not one of a running process'
          : `${sym} is no function: probes are for code`,
    });
  });
}

/** One offset for each different address whose name fits: several names of one function would count each call twice. */
function offsetsOf(file: string, symRe: string | RegExp): bigint[] {
  const offsets = new Set<bigint>();
  const functions = matchingFunctions(file, symRe);
  ElfFile.with(file, (elf) => {
    for (const [, address] of functions) {
      const offset = elf.addressToOffset(address);
      if (offset !== undefined) offsets.add(offset);
    }
  });
  if (offsets.size > 0) return [...offsets];
  throw new AttachError(`no function of ${file} fits ${String(symRe)}`, {
    code: 'ERR_BCC_SYMBOL',
    errno: ENOENT,
    hint: 'list what it has with BCC.getUserFunctions(name, ".*"); text fits from the beginning of a name, as in Python',
  });
}

function unknownSymbol(file: string, sym: string): never {
  const table = symbolTable(file);
  const names = table ? [...table.entries()].map(([name]) => name) : [];
  throw new BCCError('ERR_BCC_SYMBOL', `${file} has no function ${sym}`, {
    errno: ENOENT,
    hint:
      names.length === 0
        ? 'the file has no symbols: install its debug symbols, or attach by addr'
        : (didYouMean(sym, names) ?? 'list what it has with BCC.getUserFunctions(name, ".*")'),
  });
}

function matchingFunctions(file: string, symRe: string | RegExp): [name: string, address: bigint][] {
  const table = symbolTable(file);
  // What is missing or no ELF is told by the reader of the file.
  if (!table) return ElfFile.with(file, () => []);
  const pattern =
    symRe instanceof RegExp ? new RegExp(symRe.source, symRe.flags.replace(/[gy]/g, '')) : anchored(symRe);
  return [...table.entries()].filter(([name]) => pattern.test(name));
}

function anchored(text: string): RegExp {
  try {
    return new RegExp(`^(?:${text})`);
  } catch (cause) {
    throw new TypeError(`symRe is no regular expression: ${(cause as Error).message}`);
  }
}

/** The functions of an executable or library whose names fit, with their virtual addresses in the file. */
export function getUserFunctionsAndAddresses(name: string, symRe: string | RegExp): [name: string, address: bigint][] {
  checkOptions('uprobe', { name, symRe });
  return matchingFunctions(resolveBinary(name, -1), symRe);
}

/** The names of the functions that fit, each once. */
export function getUserFunctions(name: string, symRe: string | RegExp): Set<string> {
  return new Set(getUserFunctionsAndAddresses(name, symRe).map(([symbol]) => symbol));
}

/** The addresses of the functions that fit, each once: several names may belong to one function. */
export function getUserAddresses(name: string, symRe: string | RegExp): Set<bigint> {
  return new Set(getUserFunctionsAndAddresses(name, symRe).map(([, address]) => address));
}
