import { mapPrivilegeHint } from '../capabilities';
import { type Diagnostic, didYouMean } from '../errors';
import { listTracepoints } from '../kernel/tracefs';
import { helperNames } from './helpers';

/** The user's own text, and how much was put before it in what the compiler saw. */
export interface ProgramText {
  text: string;
  /** Lines of generated text before the user's first line; 0 where there are none. */
  linesBefore?: number;
  /** The file that the text was read from. */
  file?: string;
  /** The header file that stands first in what was put before the text, and its lines. */
  header?: { file: string; lines: number };
  /** Where the kernel's headers came from: `btf` where they were made from the kernel's type information. */
  headers?: string;
}

/** How the process that compiled ended, where it was one of its own. */
export interface CompilerExit {
  code: number | null;
  signal: string | null;
}

/** A failed compilation in words. `message` and `hint` are for people, `code` for programs. */
export interface CompileFailure {
  code: string;
  message: string;
  hint: string | undefined;
  diagnostics: Diagnostic[];
}

/** The name that libbcc gives the program's text. */
export const MAIN_FILE = '/virtual/main.c';

/** Stands as `file` of a message about lines that the library put around the user's. */
const GENERATED_FILE = '/virtual/generated.c';

const SEVERITY = '(fatal error|error|warning|note)';
const LOCATED = new RegExp(`^(\\S[^:]*):(\\d+):(\\d+): ${SEVERITY}: (.*)$`);
/** Messages of LLVM's back end begin with the severity, and place themselves in the text as libbcc rewrote it. */
const BACKEND = new RegExp(`^${SEVERITY}: (.*)$`);
const BACKEND_PLACE = /^(\S[^:]*):(\d+):(\d+): in function (\S+) [^:]*: (.*)$/;
const INLINE_ASSEMBLY = /^(<inline asm>):(\d+):(\d+): (.*)$/;
const LIBBCC_MAP = /^could not open bpf map: (\S+), error: (.*)$/;
const GENERATED_COUNT = /^\d+ (warnings?|errors?)( and \d+ errors?)? generated\.$/;

/** clang counts columns in bytes, people in characters. */
function characterColumn(source: string | undefined, byteColumn: number): number {
  if (source === undefined || byteColumn === 0) return byteColumn;
  return (
    Buffer.from(source)
      .subarray(0, byteColumn - 1)
      .toString().length + 1
  );
}

const TRACEPOINT_FUNCTION = /\bTRACEPOINT_PROBE\s*\(|\btracepoint__\w+\s*\(/;

/**
 * From the compiler's lines to the user's. Before a function of a tracepoint that takes its struct libbcc writes that
 * struct out, of which only the messages themselves tell how long it is: by the lines that they show.
 */
class Places {
  readonly #program: ProgramText;
  readonly #lines: string[];
  /** By line of the user's, from 0: how many functions of tracepoints begin there or before. */
  readonly #structs: number[] = [];
  /** By that number: how many lines stand before. */
  readonly #shifts: (number | undefined)[] = [0];

  constructor(program: ProgramText, shown: readonly { line: number; source: string }[]) {
    this.#program = program;
    this.#lines = program.text.split('\n');
    let structs = 0;
    for (const line of this.#lines) {
      if (TRACEPOINT_FUNCTION.test(line)) structs++;
      this.#structs.push(structs);
    }
    for (let count = 1, least = 0; count <= structs; count++) {
      this.#shifts[count] = this.#shiftOf(count, shown, least);
      least = this.#shifts[count] ?? least;
    }
  }

  /** The shift that most messages agree to, of several the smallest that is possible. */
  #shiftOf(structs: number, shown: readonly { line: number; source: string }[], least: number): number | undefined {
    const votes = new Map<number, number>();
    for (const { line, source } of shown) {
      for (const [index, text] of this.#lines.entries()) {
        const shift = line - (this.#program.linesBefore ?? 0) - (index + 1);
        if (this.#structs[index] !== structs || text !== source || shift < least) continue;
        votes.set(shift, (votes.get(shift) ?? 0) + 1);
      }
    }
    return [...votes].sort(([a, votesA], [b, votesB]) => votesB - votesA || a - b)[0]?.[0];
  }

  find(line: number, source: string | undefined): { file: string; line: number; source: string | undefined } {
    const { file = MAIN_FILE, linesBefore = 0, header } = this.#program;
    for (const [structs, shift] of [...this.#shifts.entries()].reverse()) {
      if (shift === undefined) continue;
      const own = line - linesBefore - shift;
      const text = this.#lines[own - 1];
      if (text !== undefined && this.#structs[own - 1] === structs && (source === undefined || source === text)) {
        return { file, line: own, source: text };
      }
    }
    const text = this.#lines[line - linesBefore - 1];
    // Text that was rewritten (a call of an extern table, a counter of losses) shows itself, and stands where it stood.
    if (text !== undefined && this.#shifts.length === 1)
      return { file, line: line - linesBefore, source: source ?? text };
    if (header && line <= header.lines) return { file: header.file, line, source };
    return { file: GENERATED_FILE, line, source };
  }
}

/** The line on which a function of the user's text is defined, 0 where it is not found (macros define functions too). */
function definitionLine(name: string, program: ProgramText | undefined): number {
  if (!program) return 0;
  const definition = new RegExp(`^[A-Za-z_][^;{}#]*\\b${name.replace(/[^\w]/g, '')}\\s*\\(`);
  return program.text.split('\n').findIndex((line) => definition.test(line)) + 1;
}

function backend(severity: Diagnostic['severity'], text: string, program: ProgramText | undefined): Diagnostic {
  const placed = BACKEND_PLACE.exec(text);
  if (placed) {
    // The line is one of the rewritten text; what can be told truly is the function.
    const [, file, , , name, message] = placed;
    const line = definitionLine(name!, program);
    const source = line > 0 ? program!.text.split('\n')[line - 1] : undefined;
    return {
      file: program?.file ?? file!,
      line,
      column: 0,
      severity,
      message: `in function ${name}: ${message}`,
      source,
    };
  }
  const assembly = INLINE_ASSEMBLY.exec(text);
  if (assembly) {
    const [, file, line, column, message] = assembly;
    return { file: file!, line: Number(line), column: Number(column), severity, message: message! };
  }
  return { file: MAIN_FILE, line: 0, column: 0, severity, message: text };
}

/** Reads what clang, LLVM and libbcc print. Lines are the user's own where `program` tells what was put before them. */
export function parseDiagnostics(output: string, program?: ProgramText): Diagnostic[] {
  const lines = output.split('\n');
  const found: Diagnostic[] = [];
  const shownBelow = (i: number) => (/^[\s~]*\^/.test(lines[i + 2] ?? '') ? lines[i + 1] : undefined);
  const located = lines.map((line) => LOCATED.exec(line));
  const shown = located.flatMap((match, i) => {
    const source = shownBelow(i);
    return match?.[1] === MAIN_FILE && source !== undefined ? [{ line: Number(match[2]), source }] : [];
  });
  const places = program && new Places(program, shown);
  for (let i = 0; i < lines.length; i++) {
    const text = lines[i]!;
    const match = located[i];
    if (match) {
      const [, file, line, column, severity, message] = match;
      const given = { file: file!, line: Number(line), source: shownBelow(i) };
      const own = places && file === MAIN_FILE ? places.find(given.line, given.source) : given;
      const { source } = own;
      const at = characterColumn(source, Number(column));
      found.push({ ...own, column: at, severity: severity as Diagnostic['severity'], message: message! });
      continue;
    }
    const unplaced = BACKEND.exec(text);
    if (unplaced) {
      found.push(backend(unplaced[1] as Diagnostic['severity'], unplaced[2]!, program));
      const source = shownBelow(i);
      if (source !== undefined) found.at(-1)!.source = source;
      continue;
    }
    const map = LIBBCC_MAP.exec(text);
    if (map) {
      const message = `the kernel refused the map ${map[1]}: ${map[2]}`;
      found.push({ file: MAIN_FILE, line: 0, column: 0, severity: 'error', message });
    }
  }
  // A macro's mistake is reported once for every time the macro uses the argument.
  const seen = new Set<string>();
  return found.filter((one) => {
    const key = JSON.stringify(one);
    return seen.has(key) ? false : seen.add(key);
  });
}

interface Explanation {
  pattern: RegExp;
  code?: string;
  message?: (match: RegExpExecArray) => string;
  hint?: (match: RegExpExecArray, program: ProgramText | undefined) => string | undefined;
}

const HEADERS_OF: Readonly<Record<string, string>> = {
  TASK_COMM_LEN: 'linux/sched.h',
  NAME_MAX: 'linux/limits.h',
  PATH_MAX: 'linux/limits.h',
  AF_INET: 'linux/socket.h',
  AF_INET6: 'linux/socket.h',
  ETH_P_IP: 'uapi/linux/if_ether.h',
  ETH_P_IPV6: 'uapi/linux/if_ether.h',
  ETH_HLEN: 'uapi/linux/if_ether.h',
  IPPROTO_TCP: 'uapi/linux/in.h',
  IPPROTO_UDP: 'uapi/linux/in.h',
  task_struct: 'linux/sched.h',
  sock: 'net/sock.h',
  inet_sock: 'net/inet_sock.h',
  tcp_sock: 'linux/tcp.h',
  sk_buff: 'linux/skbuff.h',
  file: 'linux/fs.h',
  inode: 'linux/fs.h',
  dentry: 'linux/dcache.h',
  request: 'linux/blkdev.h',
  nsproxy: 'linux/nsproxy.h',
  pid_namespace: 'linux/pid_namespace.h',
  ethhdr: 'uapi/linux/if_ether.h',
  iphdr: 'uapi/linux/ip.h',
  ipv6hdr: 'uapi/linux/ipv6.h',
  tcphdr: 'uapi/linux/tcp.h',
  udphdr: 'uapi/linux/udp.h',
  bpf_perf_event_data: 'uapi/linux/bpf_perf_event.h',
};

function includeHint(name: string): string | undefined {
  const header = Object.hasOwn(HEADERS_OF, name) ? HEADERS_OF[name] : undefined;
  return header && `add #include <${header}> to the program`;
}

const FLOATING_POINT = /^__(float|fix|add|sub|mul|div|neg|extend|trunc|eq|ne|lt|le|gt|ge|unord)\w*?[sdtx]f\w*$/;
const WIDE_INTEGER = /^__(mul|u?div|u?mod|ashl|ashr|lshr)ti\d$/;

function builtinMessage(name: string): string {
  if (FLOATING_POINT.test(name)) return 'it computes with floating-point numbers, which BPF does not have';
  if (WIDE_INTEGER.test(name)) return 'it computes with 128-bit integers, which BPF does not have';
  return `it calls ${name}, and BPF programs have no C library`;
}

function builtinHint(name: string): string {
  if (FLOATING_POINT.test(name)) return 'scale to integers in the program, and divide in JavaScript';
  if (WIDE_INTEGER.test(name)) return 'use 64-bit integers';
  if (/^mem(set|cpy|move)$/.test(name)) {
    return `use __builtin_${name} with a size that is a constant, at most 1 KiB; larger objects belong in a map`;
  }
  return 'write a bounded loop, or use a BPF helper that does the same (bpf_probe_read_kernel_str, bpf_strncmp, …)';
}

function nearestTracepoint(category: string, event: string): string | undefined {
  try {
    return didYouMean(`${category}:${event}`, listTracepoints());
  } catch {
    return undefined;
  }
}

const MAP_HINTS: Readonly<Record<string, string>> = {
  'Invalid argument':
    "check the map's sizes: at least one element; a ring buffer's pages and a queue's entries as the kernel takes them; array keys of 4 bytes",
  'Argument list too long': 'make the keys or leaves smaller, or the table shorter',
  'Cannot allocate memory': 'make the table smaller; the kernel has no memory for it (or the memory cgroup none left)',
  'Operation not permitted': 'run as root, or give the process CAP_BPF (CAP_SYS_ADMIN before Linux 5.8)',
};

/** How what BCC's tables have in C is called (bcc/helpers.h). */
const TABLE_METHODS: Readonly<Record<string, string>> = {
  lookup: '(&key)',
  lookup_or_init: '(&key, &initial)',
  lookup_or_try_init: '(&key, &initial)',
  update: '(&key, &leaf)',
  insert: '(&key, &leaf)',
  delete: '(&key)',
  increment: '(key) or (key, by)',
  atomic_increment: '(key) or (key, by)',
  call: '(ctx, index)',
  get_stackid: '(ctx, flags)',
  perf_submit: '(ctx, &data, sizeof(data))',
  perf_submit_skb: '(skb, length, &data, sizeof(data))',
  perf_read: '(cpu)',
  perf_counter_value: '(cpu, &value, sizeof(value))',
  ringbuf_output: '(&data, sizeof(data), flags)',
  ringbuf_reserve: '(size)',
  ringbuf_submit: '(pointer, flags)',
  ringbuf_discard: '(pointer, flags)',
  ringbuf_query: '(flags)',
  push: '(&leaf, flags)',
  pop: '(&leaf)',
  peek: '(&leaf)',
  redirect_map: '(index, flags)',
  check_current_task: '(index)',
  get_local_storage: '(flags)',
  sk_storage_get: '(sk, &initial, flags)',
  sk_storage_delete: '(sk)',
  inode_storage_get: '(inode, &initial, flags)',
  inode_storage_delete: '(inode)',
  task_storage_get: '(task, &initial, flags)',
  task_storage_delete: '(task)',
  sock_map_update: '(skops, &index, flags)',
  msg_redirect_map: '(msg, index, flags)',
  sk_redirect_map: '(skb, index, flags)',
  sock_hash_update: '(skops, &key, flags)',
  msg_redirect_hash: '(msg, &key, flags)',
  sk_redirect_hash: '(skb, &key, flags)',
};

function tableMethodHint(name: string): string | undefined {
  if (name === 'ringbuf_query') return 'libbcc has ringbuf_query since 0.28: install a newer one, or do without';
  if (!Object.hasOwn(TABLE_METHODS, name)) return didYouMean(name, Object.keys(TABLE_METHODS));
  return `tables of another kind have ${name}: see the macro that defines the table`;
}

/** How the last method of a table before the place in the line is called; nothing where there is none. */
function tableCallHint(line: string, place: number): string | undefined {
  const [called] = [...line.slice(0, place).matchAll(/(\w+)\.(\w+)\s*\(/g)]
    .filter(([, , method]) => Object.hasOwn(TABLE_METHODS, method!))
    .slice(-1);
  return called && `it is called ${called[1]}.${called[2]}${TABLE_METHODS[called[2]!]}`;
}

/** Python's BPF() takes a file's name first. */
function fileNameHint(program: ProgramText | undefined): string | undefined {
  if (!program || !/^\s*\S+\.c\s*$/.test(program.text)) return undefined;
  return `the text is the name of a file, which is read by new BCC({ srcFile: '${program.text.trim()}' })`;
}

/** In the order of trust: what names a cause first, what merely reports a symptom last. */
const EXPLANATIONS: readonly Explanation[] = [
  {
    pattern: /Unable to find kernel headers|^chdir\(\S*\): No such file|'\S*linux\/kconfig\.h' file not found/m,
    code: 'ERR_BCC_HEADERS',
    message: () => 'there are no kernel headers for the running kernel',
    hint: () =>
      "install them (Debian: linux-headers-$(uname -r)), or name a source tree in BCC_KERNEL_SOURCE; where /sys/kernel/btf/vmlinux is readable they are made from the kernel's own type information",
  },
  {
    pattern: /in function (\S+) .*stack limit of 512 bytes is exceeded/,
    code: 'ERR_BCC_STACK_LIMIT',
    message: ([, name]) => `the function ${name} keeps more than 512 bytes on the stack, which is all that BPF has`,
    hint: () =>
      'keep large structs and buffers in a BPF_PERCPU_ARRAY of one element, or in the ring buffer itself (ringbuf_reserve)',
  },
  {
    pattern: /in function (\S+) .*built-in function '([^']+)' is not supported/,
    code: 'ERR_BCC_BUILTIN',
    message: ([, name, builtin]) => `the function ${name} cannot become BPF: ${builtinMessage(builtin!)}`,
    hint: ([, , builtin]) => builtinHint(builtin!),
  },
  {
    pattern: /Unsupport(?:ed)? signed division/,
    code: 'ERR_BCC_SIGNED_DIVISION',
    message: () => 'the program divides signed integers, which this version of BPF cannot',
    hint: () => 'make both operands unsigned (u64), and mind the sign yourself',
  },
  {
    pattern: /in function (\S+) .*too many args? /,
    code: 'ERR_BCC_ARGUMENTS',
    message: ([, name]) =>
      `the function ${name} makes a call with more than five arguments, which is all that BPF passes`,
    hint: () =>
      'bpf_trace_printk takes three values; pass a pointer to a struct where a function of yours takes more than five',
  },
  {
    pattern: /cannot call non-static helper function/,
    hint: () => 'declare the called function static inline: libbcc makes every other function a program of its own',
  },
  {
    pattern: /no member named '(\w+)' in 'struct \w+_table_t'/,
    hint: ([, name]) => tableMethodHint(name!),
  },
  {
    pattern: /too (?:few|many) arguments to function call[^\n]*\n(.*)\n([\s~]*)\^/,
    hint: ([, line, before]) => tableCallHint(line!, before!.length),
  },
  {
    pattern: /bpf_table \S+ failed to open/,
    hint: () =>
      'the path of a pinned table lies on a BPF file system (mount -t bpf bpf /sys/fs/bpf), in a folder that this process may write',
  },
  {
    pattern: /could not open bpf map: (\S+), error: (.*)/,
    code: 'ERR_BCC_MAP',
    message: ([, name, reason]) => `the kernel refused the map ${name}: ${reason}`,
    hint: ([, , reason]) =>
      (reason === 'Operation not permitted' ? mapPrivilegeHint() : undefined) ??
      (Object.hasOwn(MAP_HINTS, reason!) ? MAP_HINTS[reason!] : undefined),
  },
  {
    pattern: /LLVM ERROR: Cannot select: .*addrspacecast/,
    code: 'ERR_BCC_LLVM',
    message: () => 'LLVM gave up on a per-CPU pointer (an __percpu member of a kernel struct)',
    hint: () => 'read that member with bpf_probe_read_kernel into a variable of type void *',
  },
  {
    pattern: /LLVM ERROR: (.*)/,
    code: 'ERR_BCC_LLVM',
    message: ([, reason]) => `LLVM gave up: ${reason!.replace(/0x[0-9a-f]+/g, '…')}`,
    hint: () =>
      'leave parts of the program out until it compiles: the part that made it fail is one that BPF cannot express',
  },
  {
    pattern: /fatal error: '([^']+)' file not found/,
    hint: ([, name]) =>
      name!.startsWith('bcc/') || name!.startsWith('/')
        ? undefined
        : `check the name; the kernel's headers have linux/, net/, asm/ and uapi/linux/, a folder of your own is added with cflags: ['-Ifolder']`,
  },
  {
    pattern: /implicitly declaring library function '(\w+)'/,
    hint: ([, name]) => builtinHint(name!),
  },
  {
    pattern: /cannot use map function inside a macro/,
    hint: () => 'make the macro a static inline function: libbcc rewrites calls of tables where they are written',
  },
  {
    pattern: /undeclared identifier '__(noinline|always_inline|packed|aligned|unused|used|section)__'/,
    hint: ([, name]) =>
      `write ${name} without __attribute__(()): the kernel's headers define the word as the whole attribute`,
  },
  {
    pattern: /incomplete definition of type 'struct (?:tracepoint__)([a-z0-9]\w*?)__(\w+)'/,
    code: 'ERR_BCC_TRACEPOINT',
    message: ([, category, event]) => `the tracepoint ${category}:${event} is not known`,
    hint: ([, category, event]) =>
      nearestTracepoint(category!, event!) ??
      `ls /sys/kernel/tracing/events/${category} shows the names; where that folder is empty: mount -t tracefs tracefs /sys/kernel/tracing`,
  },
  {
    pattern: /implicit declaration of function '([^']+)'|call to undeclared function '([^']+)'/,
    hint: (match, program) => {
      const name = match[1] ?? match[2]!;
      const near = didYouMean(name, helperNames());
      if (near) return near;
      return program?.headers === 'btf'
        ? `${name} is no BPF helper; inline functions and macros of the kernel are not in its type information: define it in the program, or install the kernel's headers`
        : `${name} is neither a BPF helper nor defined in the program or its headers`;
    },
  },
  {
    pattern: /reference to undefined table/,
    code: 'ERR_BCC_EXTERN_TABLE',
    hint: () => 'load the program that defines it with BPF_TABLE_PUBLIC or BPF_TABLE_SHARED first, and keep it open',
  },
  {
    pattern: /unsupported map type: maps\/(\S+)/,
    hint: ([, name]) => didYouMean(name!, MAP_TYPE_NAMES) ?? `the map types are ${MAP_TYPE_NAMES.join(', ')}`,
  },
  {
    pattern: /undeclared identifier '(\w+)'\n.*\b\1\.(\w+)\s*\(/,
    hint: ([, name, method]) =>
      Object.hasOwn(TABLE_METHODS, method!)
        ? `the program defines no table ${name}: one is made at the top by a macro like BPF_HASH(${name}, u32, u64)`
        : undefined,
  },
  {
    pattern: /undeclared identifier '([^']+)'/,
    hint: ([, name], program) =>
      program?.headers === 'btf' && /^[A-Z][A-Z0-9_]+$/.test(name!)
        ? `${name} is a macro that neither BTF nor tsbcc's headers have, or a constant of another kernel: define it in the program, or install the kernel's headers`
        : includeHint(name!),
  },
  {
    pattern: /(?:incomplete (?:definition of )?type|unknown type name) '(?:struct )?(\w+)'/,
    hint: ([, name], program) =>
      program?.headers === 'btf'
        ? `the kernel's own type information has no ${name}; where a module defines it: headers: { modules: ['<module>'] }`
        : includeHint(name!),
  },
  {
    pattern: /redefinition of '([^']+)'[\s\S]*?\n(?!\/virtual\/main\.c)\S+: note: previous definition/,
    hint: ([, name]) => `the kernel's headers define ${name} too: give yours another name`,
  },
];

const MAP_TYPE_NAMES = [
  'hash',
  'array',
  'percpu_hash',
  'percpu_array',
  'lru_hash',
  'lru_percpu_hash',
  'lpm_trie',
  'histogram',
  'prog',
  'perf_output',
  'perf_array',
  'ringbuf',
  'cgroup_array',
  'stacktrace',
  'array_of_maps',
  'hash_of_maps',
  'devmap',
  'cpumap',
  'xskmap',
  'sockmap',
  'sockhash',
  'queue',
  'stack',
  'sk_storage',
  'inode_storage',
  'task_storage',
  'cgroup_storage',
  'percpu_cgroup_storage',
];

/** `line 4, column 12` in the user's text, `linux/fs.h:12:3` elsewhere, '' where no place is known. */
function where({ file, line, column }: Diagnostic): string {
  if (line === 0) return '';
  if (file === MAIN_FILE) return `line ${line}${column > 0 ? `, column ${column}` : ''}: `;
  return `${file}:${line}${column > 0 ? `:${column}` : ''}: `;
}

function excerpt({ source, column }: Diagnostic): string {
  if (source === undefined || source.trim() === '') return '';
  const text = source.replace(/\t/g, ' ');
  return `\n    ${text}${/\S/.test(text[column - 1] ?? '') || column > text.length ? `\n    ${' '.repeat(column - 1)}^` : ''}`;
}

/** What the compiler warned of, each with its place and the line of the text; '' where it did not. */
export function describeWarnings(output: string, program?: ProgramText): string {
  return parseDiagnostics(output, program)
    .filter(({ severity }) => severity === 'warning')
    .map((warning) => `${where(warning)}warning: ${warning.message}${excerpt(warning)}`)
    .join('\n');
}

/** Says in a sentence or two why a text did not become a program, from all that the compiler printed. */
export function explainCompileFailure(output: string, exit?: CompilerExit, program?: ProgramText): CompileFailure {
  const diagnostics = parseDiagnostics(output, program);
  const errors = diagnostics.filter(({ severity }) => severity === 'error' || severity === 'fatal error');
  let explanation: Explanation | undefined;
  let match: RegExpExecArray | null = null;
  for (const candidate of EXPLANATIONS) {
    match = candidate.pattern.exec(output);
    if (match) {
      explanation = candidate;
      break;
    }
  }
  const code = explanation?.code ?? 'ERR_BCC_COMPILE';
  const hint = fileNameHint(program) ?? (match ? explanation?.hint?.(match, program) : undefined);
  if (match && explanation?.message) {
    const message = explanation.message(match);
    if (errors.length === 0) diagnostics.push({ file: MAIN_FILE, line: 0, column: 0, severity: 'error', message });
    return { code, message, hint, diagnostics };
  }

  const [first] = errors;
  if (first) {
    const more = errors.length - 1;
    const rest = more > 0 ? ` (and ${more} more ${more === 1 ? 'error' : 'errors'})` : '';
    return {
      code,
      message: `the program does not compile: ${where(first)}${first.message}${rest}${excerpt(first)}`,
      hint,
      diagnostics,
    };
  }
  const end = exit?.signal
    ? `the compiler ended by ${exit.signal}`
    : exit?.code
      ? `the compiler ended with status ${exit.code}`
      : 'the compiler gave no program and no reason';
  const last = output
    .split('\n')
    .filter((line) => line.trim() !== '' && !GENERATED_COUNT.test(line))
    .at(-1);
  return { code, message: last ? `${end}; its last words: ${last.trim()}` : end, hint, diagnostics };
}
