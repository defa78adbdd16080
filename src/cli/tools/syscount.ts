import * as os from 'node:os';
import { type Command, integer, seconds, UsageError } from '../command';
import { requireTracepoints } from './processes';
import { DURATION, eachRound, left, macros, PID, print, right, timeOfDay, withProgram } from './support';
import { syscallName, syscallNames } from './syscalls';

const TEXT = `
struct tally {
    u64 count;
    u64 ns;
    char comm[16];
};
BPF_HASH(tallies, u32, struct tally, 10240);
#ifdef OPT_LATENCY
BPF_HASH(begun, u64, u64, 10240);

TRACEPOINT_PROBE(raw_syscalls, sys_enter) {
    u64 id = bpf_get_current_pid_tgid();
#ifdef OPT_FILTER_PID
    if (id >> 32 != OPT_FILTER_PID)
        return 0;
#endif
    u64 now = bpf_ktime_get_ns();
    begun.update(&id, &now);
    return 0;
}
#endif

TRACEPOINT_PROBE(raw_syscalls, sys_exit) {
    u64 id = bpf_get_current_pid_tgid();
#ifdef OPT_FILTER_PID
    if (id >> 32 != OPT_FILTER_PID)
        return 0;
#endif
#ifdef OPT_FAILED_ONLY
    if (args->ret >= 0)
        return 0;
#endif
#ifdef OPT_FILTER_ERRNO
    if (args->ret != -OPT_FILTER_ERRNO)
        return 0;
#endif
#ifdef OPT_BY_PROCESS
    u32 key = id >> 32;
#else
    u32 key = args->id;
#endif
    struct tally none = {};
#ifdef OPT_LATENCY
    u64 *begin = begun.lookup(&id);
    if (!begin)
        return 0;
    u64 ns = bpf_ktime_get_ns() - *begin;
    begun.delete(&id);
#endif
    struct tally *tally = tallies.lookup_or_try_init(&key, &none);
    if (!tally)
        return 0;
    lock_xadd(&tally->count, 1);
#ifdef OPT_LATENCY
    lock_xadd(&tally->ns, ns);
#endif
#ifdef OPT_BY_PROCESS
    bpf_get_current_comm(&tally->comm, sizeof(tally->comm));
#endif
    return 0;
}
`;

interface Tally {
  count: number;
  ns: number;
  comm: string;
}

function errnoOf(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  const number = os.constants.errno[text.toUpperCase() as keyof typeof os.constants.errno];
  if (number === undefined)
    throw new UsageError(`--errno takes a number or a name like ENOENT, not ${JSON.stringify(text)}`);
  return number;
}

export const command: Command = {
  usage: '[options]',
  about: 'Counts system calls, and on request the time spent in them, until Ctrl-C or for each interval.',
  options: {
    pid: PID,
    interval: { type: 'string', short: 'i', value: 'SECONDS', help: 'Print after every so many seconds' },
    duration: DURATION,
    top: { type: 'string', short: 'T', value: 'N', help: 'Print the N most frequent (10)' },
    failures: { type: 'boolean', short: 'x', help: 'Count failed calls only' },
    errno: { type: 'string', short: 'e', value: 'ERRNO', help: 'Count calls that failed with this, by name or number' },
    latency: { type: 'boolean', short: 'L', help: 'Sum up the time spent in the calls too, and order by it' },
    milliseconds: { type: 'boolean', short: 'm', help: 'With -L: milliseconds instead of microseconds' },
    process: { type: 'boolean', short: 'P', help: 'Count by process instead of by call' },
    list: { type: 'boolean', short: 'l', help: 'Print the names of the system calls and end' },
  },
  examples: [
    ['-d 5', 'the ten most frequent calls of five seconds'],
    ['-P -L -i 1', 'processes by the time they spend in calls, every second'],
    ['-e ENOENT -p 181', 'what a process asks for in vain'],
  ],
  async run(values) {
    if (values.list === true) {
      const names = [...syscallNames().values()].sort();
      process.stdout.write(`${names.join('\n')}\n`);
      return 0;
    }
    const top = integer(values, 'top', 1) ?? 10;
    const byProcess = values.process === true;
    const latency = values.latency === true;
    const [unit, divisor] = values.milliseconds === true ? ['ms', 1e6] : ['us', 1e3];
    const cflags = macros({
      FILTER_PID: integer(values, 'pid', 1),
      FAILED_ONLY: values.failures === true,
      FILTER_ERRNO: typeof values.errno === 'string' ? errnoOf(values.errno) : undefined,
      BY_PROCESS: byProcess,
      LATENCY: latency,
    });
    const interval = seconds(values, 'interval') ?? Number.POSITIVE_INFINITY;
    requireTracepoints('syscount', 'raw_syscalls:sys_enter', 'raw_syscalls:sys_exit');
    await withProgram({ text: TEXT, cflags, int64: 'number' }, seconds(values, 'duration'), async (b, signal) => {
      const tallies = b.table<number, Tally>('tallies');
      print(`Tracing ${values.failures === true ? 'failed ' : ''}syscalls, printing top ${top}... Ctrl+C to quit.`);
      const columns = (name: string, count: unknown, time: string) =>
        print(`${name} ${right(count, 8)}${latency ? ` ${right(time, 16)}` : ''}`);
      const nameOf = (key: number, { comm }: Tally) =>
        byProcess ? `${left(key, 6)} ${left(comm, 15)}` : left(syscallName(key), 22);
      await eachRound({ seconds: interval, count: Number.POSITIVE_INFINITY }, signal, () => {
        const taken = [...tallies.entries()] as [number, Tally][];
        tallies.clear();
        print(`[${timeOfDay()}]`);
        columns(byProcess ? `${left('PID', 6)} ${left('COMM', 15)}` : left('SYSCALL', 22), 'COUNT', `TIME (${unit})`);
        taken.sort(([, a], [, c]) => (latency ? c.ns - a.ns : c.count - a.count));
        for (const [key, tally] of taken.slice(0, top)) {
          columns(nameOf(key, tally), tally.count, (tally.ns / divisor).toFixed(3));
        }
        print();
      });
    });
    return 0;
  },
};
