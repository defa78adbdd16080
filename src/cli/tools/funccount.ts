import { basename } from 'node:path';
import { getTracepoints } from '../../attach/tracepoint';
import { getUserFunctionsAndAddresses } from '../../attach/uprobe';
import type { BCC } from '../../bcc';
import { BCCError, UnsupportedError } from '../../errors';
import { features } from '../../kernel/features';
import { getKprobeFunctions } from '../../kernel/probe-functions';
import { ksym } from '../../symbols';
import { USDT } from '../../usdt';
import { type Command, integer, seconds, UsageError } from '../command';
import { showingBusy } from '../progress';
import { DURATION, eachRound, left, macros, PID, print, right, TIMESTAMP, timeOfDay, withProgram } from './support';

/** Places beyond the kernel's functions, each with a BPF function of its own. */
const MOST_PLACES = 1000;

const FILTERS = `
#ifdef OPT_FILTER_PID
    if (bpf_get_current_pid_tgid() >> 32 != OPT_FILTER_PID)
        return 0;
#endif
#ifdef OPT_FILTER_CPU
    if (bpf_get_smp_processor_id() != OPT_FILTER_CPU)
        return 0;
#endif`;

/** One program for all kernel functions: where it runs tells which. */
const KERNEL_TEXT = `
BPF_HASH(counts, u64, u64, 65536);

int on_call(struct pt_regs *ctx) {${FILTERS}
    u64 ip = PT_REGS_IP(ctx);
    counts.atomic_increment(ip);
    return 0;
}
`;

/** Elsewhere a program cannot tell, on every kernel, which of its places it runs at: each place has a function. */
function placesText(places: number): string {
  const functions = Array.from(
    { length: places },
    (_, place) => `
int on_call_${place}(void *ctx) {
    return count(${place});
}`,
  );
  return `
BPF_ARRAY(counts, u64, ${places});

static __always_inline int count(int place) {${FILTERS}
    counts.atomic_increment(place);
    return 0;
}
${functions.join('\n')}
`;
}

/** What a pattern came to: the program, how to attach it, and how to read its counts. */
interface Plan {
  text: string;
  places: number;
  usdtContexts?: USDT[];
  attach(b: BCC, step: (attached: number) => void): void;
  read(b: BCC): [name: string, count: number][];
}

/** A shell pattern as a regular expression of the whole name; with -r it is one already. */
function nameRe(pattern: string, isRegex: boolean): string {
  if (isRegex) return pattern;
  return `^${pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')}$`;
}

function nothingMatches(what: string, pattern: string): BCCError {
  return new BCCError('ERR_BCC_NO_MATCH', `no ${what} has a name like ${JSON.stringify(pattern)}`, {
    hint: 'patterns take * and ?; with -r they are regular expressions',
  });
}

function planKernel(pattern: string, isRegex: boolean): Plan {
  if (!features().kprobes) {
    throw new UnsupportedError('this kernel has no kprobes: calls of its functions cannot be counted', {
      hint: 'count tracepoints (t:syscalls:sys_enter_*) or functions of libraries (c:malloc)',
    });
  }
  const eventRe = nameRe(pattern, isRegex);
  const functions = getKprobeFunctions(eventRe);
  if (functions.length === 0) throw nothingMatches('kernel function', pattern);
  return {
    text: KERNEL_TEXT,
    places: functions.length,
    attach: (b) => {
      if (functions.length === 1) b.attachKprobe({ event: functions[0], fnName: 'on_call' });
      else b.attachKprobe({ eventRe, fnName: 'on_call' });
    },
    read: (b) => {
      const sums = new Map<string, number>();
      for (const [ip, count] of b.table<bigint, bigint>('counts').entries()) {
        const name = ksym(ip as bigint);
        sums.set(name, (sums.get(name) ?? 0) + Number(count));
      }
      return [...sums];
    },
  };
}

function planPlaces(
  what: string,
  pattern: string,
  names: readonly string[],
  attach: (b: BCC, place: number, fnName: string) => void,
): Plan {
  if (names.length === 0) throw nothingMatches(what, pattern);
  if (names.length > MOST_PLACES) {
    throw new UsageError(`${names.length} are too many at once, ${MOST_PLACES} at most: narrow the pattern`);
  }
  return {
    text: placesText(names.length),
    places: names.length,
    attach: (b, step) => {
      for (const place of names.keys()) {
        attach(b, place, `on_call_${place}`);
        step(place + 1);
      }
    },
    read: (b) => {
      const counts = [...b.table<number, bigint>('counts').values()];
      return names.map((name, place) => [name, Number(counts[place])]);
    },
  };
}

function planTracepoints(category: string, event: string, isRegex: boolean): Plan {
  const wanted = new RegExp(nameRe(event, isRegex));
  const tracepoints = getTracepoints(`${category.replaceAll('*', '.*')}:.*`).filter((name) =>
    wanted.test(name.slice(name.indexOf(':') + 1)),
  );
  return planPlaces('tracepoint', `${category}:${event}`, tracepoints, (b, place, fnName) =>
    b.attachTracepoint({ tp: tracepoints[place], fnName }),
  );
}

function plainness(name: string): number {
  return (name.startsWith('_') ? 1000 : 0) + name.length;
}

function planLibrary(library: string, pattern: string, isRegex: boolean, pid: number | undefined): Plan {
  // Of the names that one function has, the plainest: malloc rather than __GI___libc_malloc.
  const byAddress = new Map<bigint, string>();
  for (const [name, address] of getUserFunctionsAndAddresses(library, nameRe(pattern, isRegex))) {
    const known = byAddress.get(address);
    if (known === undefined || plainness(name) < plainness(known)) byAddress.set(address, name);
  }
  const functions = [...byAddress].map(([address, name]) => [name, address] as const);
  const names = functions.map(([name]) => name);
  return planPlaces(`function of ${basename(library)}`, pattern, names, (b, place, fnName) =>
    b.attachUprobe({ name: library, addr: functions[place]![1], fnName, pid: pid ?? -1 }),
  );
}

function planUsdt(library: string, pattern: string, isRegex: boolean, pid: number | undefined): Plan {
  const usdt = new USDT(pid === undefined ? { path: library } : { pid, ...(library !== '' && { path: library }) });
  const wanted = new RegExp(nameRe(pattern, isRegex));
  const names = [...new Set(usdt.enumerateProbes().map(({ name }) => String(name)))].filter((name) =>
    wanted.test(name),
  );
  const plan = planPlaces('USDT probe', pattern, names, () => {});
  for (const [place, probe] of names.entries()) usdt.enableProbe({ probe, fnName: `on_call_${place}` });
  return { ...plan, usdtContexts: [usdt] };
}

function planOf(pattern: string, isRegex: boolean, pid: number | undefined): Plan {
  const parts = pattern.split(':');
  if (parts.length === 1) return planKernel(pattern, isRegex);
  if (parts.length === 2) return planLibrary(parts[0]!, parts[1]!, isRegex, pid);
  const [kind, place, name] = parts as [string, string, string];
  if (parts.length === 3) {
    if (kind === 't') return planTracepoints(place, name, isRegex);
    if (kind === 'u') return planUsdt(place, name, isRegex, pid);
    if (kind === 'p' || kind === '')
      return place === '' ? planKernel(name, isRegex) : planLibrary(place, name, isRegex, pid);
  }
  throw new UsageError(`${JSON.stringify(pattern)} is none of FUNC, LIB:FUNC, t:CATEGORY:EVENT and u:LIB:PROBE`);
}

export const command: Command = {
  usage: '[options] PATTERN',
  about:
    'Counts calls: of kernel functions (FUNC), functions of a library or program (LIB:FUNC), tracepoints\n' +
    '(t:CATEGORY:EVENT) or USDT probes (u:LIB:PROBE). Names may have * and ? in them.',
  options: {
    pid: PID,
    interval: { type: 'string', short: 'i', value: 'SECONDS', help: 'Print after every so many seconds' },
    duration: DURATION,
    timestamp: TIMESTAMP,
    regexp: { type: 'boolean', short: 'r', help: 'The pattern is a regular expression' },
    cpu: { type: 'string', short: 'c', value: 'CPU', help: 'Only on this CPU' },
  },
  examples: [
    ["'vfs_*'", "the kernel's file system functions"],
    ["-d 5 't:syscalls:sys_enter_*'", 'system calls by tracepoint, for five seconds'],
    ["-i 1 'c:*alloc'", 'malloc, calloc and realloc, every second'],
  ],
  async run(values, [pattern, ...rest]) {
    if (pattern === undefined || rest.length > 0)
      throw new UsageError('funccount takes one pattern, such as t:sched:*');
    const pid = integer(values, 'pid', 1);
    const plan = planOf(pattern, values.regexp === true, pid);
    const cflags = macros({ FILTER_PID: pid, FILTER_CPU: integer(values, 'cpu') });
    const interval = seconds(values, 'interval') ?? Number.POSITIVE_INFINITY;
    const options = { text: plan.text, cflags, ...(plan.usdtContexts && { usdtContexts: plan.usdtContexts }) };
    await withProgram(options, seconds(values, 'duration'), async (b, signal) => {
      showingBusy(`attaching to ${plan.places} functions`, plan.places, (step) => plan.attach(b, step));
      print(`Tracing ${plan.places} functions for "${pattern}"... Hit Ctrl-C to end.`);
      await eachRound({ seconds: interval, count: Number.POSITIVE_INFINITY }, signal, () => {
        const counts = plan.read(b).filter(([, count]) => count > 0);
        b.table('counts').zero();
        print();
        if (values.timestamp === true) print(timeOfDay());
        print(`${left('FUNC', 36)} ${right('COUNT', 8)}`);
        for (const [name, count] of counts.sort(([, a], [, c]) => a - c)) print(`${left(name, 36)} ${right(count, 8)}`);
      });
      print('Detaching...');
    });
    return 0;
  },
};
