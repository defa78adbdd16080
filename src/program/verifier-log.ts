import { type Capability, heldCapabilities, privilegeHint } from '../capabilities';
import { lockdown } from '../kernel/lockdown';
import { helperName } from './helpers';
import type { SourceLine } from './line-info';

/** What is known of a refused load. */
export interface LoadFailureFacts {
  /** Positive. */
  errno: number;
  /** The verifier's log, '' where the kernel wrote none. */
  log: string;
  fnName: string;
  /** A value of BPFProgType. */
  progType?: number;
  /** The user's own text: source lines of the log are then told by the user's line numbers. */
  text?: string;
  /** The program's own lines: what the log leaves out is told by them. */
  lines?: readonly SourceLine[];
}

/** A refusal in words. `message` is one sentence; `excerpt` the C line, the instruction and the kernel's last words. */
export interface LoadFailure {
  code: string;
  message: string;
  hint: string | undefined;
  excerpt: string;
}

/** A line of C as the verifier annotates its log. Before Linux 6.8 it tells no line number. */
export interface AnnotatedLine {
  text: string;
  /** In the text as libbcc rewrote it, or in the user's own where {@link ownLine} has mapped it; 0 where not told. */
  line: number;
}

export interface VerifierLog {
  /** The verifier's complaint: the lines after the last instruction that it looked at. */
  reason: string[];
  /** The last instruction it looked at. */
  instruction: { index: number; text: string } | undefined;
  /** The C line of that instruction. */
  source: AnnotatedLine | undefined;
  /** Every annotated C line, in the order of the log. */
  annotations: AnnotatedLine[];
  /** Instructions that it walked through before it gave up; undefined where it did not get so far. */
  processed: number | undefined;
}

const INSTRUCTION = /^(\d+): \([0-9a-f]{2}\) (.*)$/;
const ANNOTATION = /^; (.*?)(?: @ \S+:(\d+))?$/;
const SUMMARY = /^(?:processed (\d+) insns|verification time |stack depth |max_states_per_insn )/;
/** Register states and the verifier's notes on its own walk: nothing that a reader is told as a reason. */
const STATE =
  /^(?:\d+: (?:R\d|frame|safe$)|from \d+ to \d+|R\d+(?:_[rw]+)?=| R\d+=|caller:| ?frame\d+:|last_idx |first_idx |regs=|parent |mark_precise|propagating |func#|Live regs|Validating |returning from callee|to caller at|BEGIN|END|Func#|\s*\d+: safe)/;

/** The line of the program that an instruction was made of. */
function lineOf(insn: number, lines: readonly SourceLine[]): SourceLine | undefined {
  return lines.findLast((line) => line.insn <= insn);
}

/** Takes the log of one load apart; `lines` are the program's own. */
export function parseVerifierLog(log: string, lines: readonly SourceLine[] = []): VerifierLog {
  const reason: string[] = [];
  const annotations: AnnotatedLine[] = [];
  let instruction: VerifierLog['instruction'];
  let source: AnnotatedLine | undefined;
  let processed: number | undefined;
  // What follows the last newline is the beginning of a line: there was no room for more.
  for (const line of log.slice(0, log.lastIndexOf('\n') + 1).split('\n')) {
    const text = line.trimEnd();
    if (text === '' || STATE.test(text)) continue;
    const summary = SUMMARY.exec(text);
    if (summary) {
      if (summary[1]) processed = Number(summary[1]);
      continue;
    }
    const step = INSTRUCTION.exec(text);
    if (step) {
      instruction = { index: Number(step[1]), text: step[2]!.replace(/\s*;.*$/, '') };
      reason.length = 0;
      if (source?.line === 0) {
        const line = lineOf(instruction.index, lines);
        if (line?.text === source.text) source.line = line.line;
      }
      continue;
    }
    const annotated = ANNOTATION.exec(text);
    if (annotated) {
      const annotation = { text: annotated[1]!.trim(), line: Number(annotated[2] ?? 0) };
      // The code that libbcc puts in has neither text nor a line.
      if (annotation.text === '') continue;
      annotations.push(annotation);
      source = annotation;
      reason.length = 0;
      continue;
    }
    reason.push(text);
  }
  // What is refused before the walk through the program names an instruction at most.
  const place = instruction?.index ?? /\binsn (\d+)/.exec(reason.join('\n'))?.[1];
  if (place !== undefined) source ??= lineOf(Number(place), lines);
  return { reason, instruction, source, annotations, processed };
}

/**
 * The user's own line for an annotated one. libbcc puts lines in and rewrites some: a line that it left alone is found by
 * its text, and the others by the shift of the nearest such line.
 */
export function ownLine(target: AnnotatedLine, annotations: readonly AnnotatedLine[], text: string): number {
  const lines = text.split('\n').map((line) => line.trim());
  const linesWith = (wanted: string) => lines.flatMap((line, index) => (line === wanted ? [index + 1] : []));
  // The text that was rewritten is longer than the user's: a line number of the user's is never above the annotation's.
  let candidates = linesWith(target.text);
  // Where a function's brace and its code share a line, libbcc breaks it after the brace.
  if (candidates.length === 0 && target.text.length >= 8) {
    candidates = lines.flatMap((line, index) => (line.endsWith(target.text) ? [index + 1] : []));
  }
  if (target.line === 0) return candidates.length === 1 ? candidates[0]! : 0;

  const anchors = annotations
    .filter(({ line }) => line > 0)
    .map((annotation) => ({ line: annotation.line, own: linesWith(annotation.text) }))
    .filter(({ own }) => own.length === 1)
    .map(({ line, own }) => ({ line, shift: line - own[0]! }))
    .filter(({ shift }) => shift >= 0)
    .sort((a, b) => Math.abs(a.line - target.line) - Math.abs(b.line - target.line));
  const guess = anchors[0] && target.line - anchors[0].shift;
  if (candidates.length > 0) {
    const goal = guess ?? target.line;
    return candidates.reduce((best, line) => (Math.abs(line - goal) < Math.abs(best - goal) ? line : best));
  }
  if (guess !== undefined && guess >= 1 && guess <= lines.length) return guess;
  return lineBeginningLike(target.text, lines);
}

/** The line that holds the beginning of a rewritten one, up to where it was rewritten; 0 where none or several do. */
function lineBeginningLike(text: string, lines: readonly string[]): number {
  for (let length = text.length - 1; length >= SHORTEST_BEGINNING; length--) {
    const found = lines.flatMap((line, index) => (line.includes(text.slice(0, length)) ? [index + 1] : []));
    if (found.length > 0) return found.length === 1 ? found[0]! : 0;
  }
  return 0;
}
const SHORTEST_BEGINNING = 8;

interface Context {
  facts: LoadFailureFacts;
  parsed: VerifierLog;
}

interface Explanation {
  pattern: RegExp;
  /** What more must hold of a match. */
  when?: (match: RegExpExecArray, context: Context) => boolean;
  code: string;
  message: (match: RegExpExecArray, context: Context) => string;
  hint?: (match: RegExpExecArray, context: Context) => string | undefined;
}

const PROGRAM_TYPES = [
  '',
  'a socket filter',
  'a kprobe',
  'a TC classifier',
  'a TC action',
  'a tracepoint program',
  'an XDP program',
  'a perf event program',
  'a cgroup socket buffer program',
  'a cgroup socket program',
  'a lightweight tunnel program',
  'a lightweight tunnel program',
  'a lightweight tunnel program',
  'a socket operations program',
  'a socket stream program',
  'a cgroup device program',
  'a socket message program',
  'a raw tracepoint program',
  'a cgroup address program',
  'a lightweight tunnel program',
  'a LIRC program',
  'a socket reuseport program',
  'a flow dissector',
  'a cgroup sysctl program',
  'a writable raw tracepoint program',
  'a cgroup socket option program',
  'a tracing program',
  'a struct_ops program',
  'an extension',
  'an LSM program',
  'a socket lookup program',
  'a syscall program',
];

/** The kernel asks for CAP_NET_ADMIN where a program can change packets, for CAP_PERFMON where it can read the kernel's memory. */
const NETWORK_TYPES = new Set([3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 22, 23, 25, 30]);
const SOCKET_FILTER = 1;

function neededFor(progType: number | undefined): Capability[] {
  if (progType === SOCKET_FILTER) return ['CAP_BPF'];
  if (progType === undefined || !NETWORK_TYPES.has(progType)) return ['CAP_BPF', 'CAP_PERFMON'];
  // While loading, and only then, CAP_SYS_ADMIN stands for CAP_NET_ADMIN as well.
  return heldCapabilities().has('CAP_SYS_ADMIN') ? ['CAP_BPF'] : ['CAP_BPF', 'CAP_NET_ADMIN'];
}

const TRACING = 26;
const LSM = 29;

function kindOf({ facts }: Context): string {
  return PROGRAM_TYPES[facts.progType ?? 0] || 'a program of this type';
}

/** `bpf_map_lookup_elem` out of `call bpf_map_lookup_elem#1`, the last instruction that was looked at. */
function calledHelper({ parsed }: Context): string {
  return /^call (\S+?)#\d+/.exec(parsed.instruction?.text ?? '')?.[1] ?? 'the helper';
}

/** Helpers that read the kernel's memory. */
const OF_PERFMON = /^bpf_(?:probe_read|trace_|get_current_task|snprintf|task_pt_regs)/;

const LOCKDOWN_HINTS = {
  integrity: "no program may write a process's memory",
  confidentiality:
    "no program may read the kernel's memory, or write a process's; what helpers, bpf_probe_read_user and the arguments of tracepoints tell can still be had",
};

/** Helpers that lockdown for confidentiality takes away (bpf_tracing_func_proto). */
const OF_LOCKDOWN = /^bpf_(?:probe_read(?:_str|_kernel|_kernel_str)?|probe_write_user)$/;

function helperHint(name: string): string {
  const locked = lockdown();
  if (OF_LOCKDOWN.test(name) && (locked === 'confidentiality' || (locked && name === 'bpf_probe_write_user')))
    return `the kernel is locked down (${locked}): ${LOCKDOWN_HINTS[locked]}`;
  if (name === 'bpf_probe_write_user' || name === 'bpf_override_return')
    return 'that helper changes what runs: kernel lockdown or the configuration of this kernel forbids it';
  return (
    (OF_PERFMON.test(name) ? privilegeHint(1, 'CAP_PERFMON') : undefined) ??
    'the manual page bpf-helpers(7) tells which program types have which helpers; another hook may offer it'
  );
}

/** The map whose lookup gave the register, where the log's states tell it. */
function mapOf(register: string, { facts }: Context): string | undefined {
  const states = [
    ...facts.log.matchAll(new RegExp(`\\b${register}(?:_[rw]+)?=(?:map_value_or_null|map_value)\\(([^)]*)\\)`, 'g')),
  ];
  return /\bmap=(\w+)/.exec(states.at(-1)?.[1] ?? '')?.[1];
}

function inMap(register: string, context: Context): string {
  const map = mapOf(register, context);
  return map ? ` of the table ${map}` : '';
}

/** Whether the refused instruction writes to memory: `*(u32 *)(r6 +0) = r1`. */
function writes({ parsed }: Context): boolean {
  return parsed.instruction?.text.startsWith('*(') ?? false;
}

/** Whether the refused instruction computes, and more than a sum or a difference: `r1 /= r6`. */
function computes({ parsed }: Context): boolean {
  return /^[rw]\d+ (?:s?[*/%]|[&|^]|<<|s?>>)= /.test(parsed.instruction?.text ?? '');
}

/** Whether the kernel had more to say than was kept: before Linux 6.4 the end of a long log is lost. */
function wasCut({ reason, instruction }: VerifierLog): boolean {
  return reason.length === 0 && instruction !== undefined;
}

/**
 * Whether a register was last loaded with the address 0 by the instruction that loads addresses of variables: libbcc
 * loads no data sections, and leaves their addresses 0.
 */
function isUnloadedData(register: string, { facts }: Context): boolean {
  const name = register.toLowerCase();
  const loads = [...facts.log.matchAll(new RegExp(`^\\d+: \\([0-9a-f]{2}\\) ${name} = (\\S+)`, 'gm'))];
  return loads.some(([whole, value]) => whole.includes('(18)') && value === '0x0');
}

const STACK_SIZE = 512;
/** How many annotated lines are looked through for one of the user's. */
const NEAREST = 16;
const UNWRITTEN = 'it reads or hands out bytes of the stack that were never written';
const INITIALIZE_HINT =
  'initialise the whole struct where it is declared (struct event e = {};), padding between its members included';
const BOUND_HINT =
  'compare it with the size first (if (i >= SIZE) return 0;), or mask it (i &= SIZE - 1, SIZE a power of two)';
const STACK_HINT =
  'keep large structs and buffers in a BPF_PERCPU_ARRAY of one element; a program has 512 bytes of stack';
const LOOP_HINT =
  'give the loop a bound that is a constant and a counter of its own (for (int i = 0; i < 16; i++)); before Linux 5.3 also #pragma unroll';
const TOO_COMPLEX_HINT =
  'make loops shorter and branches in them fewer, or split the program with a BPF_PROG_ARRAY; since Linux 5.17 bpf_loop() keeps a long loop cheap';
const MAP_HELPER_HINT = 'use the methods that BCC gives this kind of table, or a table of another kind';
const PROBE_READ_HINT =
  'read through a helper: bpf_probe_read_kernel(&value, sizeof(value), pointer), or bpf_probe_read_user for memory of a process';

const POINTER_NAMES: Readonly<Record<string, string>> = {
  ctx: 'the context',
  fp: 'the stack',
  pkt: 'the packet',
  map_ptr: 'a table',
  map_value: "a table's leaf",
  map_value_or_null: "a table's leaf that may be absent",
  inv: 'a plain number',
  scalar: 'a plain number',
  mem: 'memory',
  ringbuf_mem: 'a reserved record',
  alloc_mem: 'a reserved record',
  sock: 'a socket',
  ptr_: 'a kernel object',
  fp_: 'the stack',
};

function pointerName(type: string): string {
  return POINTER_NAMES[type] ?? type;
}

const EXPLANATIONS: readonly Explanation[] = [
  {
    pattern: /(R\d+) invalid mem access '(\w+)_or_null'/,
    code: 'ERR_BCC_NULL_CHECK',
    message: ([, register, what], context) =>
      what === 'map_value'
        ? `a leaf${inMap(register!, context)} is used without asking whether the lookup found one`
        : `${pointerName(what!)} that may be NULL is used without asking`,
    hint: () => 'test it before the first use: if (!value) return 0;',
  },
  {
    pattern: /(R\d+) invalid mem access '(?:inv|scalar|unknown)'/,
    code: 'ERR_BCC_POINTER',
    message: ([, register], context) =>
      isUnloadedData(register!, context)
        ? 'it uses a global or static variable, or a constant array, which BCC does not load'
        : `it ${writes(context) ? 'writes' : 'reads'} memory through a pointer that the kernel cannot vouch for`,
    hint: ([, register], context) => {
      if (isUnloadedData(register!, context)) {
        return 'keep what lasts in a BPF_ARRAY, and put constants into the function itself (a switch, a local array)';
      }
      if (!writes(context)) return PROBE_READ_HINT;
      return /call bpf_ringbuf_(?:submit|discard)#/.test(context.facts.log)
        ? 'a record is gone after ringbuf_submit or ringbuf_discard: write to it before'
        : 'programs can write to their stack, to tables and to packets only; bpf_probe_write_user writes to memory of a process';
    },
  },
  {
    pattern: /cannot call GPL[ -](?:restricted |only )function from (?:non-GPL compatible|proprietary) program/,
    code: 'ERR_BCC_GPL',
    message: (_, context) =>
      `${calledHelper(context)} is for programs under the GPL, and this one declares another license`,
    hint: () =>
      'leave BPF_LICENSE out (the program is then GPL), or define it as a license that is compatible with the GPL',
  },
  {
    pattern: /must have (?:a )?GPL[ -]compatible license/,
    code: 'ERR_BCC_GPL',
    message: (_, context) => `${kindOf(context)} must be under a license that is compatible with the GPL`,
    hint: () => 'leave BPF_LICENSE out: the program is then GPL',
  },
  {
    pattern: /invalid (?:indirect )?(?:read|access)(?: from| to)? stack (?:R\d+ )?(?:var_)?off (\S+?)\+\d+ size (\d+)/,
    code: 'ERR_BCC_UNINITIALIZED',
    message: () => UNWRITTEN,
    hint: () => INITIALIZE_HINT,
  },
  {
    pattern: /invalid variable-offset (?:read|write|indirect access|helper access)[\s\S]*?stack R\d+/,
    code: 'ERR_BCC_STACK_BOUNDS',
    message: () => 'an index into a local array has no bound that the kernel can see, or one that is too high',
    hint: () => BOUND_HINT,
  },
  {
    // Below the start of the frame lies the stack; what begins there and ends above it is too long for its variable.
    pattern: /invalid (?:read|write|indirect access)[\s\S]*?(?:from|to) stack R\d+ off=-(\d+) size=(\d+)/,
    when: ([, off, size]) => Number(off) <= STACK_SIZE && Number(size) > Number(off),
    code: 'ERR_BCC_STACK_BOUNDS',
    message: ([, off, size], context) =>
      `${calledHelper(context)} is given up to ${size} bytes of a local variable, and there are at most ${off}`,
    hint: () =>
      'bound the size by the size of the variable just before the call: if (size > sizeof(buffer)) size = sizeof(buffer);',
  },
  {
    // The stack of a process without CAP_PERFMON reaches as far as it was written.
    pattern: /invalid (?:read|indirect access)[\s\S]*?(?:from|to) stack R\d+ off=-(\d+) size=\d+/,
    when: ([, off]) => Number(off) <= STACK_SIZE,
    code: 'ERR_BCC_UNINITIALIZED',
    message: () => UNWRITTEN,
    hint: () => INITIALIZE_HINT,
  },
  {
    pattern:
      /invalid (?:read|write|indirect access|zero-size read)[\s\S]*?(?:from|to) stack R\d+ off=(-?\d+) size=(\d+)|invalid stack (?:type|off)[\s\S]*?off[= ](-?\d+)/,
    code: 'ERR_BCC_STACK_BOUNDS',
    message: ([, off]) => `it goes outside the 512 bytes of the stack${off ? ` (to ${off})` : ''}`,
    hint: () => STACK_HINT,
  },
  {
    pattern: /combined stack size of (\d+) calls is (\d+)/,
    code: 'ERR_BCC_STACK_LIMIT',
    message: ([, calls, size]) =>
      `${calls} functions that call each other use ${size} bytes of stack together, and all have 512`,
    hint: () => STACK_HINT,
  },
  {
    pattern: /BPF program is too large\. Processed (\d+) insn/,
    code: 'ERR_BCC_TOO_COMPLEX',
    message: ([, count]) => `the kernel gave up after walking through ${count} instructions, its limit`,
    hint: () => TOO_COMPLEX_HINT,
  },
  {
    pattern: /The sequence of (\d+) jumps is too complex/,
    code: 'ERR_BCC_TOO_COMPLEX',
    message: ([, count]) => `a path through it takes ${count} jumps, more than the kernel follows`,
    hint: () => 'make loops shorter and branches in them fewer; since Linux 5.17 bpf_loop() keeps a long loop cheap',
  },
  {
    pattern: /Program\s+too large \((\d+) insns\), at most (\d+) insns/,
    code: 'ERR_BCC_TOO_COMPLEX',
    message: ([, count, limit]) => `it has ${count} instructions, and this kernel takes ${limit}`,
    hint: () => 'split the program with a BPF_PROG_ARRAY; as root, Linux 5.2 and newer take a million',
  },
  {
    pattern: /back-edge from insn \d+ to \d+|infinite loop detected at insn \d+|loop detected at insn/,
    code: 'ERR_BCC_LOOP',
    message: () => 'it has a loop of which the kernel cannot see the end',
    hint: () => LOOP_HINT,
  },
  {
    pattern: /program of this type cannot use helper (\S+?)#\d+|unknown func (bpf_\w+)#\d+/,
    code: 'ERR_BCC_HELPER',
    message: (match, context) => `${kindOf(context)} may not call ${match[1] ?? match[2]}`,
    hint: ([, known, unknown]) => helperHint((known ?? unknown)!),
  },
  {
    pattern: /invalid func unknown#(-?\d+)/,
    code: 'ERR_BCC_HELPER',
    message: ([, id]) => `it calls ${helperName(Number(id)) ?? `the helper ${id}`}, which this kernel does not have`,
    hint: () => 'use a newer kernel, or an older helper: bpf_probe_read for bpf_probe_read_kernel, for one',
  },
  {
    pattern: /Unreleased reference id=\d+ alloc_insn=(\d+)/,
    code: 'ERR_BCC_REFERENCE',
    message: ([, insn], { facts }) => {
      const call = new RegExp(`^${insn}: \\(85\\) call (\\S+?)#`, 'm').exec(facts.log)?.[1];
      return `there is a way to its end on which what ${call ?? 'a helper'} gave is not given back`;
    },
    hint: (_, { facts }) =>
      facts.log.includes('bpf_ringbuf_reserve')
        ? 'call ringbuf_submit or ringbuf_discard on every path after a ringbuf_reserve that succeeded'
        : 'release it on every path, error paths included (bpf_sk_release, bpf_task_release, …)',
  },
  {
    pattern: /misaligned (\w+) access off/,
    code: 'ERR_BCC_ALIGNMENT',
    message: ([, what]) => `it reads or writes the ${what} at an address that is not a multiple of the size`,
    hint: () => 'order the members of the struct by size, or copy the bytes with __builtin_memcpy',
  },
  {
    pattern: /invalid bpf_context access off=(\d+) size=(\d+)/,
    code: 'ERR_BCC_CONTEXT',
    message: ([, off, size], context) =>
      `${kindOf(context)} may not ${writes(context) ? 'write' : 'read'} the ${size} bytes at offset ${off} of its context`,
    hint: (_, { facts }) =>
      facts.progType === 2
        ? 'read arguments with PT_REGS_PARM1(ctx) and its kin, and results with PT_REGS_RC(ctx)'
        : 'use the members that the context struct of this hook declares, at their own size; the function may have been loaded as another type than it was written for',
  },
  {
    pattern: /dereference of modified ctx ptr R\d+ off=(-?\d+) disallowed|variable ctx access var_off=/,
    code: 'ERR_BCC_CONTEXT',
    message: ([, off]) =>
      `it reads its context at ${off === undefined ? 'an offset' : `offset ${off}`}, which is outside of it or was computed at run time`,
    hint: () => 'use the members of the context struct by name, not through arithmetic on ctx',
  },
  {
    pattern: /invalid access to packet|R\d+ offset is outside of the packet/,
    code: 'ERR_BCC_PACKET_BOUNDS',
    message: () => 'it reads or writes a packet without asking whether it is long enough',
    hint: () => 'compare with data_end before each header: if ((void *)(header + 1) > data_end) return XDP_PASS;',
  },
  {
    pattern: /invalid access to map value, value_size=(\d+) off=(-?\d+) size=(\d+)/,
    code: 'ERR_BCC_BOUNDS',
    message: ([, size, off, width]) =>
      `it goes outside a table's leaf: size ${width} at offset ${off}, and the leaf has ${size} bytes`,
    hint: () => BOUND_HINT,
  },
  {
    pattern: /invalid access to memory, mem_size=(\d+) off=(-?\d+) size=(\d+)/,
    code: 'ERR_BCC_BOUNDS',
    message: ([, size, off, width]) =>
      `it goes outside of what it was given: size ${width} at offset ${off}, and there are ${size} bytes`,
    hint: () => BOUND_HINT,
  },
  {
    pattern: /^invalid zero-sized read/m,
    code: 'ERR_BCC_MAP_HELPER',
    message: (_, context) => `${calledHelper(context)} does not work on a table of this kind`,
    hint: () => MAP_HELPER_HINT,
  },
  {
    pattern: /R(\d+) (?:min value is negative|unbounded memory access), (?:either )?use|R\d+ invalid zero-sized read/,
    code: 'ERR_BCC_BOUNDS',
    message: ([, register], context) =>
      `${register ? `argument ${register}` : 'a size'} of ${calledHelper(context)}, a size, may be negative, zero or larger than the memory it is given`,
    hint: () =>
      'make the variable unsigned and bound it just before the call: size &= MAX - 1, or if (size > MAX) return 0;',
  },
  {
    pattern:
      /(R\d+) (?:unbounded memory access|(?:min|max) value is (?:negative|outside)|unbounded)|makes \w+ pointer be out of bounds|unbounded min value is not allowed/,
    when: (_, context) => !computes(context),
    code: 'ERR_BCC_BOUNDS',
    message: ([, register], context) =>
      `an index or offset has no bound that the kernel can see${register ? `, and may reach outside the leaf${inMap(register, context)}` : ''}`,
    hint: () => BOUND_HINT,
  },
  {
    pattern: /R0 !read_ok/,
    code: 'ERR_BCC_UNINITIALIZED',
    message: () => 'it ends, or a function in it does, without a return value',
    hint: () => 'return a number on every path',
  },
  {
    pattern: /R(\d+) !read_ok/,
    code: 'ERR_BCC_UNINITIALIZED',
    message: () => 'it uses a variable, or an argument, that was never set',
    hint: () =>
      'give every variable a value where it is declared; a helper call destroys its argument registers in inline assembly',
  },
  {
    pattern: /R(\d+) type=(\S+) expected=(.*)/,
    code: 'ERR_BCC_ARGUMENT',
    message: ([, register, type], context) =>
      `argument ${register} of ${calledHelper(context)} is ${pointerName(type!)}, which it does not take`,
    hint: ([, , type]) =>
      type === 'ctx' || type === 'inv' || type === 'scalar'
        ? 'copy the data to a variable on the stack first, and pass its address'
        : 'keys and leaves must lie on the stack or in a leaf; pointers to them must be checked for NULL first',
  },
  {
    pattern: /cannot pass map_type (\d+) into func (\S+?)#/,
    code: 'ERR_BCC_MAP_HELPER',
    message: ([, , name]) => `${name} does not work on a table of this kind`,
    hint: () => MAP_HELPER_HINT,
  },
  {
    pattern: /unreachable insn (\d+)/,
    code: 'ERR_BCC_UNREACHABLE',
    message: ([, insn]) => `instruction ${insn} can never run, which the kernel does not allow`,
    hint: () => 'a loop without an end or inline assembly that jumps leaves such code behind',
  },
  {
    pattern: /jump out of range from insn|last insn is not an exit or jmp|call to invalid destination/,
    code: 'ERR_BCC_JUMP',
    message: () =>
      'it jumps or runs on to where there is no code: it calls a function that does not exist, or that was not inlined',
    hint: () =>
      'declare functions of your own static inline; bpf_usdt_readarg works only in functions that a context in usdtContexts enables',
  },
  {
    pattern:
      /pointer arithmetic(?: with)? \S+ ?.*prohibited|pointer arithmetic on \S+ prohibited|has pointer with unsupported alu|math between \S+ pointer and/,
    code: 'ERR_BCC_POINTER_ARITHMETIC',
    message: () => 'it computes with a pointer in a way that BPF does not allow',
    hint: () =>
      'add and subtract bounded numbers only; copy an address to be sent to user space with bpf_probe_read_kernel',
  },
  {
    pattern: /leaks addr|R\d+ pointer comparison prohibited/,
    code: 'ERR_BCC_LEAK',
    message: () => 'it would show an address of the kernel to an unprivileged process',
    hint: () => privilegeHint(1, 'CAP_PERFMON') ?? 'run as root, or give the process CAP_PERFMON',
  },
  {
    pattern:
      /(?:At program exit|R0 has|the register R0 has)[\s\S]*?(?:should have been|to be) in ([^\n]*)|At program exit the register R0 has ([^\n]*)/,
    code: 'ERR_BCC_RETURN_VALUE',
    message: (match, context) => `${kindOf(context)} must return a value in ${match[1] ?? 'the range of its hook'}`,
    hint: () =>
      'return 0 or 1 from cgroup programs, 0 or a negative errno from LSM programs, an XDP action from XDP programs',
  },
  {
    pattern:
      /(\S+) is not a kernel function|Tracing programs must provide btf_id|func '\S+' doesn't have|can't trace|BTF_ID not found/i,
    code: 'ERR_BCC_ATTACH_TARGET',
    message: () => 'the kernel function it is meant for cannot be traced this way',
    hint: () =>
      'check the name in /proc/kallsyms; inlined functions and those marked notrace have no entry to attach to',
  },
  {
    pattern: /calling kernel function (\S+) is not allowed|kernel function call .* not allowed/,
    code: 'ERR_BCC_KFUNC',
    message: ([, name], context) => `${kindOf(context)} may not call the kernel function ${name ?? 'that it names'}`,
    hint: () => 'only kfuncs that the kernel registers for this program type can be called',
  },
  {
    pattern: /fd (-?\d+) is not pointing to valid bpf_map/,
    code: 'ERR_BCC_MAP',
    message: ([, fd]) => `it names a table by the descriptor ${fd}, which is no table`,
    hint: () => 'the table was closed, or belongs to another process',
  },
  {
    pattern: /unknown opcode ([0-9a-f]+)|unknown insn class|invalid BPF_\w+ insn|uses reserved fields/,
    code: 'ERR_BCC_OPCODE',
    message: () => 'it has an instruction that this kernel does not know',
    hint: () =>
      'the compiler was told a newer BPF than the kernel has: leave -mcpu out of cflags; an extern function that was not resolved looks the same',
  },
  {
    pattern: /frame pointer is read only/,
    code: 'ERR_BCC_INSTRUCTION',
    message: () => 'it writes to R10, the frame pointer, which is read only',
  },
  {
    pattern: /div by zero|invalid shift (\d+)/,
    code: 'ERR_BCC_INSTRUCTION',
    message: ([, bits]) =>
      bits ? `it shifts by ${bits} bits, more than the register has` : 'it divides by the constant zero',
  },
  {
    pattern: /might sleep|sleepable|in non-sleepable/,
    code: 'ERR_BCC_SLEEPABLE',
    message: () => 'it calls what may sleep, in a program that must not',
    hint: () => 'only fentry, LSM, uprobe and iterator programs can be loaded as sleepable',
  },
  {
    pattern: /tracing progs cannot use bpf_spin_lock/,
    code: 'ERR_BCC_LOCK',
    message: () => 'programs that trace may not use a bpf_spin_lock',
    hint: () => 'count with atomics (lock_xadd, table.increment), or give each CPU its own value (BPF_PERCPU_HASH)',
  },
  {
    pattern: /function calls are not allowed while holding a lock|bpf_spin_(?:un)?lock/,
    code: 'ERR_BCC_LOCK',
    message: () => 'it uses a bpf_spin_lock in a way that the kernel does not allow',
    hint: () => 'hold one lock at a time, call nothing while it is held, release it on every path',
  },
  {
    pattern: /tail_calls? (?:are|is) not allowed|cannot tail call/,
    code: 'ERR_BCC_TAIL_CALL',
    message: () => 'it makes a tail call where the kernel allows none',
    hint: () => 'make tail calls from the main function of the program',
  },
  {
    pattern: /unknown func (\S+)/,
    code: 'ERR_BCC_HELPER',
    message: ([, name]) => `it calls ${name}, which the kernel does not have for this kind of program`,
  },
  {
    pattern:
      /in-kernel btf is malformed|btf_vmlinux is malformed|missing BTF|failed to find kernel BTF|Invalid (?:btf|BTF)/,
    code: 'ERR_BCC_BTF',
    message: () => "the kernel's or the program's type information (BTF) is missing or not to be understood",
    hint: () =>
      'this kind of program needs a kernel built with CONFIG_DEBUG_INFO_BTF: /sys/kernel/btf/vmlinux must exist',
  },
];

interface ErrnoExplanation {
  code: string;
  message: (context: Context) => string;
  hint: (context: Context) => string | undefined;
}

/** What the error number alone says, where the verifier wrote nothing. */
const BY_ERRNO: Readonly<Record<number, ErrnoExplanation>> = {
  1: {
    code: 'ERR_BCC_PRIVILEGE',
    message: (context) => `this process may not load ${kindOf(context)}`,
    hint: ({ facts }) =>
      privilegeHint(1, ...neededFor(facts.progType)) ??
      (facts.progType === TRACING || facts.progType === LSM
        ? 'this kernel lets nobody load fentry, fexit or LSM programs: attach by kprobe or tracepoint instead'
        : 'kernel lockdown (/sys/kernel/security/lockdown), a container without the capabilities, or a security module forbids it'),
  },
  2: {
    code: 'ERR_BCC_ATTACH_TARGET',
    message: () => 'the kernel knows nothing of the name that it is to be attached to',
    hint: () => 'check the name in /proc/kallsyms',
  },
  7: {
    code: 'ERR_BCC_TOO_COMPLEX',
    message: ({ parsed }) =>
      wasCut(parsed)
        ? 'the kernel gave up after walking through as many instructions as it is ready to'
        : 'it has more instructions than the kernel takes from this process',
    hint: ({ parsed }) =>
      wasCut(parsed)
        ? TOO_COMPLEX_HINT
        : 'split the program with a BPF_PROG_ARRAY; as root, Linux 5.2 and newer take a million, before and otherwise 4096',
  },
  12: {
    code: 'ERR_BCC_MEMORY',
    message: () => 'the kernel has no memory for it',
    hint: () => 'raise the memory limit of the cgroup, or RLIMIT_MEMLOCK before Linux 5.11 (ulimit -l unlimited)',
  },
  22: {
    code: 'ERR_BCC_LOAD',
    message: (context) => `the kernel does not take it as ${kindOf(context)}`,
    hint: () =>
      'the kernel may not know this kind of program, or not for this kind of attachment; tsbcc doctor lists what it knows',
  },
  28: {
    code: 'ERR_BCC_LOAD',
    message: () => 'the log of the verifier is larger than any that is kept',
    hint: () => 'make the program smaller until it loads: the part that was left out last is the cause',
  },
  524: {
    code: 'ERR_BCC_UNSUPPORTED',
    message: (context) => `the kernel was built without what ${kindOf(context)} needs`,
    hint: () => "the kernel's configuration decides: CONFIG_BPF_JIT, CONFIG_BPF_LSM, CONFIG_FPROBE and their kin",
  },
};

function excerptOf({ facts, parsed }: Context): string {
  const { text, lines: known = [] } = facts;
  const lines: string[] = [];
  const around = known.length > 0 ? known : parsed.annotations;
  const own = (annotated: AnnotatedLine) => (text === undefined ? 0 : ownLine(annotated, around, text));
  const show = (line: number) => `line ${line}: ${text!.split('\n')[line - 1]!.trim()}`;
  if (wasCut(parsed)) lines.push('the log is longer than what is kept of it, and ends at');
  if (parsed.source) {
    const line = own(parsed.source);
    if (line > 0) {
      lines.push(show(line));
    } else {
      lines.push(`in: ${parsed.source.text}`);
      // A line of BCC's own headers, most often: the line of the user's before it is where it was called.
      const caller = parsed.annotations
        .slice(-NEAREST)
        .map(own)
        .findLast((number) => number > 0);
      if (caller) lines.push(`after ${show(caller)}`);
    }
  }
  if (parsed.instruction) lines.push(`instruction ${parsed.instruction.index}: ${parsed.instruction.text}`);
  lines.push(...parsed.reason.slice(-3));
  return lines.map((line) => `\n    ${line}`).join('');
}

/** Says in a sentence why the kernel refused a function, and shows the place. */
export function explainLoadFailure(facts: LoadFailureFacts): LoadFailure {
  const parsed = parseVerifierLog(facts.log, facts.lines);
  const context: Context = { facts, parsed };
  const excerpt = excerptOf(context);
  const reason = parsed.reason.join('\n');
  for (const { pattern, when, code, message, hint } of EXPLANATIONS) {
    const match = pattern.exec(reason);
    if (match && (when?.(match, context) ?? true))
      return { code, message: message(match, context), hint: hint?.(match, context), excerpt };
  }
  const byErrno = BY_ERRNO[facts.errno];
  if (byErrno && reason === '') {
    return { code: byErrno.code, message: byErrno.message(context), hint: byErrno.hint(context), excerpt };
  }
  const message = reason === '' ? 'it gave no reason' : (parsed.reason.at(-1) ?? 'it gave no reason');
  return { code: 'ERR_BCC_LOAD', message, hint: undefined, excerpt };
}
