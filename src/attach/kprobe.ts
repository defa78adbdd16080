import { readFileSync } from 'node:fs';
import { BPFAttachType, BPFProgType } from '../constants';
import { AttachError, type BCCError, didYouMean, errnoText, isNativeError, type NativeError } from '../errors';
import { withShortGracePeriods } from '../kernel/grace-periods';
import { kernelSymbols } from '../kernel/kallsyms';
import { perfEventAttr } from '../kernel/perf-attr';
import { reserveProbes } from '../kernel/probe-functions';
import { availableFilterFunctions, findTracefs, hasProbeEvents, tracefsRoot } from '../kernel/tracefs';
import { type NativeFd, runtime } from '../native';
import { releaseAll } from '../release';
import {
  attachFailure,
  EACCES,
  EADDRNOTAVAIL,
  EILSEQ,
  EINVAL,
  ENOENT,
  EOPNOTSUPP,
  ESRCH,
  type FailureDetails,
  type Meanings,
} from './failure';
import { type AttachableProgram, OwnedLink } from './link';
import { ProbeEvent } from './probe-event';
import { openProgramEvent } from './tracing-event';

/*
 * kprobes and kretprobes. One function: a perf event of the kprobe PMU (Linux 4.17), or an event made through tracefs
 * where that is missing or `maxactive` is asked for. Many functions: one multi-kprobe link (Linux 5.18 with
 * CONFIG_FPROBE), else one tracefs event with many places (Linux 5.5), else one by one.
 *
 * Codes of errors:
 * ERR_BCC_ATTACH_KPROBE_UNKNOWN_SYMBOL  the kernel has no such function
 * ERR_BCC_ATTACH_KPROBE_REFUSED         the function, or that offset in it, takes no probe
 * ERR_BCC_ATTACH_KPROBE_AMBIGUOUS       several functions have that name (Linux 6.7 and newer refuse it)
 * ERR_BCC_ATTACH_KPROBE_NO_MATCH        a pattern fits no function, or none that takes a probe
 * ERR_BCC_NO_KPROBES                    the kernel is built without kprobes
 * ERR_BCC_PROBE_LIMIT                   more probes than BCC_PROBE_LIMIT allows
 */

/** Whether the program runs where a function begins or where it returns. */
export type KprobeKind = 'kprobe' | 'kretprobe';

export interface KprobeOptions {
  /** The kernel function, or `function+offset`. */
  event: string;
  /** Bytes into the function, on the boundary of an instruction; not for kretprobes. */
  eventOff?: number;
  kind?: KprobeKind;
  /** kretprobes: how many calls may be under way at once before some are missed; 0 leaves it to the kernel. */
  maxactive?: number;
}

/** The name BCC gives a kprobe's event, by which it is detached and counted: `p_vfs_read`, `r_foo_isra_0`. */
export function kprobeEventName(kind: KprobeKind, event: string): string {
  return `${kind === 'kprobe' ? 'p' : 'r'}_${event.replace(/[+.]/g, '_')}`;
}

/** Attaches to one kernel function. The program is of type KPROBE. */
export function attachKprobe(program: AttachableProgram, options: KprobeOptions): OwnedLink {
  const place = placeOf(options);
  const { kind = 'kprobe', maxactive = 0 } = options;
  checkMaxactive(kind, maxactive);
  const giveBack = reserveProbes(1);
  try {
    const release = openOne(program, kind, place, maxactive);
    return new OwnedLink(kind, textOf(place), program.name, () => releaseAll([release, giveBack]));
  } catch (error) {
    giveBack();
    throw error;
  }
}

/** A function that a set of kprobes had to leave out. */
export interface RefusedKprobe {
  symbol: string;
  errno: number;
}

/** How one program came to be on many functions. */
export type KprobeSetMethod = 'kprobe-multi' | 'event' | 'one-by-one';

/** One program on many functions. */
export class KprobeSet extends OwnedLink {
  readonly #holder: Holder;
  /** What the kernel would not probe, as BCC leaves it out silently. */
  readonly refused: readonly RefusedKprobe[];

  constructor(kind: KprobeKind, program: AttachableProgram, holder: Holder, release: () => void) {
    const count = holder.symbols.size;
    super(kind, count === 1 ? [...holder.symbols][0]! : `${count} functions`, program.name, release);
    this.#holder = holder;
    this.refused = holder.refused;
  }

  get method(): KprobeSetMethod {
    return this.#holder.method;
  }

  /** The functions it is on, in the order in which they were given. */
  get symbols(): string[] {
    return this.attached ? [...this.#holder.symbols] : [];
  }

  has(symbol: string): boolean {
    return this.attached && this.#holder.symbols.has(symbol);
  }

  /**
   * Leaves one function and stays on the others; false where it was not on it. A multi-kprobe link cannot shrink: a new
   * one for the rest is made before the old one goes, and calls in between are seen twice rather than missed.
   */
  detachSymbol(symbol: string): boolean {
    if (!this.has(symbol)) return false;
    if (this.#holder.symbols.size === 1) this.detach();
    else this.#holder.drop(symbol);
    return true;
  }
}

export interface KprobeSetOptions {
  kind?: KprobeKind;
  /** kretprobes: see {@link KprobeOptions.maxactive}; multi-kprobe links need none. */
  maxactive?: number;
  /** The pattern that chose the functions, for messages. */
  pattern?: string | RegExp;
}

/**
 * Attaches a KPROBE program to many functions, leaving out what the kernel refuses; fails where nothing is left. The
 * functions share one event where the kernel can do that: attaching and detaching are then several times faster.
 */
export function attachKprobes(
  program: AttachableProgram,
  symbols: Iterable<string>,
  options: KprobeSetOptions = {},
): KprobeSet {
  const { kind = 'kprobe', maxactive = 0 } = options;
  checkMaxactive(kind, maxactive);
  return attachSet(program, symbols, options, (names) => {
    const shared = names.length > 1 ? openShared(program, kind, names, maxactive) : undefined;
    return shared ?? openEach(program, kind, names, maxactive);
  });
}

/**
 * Attaches to many functions through one link, as {@link attachKprobes} does otherwise. The program must have been
 * loaded with the expected attach type BPFAttachType.TRACE_KPROBE_MULTI, and serves for nothing else then.
 */
export function attachKprobeMulti(
  program: AttachableProgram,
  symbols: Iterable<string>,
  options: Omit<KprobeSetOptions, 'maxactive'> = {},
): KprobeSet {
  const { kind = 'kprobe' } = options;
  return attachSet(program, symbols, options, (names) => new MultiLinks(program, kind, names));
}

export { supportsKprobeMulti } from '../kernel/features';

interface Place {
  symbol: string;
  offset: number;
}

function placeOf({ event, eventOff = 0, kind }: KprobeOptions): Place {
  if (typeof event !== 'string' || event === '') throw new TypeError('event must name a kernel function');
  if (!Number.isSafeInteger(eventOff) || eventOff < 0)
    throw new RangeError(`eventOff is ${eventOff}, no offset in bytes`);
  const written = /^(.+?)\+(0x[0-9a-f]+|\d+)$/i.exec(event);
  const place = { symbol: written?.[1] ?? event, offset: Number(written?.[2] ?? 0) + eventOff };
  if (/[\s:]/.test(place.symbol)) throw new TypeError(`"${place.symbol}" cannot be the name of a kernel function`);
  if (kind === 'kretprobe' && place.offset !== 0) {
    throw new RangeError('a kretprobe has no offset: it runs where the function returns');
  }
  return place;
}

function textOf({ symbol, offset }: Place): string {
  return offset === 0 ? symbol : `${symbol}+0x${offset.toString(16)}`;
}

function checkMaxactive(kind: KprobeKind, maxactive: number): void {
  if (!Number.isSafeInteger(maxactive) || maxactive < 0 || maxactive > 4096) {
    throw new RangeError(`maxactive is ${maxactive}, the kernel takes 0 to 4096`);
  }
  if (kind === 'kprobe' && maxactive > 0) throw new RangeError('maxactive is for kretprobes');
}

interface Pmu {
  type: number;
  returnBit: number;
}

let knownPmu: Pmu | null | undefined;

/** The kprobe PMU's number and its flag for return probes; null where the kernel has none (before 4.17). */
function kprobePmu(): Pmu | null {
  if (knownPmu === undefined) {
    try {
      const directory = '/sys/bus/event_source/devices/kprobe';
      const type = Number(readFileSync(`${directory}/type`, 'utf8'));
      const bit = /^config:(\d+)/.exec(readFileSync(`${directory}/format/retprobe`, 'utf8'))?.[1];
      knownPmu = bit === undefined ? null : { type, returnBit: Number(bit) };
    } catch {
      knownPmu = null;
    }
  }
  return knownPmu;
}

/** Puts the program on one place; what it returns undoes that. */
function openOne(program: AttachableProgram, kind: KprobeKind, place: Place, maxactive: number): () => void {
  try {
    return openPlace(program, kind, place, maxactive);
  } catch (error) {
    throw placeFailure(program, kind, place, error);
  }
}

/** As {@link openOne}, with the native call's own error: telling why costs more than trying. */
function openPlace(program: AttachableProgram, kind: KprobeKind, place: Place, maxactive: number): () => void {
  const pmu = kprobePmu();
  if (pmu && maxactive === 0) {
    const fd = openProgramEvent(program.fd, pmuEvent(pmu, kind, place));
    return () => fd.close();
  }
  requireProbeEvents(program, place);
  const { event, places } = ProbeEvent.attach('kprobe', letterOf(kind, maxactive), [textOf(place)], program.fd);
  if (event) return () => event.release();
  const { errno } = places[0]!;
  throw Object.assign(new Error('the kernel refused the event'), { errno, syscall: 'write to kprobe_events' });
}

function placeFailure(program: AttachableProgram, kind: KprobeKind, place: Place, error: unknown): unknown {
  const what = `cannot attach ${program.name} to ${kind} ${textOf(place)}`;
  return attachFailure(what, error, meaningsFor(place), { program, types: [BPFProgType.KPROBE] });
}

function pmuEvent(pmu: Pmu, kind: KprobeKind, { symbol, offset }: Place) {
  const config = kind === 'kretprobe' ? 1n << BigInt(pmu.returnBit) : 0n;
  const attr = perfEventAttr({ type: pmu.type, config, config2: offset, samplePeriod: 1, wakeupEvents: 1 });
  return { attr, config1Text: symbol };
}

function letterOf(kind: KprobeKind, maxactive: number): string {
  return kind === 'kprobe' ? 'p' : `r${maxactive || ''}`;
}

function requireProbeEvents(program: AttachableProgram, place: Place): void {
  if (hasProbeEvents('kprobe')) return;
  const what = `cannot attach ${program.name} to ${textOf(place)}`;
  if (kprobePmu() || findTracefs() === undefined) {
    try {
      tracefsRoot();
    } catch (cause) {
      const { code, errno, hint, message } = cause as BCCError;
      const reason = message.split('\n', 1)[0];
      throw new AttachError(`${what}: it needs tracefs, and ${reason}`, { code, errno, hint, cause });
    }
    throw new AttachError(`${what}: this probe needs tracefs, and kprobe_events in it cannot be written`, {
      code: 'ERR_BCC_NO_TRACEFS',
      errno: EACCES,
      hint: 'run as root: only the owner may write it',
    });
  }
  throw new AttachError(`${what}: this kernel has no kprobes`, {
    code: 'ERR_BCC_NO_KPROBES',
    errno: EOPNOTSUPP,
    hint: 'it is built without CONFIG_KPROBES: use tracepoints, raw tracepoints or uprobes, or another kernel',
  });
}

function meaningsFor(place: Place): Meanings {
  const refused = () => (isKnown(place.symbol) ? refusedDetails(place) : unknownDetails(place.symbol));
  return {
    [ENOENT]: refused,
    [EINVAL]: refused,
    [EILSEQ]: {
      code: 'ERR_BCC_ATTACH_KPROBE_REFUSED',
      hint: `no instruction begins at ${textOf(place)}: look at the function's disassembly`,
    },
    [EADDRNOTAVAIL]: {
      code: 'ERR_BCC_ATTACH_KPROBE_AMBIGUOUS',
      hint: `several functions are named ${place.symbol}: attach with eventRe, or to a function that is named once`,
    },
  };
}

/** Whether the kernel, or a module that is loaded now, has a symbol of that name. */
function isKnown(symbol: string): boolean {
  const text = readFileSync('/proc/kallsyms');
  return text.includes(` ${symbol}\n`) || text.includes(` ${symbol}\t`);
}

function refusedDetails(place: Place): FailureDetails {
  const where =
    place.offset === 0
      ? 'it is inlined everywhere, marked notrace, or forbidden (see /sys/kernel/debug/kprobes/blacklist)'
      : 'the offset may lie outside the function';
  return { code: 'ERR_BCC_ATTACH_KPROBE_REFUSED', hint: `the kernel takes no probe there: ${where}` };
}

function unknownDetails(symbol: string): FailureDetails {
  return {
    code: 'ERR_BCC_ATTACH_KPROBE_UNKNOWN_SYMBOL',
    hint: didYouMean(symbol, functionNames()) ?? `no kernel function is named ${symbol}: see /proc/kallsyms`,
  };
}

function functionNames(): Iterable<string> {
  const available = findTracefs() && availableFilterFunctions();
  return available ? new Set(available) : kernelSymbols().names();
}

/** What keeps a program on several functions. */
interface Holder {
  readonly method: KprobeSetMethod;
  readonly symbols: Set<string>;
  readonly refused: RefusedKprobe[];
  /** The error of the first function that was refused. */
  readonly firstError: unknown;
  drop(symbol: string): void;
  release(): void;
}

function attachSet(
  program: AttachableProgram,
  symbols: Iterable<string>,
  { kind = 'kprobe', pattern }: KprobeSetOptions,
  open: (names: string[]) => Holder,
): KprobeSet {
  const names = [...new Set(symbols)];
  if (names.length === 0) {
    throw new AttachError(`no kernel function fits ${pattern ?? 'the pattern'}`, {
      code: 'ERR_BCC_ATTACH_KPROBE_NO_MATCH',
      errno: ENOENT,
      hint: 'the pattern must fit the whole name of a function in available_filter_functions: vfs_.*, not vfs_',
    });
  }
  const giveBack = reserveProbes(names.length);
  let holder: Holder;
  try {
    holder = open(names);
  } catch (error) {
    giveBack();
    throw error;
  }
  if (holder.symbols.size === 0) {
    giveBack();
    throw noneTaken(program, kind, holder, pattern);
  }
  giveBack(names.length - holder.symbols.size);
  const drop = holder.drop.bind(holder);
  holder.drop = (symbol) => {
    drop(symbol);
    giveBack(1);
  };
  return new KprobeSet(kind, program, holder, () => releaseAll([() => holder.release(), giveBack]));
}

function noneTaken(
  program: AttachableProgram,
  kind: KprobeKind,
  holder: Holder,
  pattern: string | RegExp | undefined,
): unknown {
  const { refused, firstError } = holder;
  const first = refused[0]!;
  if (firstError instanceof AttachError && (refused.length === 1 || firstError.code === 'ERR_BCC_PROGRAM_TYPE')) {
    return firstError;
  }
  const what = pattern === undefined ? `${refused.length} functions` : `the ${refused.length} functions of ${pattern}`;
  return new AttachError(
    `cannot attach ${program.name} to any of ${what} as ${kind}: ${errnoText(first.errno)} for ${first.symbol}`,
    {
      code: 'ERR_BCC_ATTACH_KPROBE_NO_MATCH',
      errno: first.errno,
      cause: firstError,
      hint: 'they are inlined, marked notrace, or forbidden',
    },
  );
}

/** One tracefs event for all functions; undefined where the kernel cannot do that. */
function openShared(
  program: AttachableProgram,
  kind: KprobeKind,
  names: string[],
  maxactive: number,
): Holder | undefined {
  if (!hasProbeEvents('kprobe')) return undefined;
  try {
    const { event, places } = ProbeEvent.attach('kprobe', letterOf(kind, maxactive), names, program.fd);
    if (!event) return undefined;
    return {
      method: 'event',
      symbols: new Set(places.filter(({ errno }) => errno === 0).map(({ place }) => place)),
      refused: places.filter(({ errno }) => errno !== 0).map(({ place, errno }) => ({ symbol: place, errno })),
      firstError: undefined,
      drop(symbol) {
        event.removePlace(symbol);
        this.symbols.delete(symbol);
      },
      release() {
        withShortGracePeriods(this.symbols.size, () => event.release());
      },
    };
  } catch {
    // One function that cannot be started stops all of its event: then each gets its own.
    return undefined;
  }
}

function openEach(program: AttachableProgram, kind: KprobeKind, names: string[], maxactive: number): Holder {
  const releases = new Map<string, () => void>();
  const refused: RefusedKprobe[] = [];
  let firstError: unknown;
  for (const symbol of names) {
    try {
      releases.set(symbol, openPlace(program, kind, { symbol, offset: 0 }, maxactive));
    } catch (error) {
      if (!isRefusal(error)) {
        releaseAll(releases.values());
        throw placeFailure(program, kind, { symbol, offset: 0 }, error);
      }
      firstError ??= error;
      refused.push({ symbol, errno: error.errno });
    }
  }
  if (releases.size === 0) firstError = placeFailure(program, kind, { symbol: names[0]!, offset: 0 }, firstError);
  return {
    method: 'one-by-one',
    symbols: new Set(releases.keys()),
    refused,
    firstError,
    drop(symbol) {
      releases.get(symbol)!();
      releases.delete(symbol);
      this.symbols.delete(symbol);
    },
    release: () => withShortGracePeriods(releases.size * 3, () => releaseAll(releases.values())),
  };
}

/** Whether the kernel said no to this function and not to the program or the process. */
function isRefusal(error: unknown): error is NativeError {
  return isNativeError(error) && REFUSALS.has(error.errno);
}

const REFUSALS = new Set([ENOENT, ESRCH, EINVAL, EILSEQ, EADDRNOTAVAIL, EOPNOTSUPP]);

const KPROBE_MULTI_RETURN = 1;

/**
 * One link for all functions, or, where the kernel refuses some, as few as leave these out: it tells only that it
 * refuses, so the list is halved until each half is taken or is a single function.
 */
class MultiLinks implements Holder {
  readonly method = 'kprobe-multi';
  readonly symbols = new Set<string>();
  readonly refused: RefusedKprobe[] = [];
  firstError: unknown;
  #links: { fd: NativeFd; names: string[] }[] = [];

  constructor(
    private readonly program: AttachableProgram,
    private readonly kind: KprobeKind,
    names: string[],
  ) {
    try {
      this.#open(names);
    } catch (error) {
      this.release();
      throw this.#failure(error);
    }
    if (this.firstError !== undefined) this.firstError = this.#failure(this.firstError);
    for (const { names: taken } of this.#links) for (const name of taken) this.symbols.add(name);
  }

  drop(symbol: string): void {
    const place = this.#links.findIndex(({ names }) => names.includes(symbol));
    const old = this.#links[place]!;
    const names = old.names.filter((name) => name !== symbol);
    try {
      this.#links.splice(place, 1, ...(names.length > 0 ? [{ fd: this.#create(names), names }] : []));
    } catch (error) {
      throw this.#failure(error);
    }
    old.fd.close();
    this.symbols.delete(symbol);
  }

  release(): void {
    releaseAll(
      this.#links.splice(0).map(
        ({ fd }) =>
          () =>
            fd.close(),
      ),
    );
  }

  #open(names: string[]): void {
    try {
      this.#links.push({ fd: this.#create(names), names });
    } catch (error) {
      if (!isRefusal(error)) throw error;
      this.firstError ??= error;
      if (names.length === 1) {
        this.refused.push({ symbol: names[0]!, errno: error.errno });
        return;
      }
      const middle = names.length >> 1;
      this.#open(names.slice(0, middle));
      this.#open(names.slice(middle));
    }
  }

  #create(symbols: string[]): NativeFd {
    const flags = this.kind === 'kretprobe' ? KPROBE_MULTI_RETURN : 0;
    const type = BPFAttachType.TRACE_KPROBE_MULTI;
    return runtime().linkCreate(this.program.fd, 0, type, { kprobeMulti: { flags, symbols } });
  }

  #failure(error: unknown): unknown {
    const what = `cannot attach ${this.program.name} to many functions as ${this.kind}`;
    const hint = 'load the function with the expected attach type BPFAttachType.TRACE_KPROBE_MULTI';
    return attachFailure(what, error, { [EINVAL]: { hint } }, { program: this.program, types: [BPFProgType.KPROBE] });
  }
}
