import { readFileSync } from 'node:fs';
import { inspect, types } from 'node:util';
import { requireText } from '../arguments';
import { AttachError } from '../errors';
import { kernelSymbols } from './kallsyms';
import { availableFilterFunctions, kprobeBlacklist } from './tracefs';

/*
 * Which kernel functions a regular expression means, what the kernel calls its system calls, and how many probes a
 * process may hold. The rules are those of BCC's Python module (`get_kprobe_functions`, `get_syscall_prefix`,
 * `get_probe_limit`).
 *
 * Codes of errors: ERR_BCC_PROBE_LIMIT (more probes than the limit allows).
 */

/** How a pattern must fit a name: all of it, or its beginning (Python's re.fullmatch and re.match). */
export type PatternReach = 'whole' | 'start';

/**
 * A test for names from a pattern as BCC takes it. Text is a regular expression in JavaScript's syntax, with Python's
 * `(?i)` at its beginning and `(?P<name>…)` understood besides. A RegExp object is bound to the name's beginning (and end)
 * in the same way, so that both forms of a pattern mean the same.
 */
export function namePattern(pattern: string | RegExp, reach: PatternReach): (name: string) => boolean {
  if (typeof pattern !== 'string' && !types.isRegExp(pattern)) {
    throw new TypeError(`a pattern must be a string or a RegExp, not ${inspect(pattern)}`);
  }
  let source = typeof pattern === 'string' ? pattern : pattern.source;
  let flags = typeof pattern === 'string' ? '' : pattern.flags.replace(/[gy]/g, '');
  if (typeof pattern === 'string') {
    const inline = /^\(\?([ims]+)\)/.exec(source);
    if (inline) {
      source = source.slice(inline[0].length);
      flags = [...new Set(inline[1]!)].join('');
    }
    source = source.replaceAll('(?P<', '(?<');
  }
  let expression: RegExp;
  try {
    expression = new RegExp(`^(?:${source})${reach === 'whole' ? '$' : ''}`, flags);
  } catch (cause) {
    throw new TypeError(`not a regular expression: ${JSON.stringify(source)}`, { cause });
  }
  return (name) => expression.test(name);
}

/** What the choice of functions is made from. */
export interface ProbeFunctionSources {
  /** Reads /proc/kallsyms; not called where the other two sources leave nothing to ask. */
  kallsyms(): Buffer;
  /** The functions that ftrace can hook; undefined where the kernel does not tell. */
  available: readonly string[] | undefined;
  /** The functions that refuse every kprobe; undefined where the kernel does not tell. */
  blacklist: ReadonlySet<string> | undefined;
}

/** Sections whose functions cannot or must not be probed: thrown away after boot, and the entries of interrupts. */
const EXCLUDED_SECTIONS = [
  ['__init_begin', '__init_end'],
  ['__irqentry_text_start', '__irqentry_text_end'],
] as const;

/**
 * Names that never take a probe: blacklist entries of modules, perf's own functions, static calls, cold halves, and what
 * ftrace calls the places of weak functions that were replaced.
 */
const EXCLUDED_NAMES = /^(?:_kbl_addr_|__perf|perf_|__SCT__|__ftrace_invalid_address__)|\.cold(?:\.\d+)?$/;

/**
 * The functions that a kprobe can be put on and that the pattern fits as a whole, each once.
 *
 * What BCC reads out of kallsyms, the kernel says itself where both lists are there: ftrace forgets the functions of init
 * sections when they are freed and cannot hook the entries of interrupts, or the blacklist names them. Reading the
 * 100,000 and more symbols is then left out: it takes longer than attaching.
 */
export function selectProbeFunctions(pattern: string | RegExp, sources: ProbeFunctionSources): string[] {
  const { available, blacklist } = sources;
  const fits = namePattern(pattern, 'whole');
  const takesProbe = (name: string) => fits(name) && !EXCLUDED_NAMES.test(name) && !blacklist?.has(name);
  if (available && blacklist) return [...new Set(available.filter(takesProbe))];
  const kallsyms = sources.kallsyms();
  const chosen = new Set<string>();
  for (const name of available ?? functionNames(kallsyms.toString('latin1'))) if (takesProbe(name)) chosen.add(name);
  // A name may stand both inside such a section and outside: only one that is nowhere else is left out.
  const excluded = EXCLUDED_SECTIONS.map(([first, last]) => section(kallsyms, first, last)).filter((part) => !!part);
  for (const { start, end } of excluded) {
    for (const name of functionNames(kallsyms.toString('latin1', start, end))) {
      if (chosen.has(name) && !isElsewhere(kallsyms, name, excluded)) chosen.delete(name);
    }
  }
  return [...chosen];
}

/**
 * The kernel functions that `attachKprobe({ eventRe })` would take. The pattern must fit the whole name (as in BCC since
 * 0.27; before, its beginning). Throws ERR_BCC_NO_TRACEFS where tracefs is not mounted; without debugfs the list of
 * functions that refuse kprobes is not known, and attaching skips them.
 */
export function getKprobeFunctions(eventRe: string | RegExp): string[] {
  return selectProbeFunctions(eventRe, {
    available: availableFilterFunctions(),
    blacklist: kprobeBlacklist(),
    kallsyms: () => readFileSync('/proc/kallsyms'),
  });
}

interface Section {
  start: number;
  end: number;
}

/** The bytes of the lines between two markers, undefined where the kernel has none or nothing lies between. */
function section(kallsyms: Buffer, first: string, last: string): Section | undefined {
  const start = lineOf(kallsyms, first);
  const end = lineOf(kallsyms, last);
  return start >= 0 && end > start ? { start, end } : undefined;
}

/** Where the line of that symbol begins, -1 where there is none. */
function lineOf(kallsyms: Buffer, name: string): number {
  const at = kallsyms.indexOf(` ${name}\n`, 0, 'latin1');
  return at < 0 ? -1 : kallsyms.lastIndexOf('\n', at) + 1;
}

function* functionNames(text: string): IterableIterator<string> {
  for (const match of text.matchAll(/^[0-9a-f]+ [tTwW] ([^\t\n]+)/gm)) yield match[1]!;
}

function isElsewhere(kallsyms: Buffer, name: string, excluded: readonly Section[]): boolean {
  const wanted = Buffer.from(` ${name}`, 'latin1');
  for (let at = kallsyms.indexOf(wanted); at >= 0; at = kallsyms.indexOf(wanted, at + 1)) {
    const next = kallsyms[at + wanted.length];
    if (next !== 0x0a && next !== 0x09) continue;
    if (!excluded.some(({ start, end }) => at >= start && at < end)) return true;
  }
  return false;
}

/** What the kernel's functions for system calls begin with, by architecture and age: BCC's own list and order. */
const SYSCALL_PREFIXES = [
  'sys_',
  '__x64_sys_',
  '__x32_compat_sys_',
  '__ia32_compat_sys_',
  '__arm64_sys_',
  '__s390x_sys_',
  '__s390_sys_',
  '__riscv_sys_',
] as const;

let syscallPrefix: string | undefined;

/** The prefix of this kernel's functions for system calls, found by looking for `bpf`: `__x64_sys_`. */
export function getSyscallPrefix(): string {
  syscallPrefix ??= SYSCALL_PREFIXES.find((prefix) => kernelSymbols().has(`${prefix}bpf`)) ?? SYSCALL_PREFIXES[0];
  return syscallPrefix;
}

/** The kernel's function for a system call: `__x64_sys_clone` for `clone`. */
export function getSyscallFnname(name: string): string {
  return getSyscallPrefix() + name;
}

/** A name with any architecture's prefix, with this kernel's instead: `sys_clone` → `__x64_sys_clone`. */
export function fixSyscallFnname(name: string): string {
  const prefix = SYSCALL_PREFIXES.find((candidate) => name.startsWith(candidate));
  return prefix === undefined ? name : getSyscallFnname(name.slice(prefix.length));
}

/** The name with the prefix, which is not put before it twice: `add_prefix` of BCC. */
export function addPrefix(prefix: string, name: string): string {
  requireText(prefix, 'prefix');
  requireText(name, 'name');
  return name.startsWith(prefix) ? name : prefix + name;
}

const DEFAULT_PROBE_LIMIT = 1000;

/** How many kprobes and uprobes this process may hold: `$BCC_PROBE_LIMIT`, else 1000. */
export function getProbeLimit(): number {
  const limit = process.env['BCC_PROBE_LIMIT'];
  return limit !== undefined && /^\d+$/.test(limit) ? Number(limit) : DEFAULT_PROBE_LIMIT;
}

let openProbes = 0;

/**
 * Counts probes against the limit, all BCC objects of the process together. The result gives back `count` of them, or
 * the number that it is called with; what is given back twice counts once.
 */
export function reserveProbes(count: number): (returned?: number) => void {
  const limit = getProbeLimit();
  if (openProbes + count > limit) {
    throw new AttachError(`${count} more probes would exceed the limit of ${limit} (${openProbes} are open)`, {
      code: 'ERR_BCC_PROBE_LIMIT',
      hint: `narrow the pattern, detach what is no longer needed, or set BCC_PROBE_LIMIT=${openProbes + count}`,
    });
  }
  openProbes += count;
  let held = count;
  return (returned = held) => {
    const back = Math.min(returned, held);
    held -= back;
    openProbes -= back;
  };
}
