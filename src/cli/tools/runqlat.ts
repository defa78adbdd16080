import { readFileSync } from 'node:fs';
import { type Command, integer, seconds, UsageError } from '../command';
import { requireTracepoints } from './processes';
import {
  DURATION,
  eachRound,
  HISTOGRAM_OPTIONS,
  histogramPrinter,
  histogramRounds,
  macros,
  PID,
  print,
  TIMESTAMP,
  timeOfDay,
  withProgram,
} from './support';

/*
 * A task that is switched to is not the current one yet, and its process cannot be asked for. Its latency is kept until
 * it is switched from, when it is current, and is counted then.
 */
const TEXT = `
BPF_HASH(runnable, u32, u64, 65536);
#ifdef OPT_NEEDS_PROCESS
BPF_HASH(waited, u32, u64, 65536);
#endif
#if defined(OPT_BY_PROCESS) || defined(OPT_BY_THREAD)
struct slot {
    u32 id;
    u32 slot;
};
BPF_HISTOGRAM(dist, struct slot);
#else
BPF_HISTOGRAM(dist);
#endif

static __always_inline void count(u64 ns, u32 id) {
#if defined(OPT_BY_PROCESS) || defined(OPT_BY_THREAD)
    struct slot slot = {.id = id, .slot = bpf_log2l(ns / OPT_UNIT_NS)};
#else
    int slot = bpf_log2l(ns / OPT_UNIT_NS);
#endif
    dist.atomic_increment(slot);
}

static __always_inline int woken(u32 tid) {
    u64 now = bpf_ktime_get_ns();
    if (tid)
        runnable.update(&tid, &now);
    return 0;
}

TRACEPOINT_PROBE(sched, sched_wakeup) {
    return woken(args->pid);
}
TRACEPOINT_PROBE(sched, sched_wakeup_new) {
    return woken(args->pid);
}

TRACEPOINT_PROBE(sched, sched_switch) {
    u64 now = bpf_ktime_get_ns();
    u32 previous = args->prev_pid;
    // No state bit is set, or only the one that says "preempted": it stays runnable.
    if (previous && !(args->prev_state & 0xff))
        runnable.update(&previous, &now);
#ifdef OPT_NEEDS_PROCESS
    u64 *past = waited.lookup(&previous);
    if (past) {
        u32 process = bpf_get_current_pid_tgid() >> 32;
#ifdef OPT_FILTER_PID
        if (process == OPT_FILTER_PID)
#endif
#ifdef OPT_BY_THREAD
            count(*past, previous);
#else
            count(*past, process);
#endif
        waited.delete(&previous);
    }
#endif
    u32 next = args->next_pid;
    u64 *since = runnable.lookup(&next);
    if (!since)
        return 0;
    u64 ns = now - *since;
    runnable.delete(&next);
#ifdef OPT_NEEDS_PROCESS
    waited.update(&next, &ns);
#else
    count(ns, next);
#endif
    return 0;
}
`;

function named(id: unknown): string {
  try {
    return `${id} ${readFileSync(`/proc/${id}/comm`, 'utf8').trim()}`;
  } catch {
    return String(id);
  }
}

export const command: Command = {
  usage: '[options] [interval [count]]',
  about: 'Shows how long tasks that could run wait for a CPU, as a histogram: at Ctrl-C, or after every interval.',
  options: {
    timestamp: TIMESTAMP,
    milliseconds: { type: 'boolean', short: 'm', help: 'Milliseconds instead of microseconds' },
    pids: { type: 'boolean', short: 'P', help: 'A histogram for each process' },
    tids: { type: 'boolean', short: 'L', help: 'A histogram for each thread' },
    pid: PID,
    ...HISTOGRAM_OPTIONS,
    duration: DURATION,
  },
  examples: [
    ['', 'until Ctrl-C'],
    ['-P 1 5', 'five times for each process, a second each'],
    ['--bars -p 181 -d 10', "one process's ten seconds, over the terminal's width"],
  ],
  async run(values, positionals) {
    if (values.pids === true && values.tids === true) throw new UsageError('give -P or -L, not both');
    const pid = integer(values, 'pid', 1);
    const [unit, ns] = values.milliseconds === true ? ['msecs', 1_000_000] : ['usecs', 1_000];
    const cflags = macros({
      UNIT_NS: ns,
      FILTER_PID: pid,
      BY_PROCESS: values.pids === true,
      BY_THREAD: values.tids === true,
      NEEDS_PROCESS: values.pids === true || pid !== undefined,
    });
    const sections =
      values.pids === true || values.tids === true
        ? { sectionHeader: values.pids === true ? 'pid' : 'tid', sectionPrintFn: named }
        : {};
    const show = histogramPrinter(values, unit, sections);
    const rounds = histogramRounds(values, positionals);
    requireTracepoints('runqlat', 'sched:sched_wakeup', 'sched:sched_switch');
    await withProgram({ text: TEXT, cflags, int64: 'number' }, seconds(values, 'duration'), async (b, signal) => {
      const dist = b.table('dist');
      print('Tracing run queue latency... Hit Ctrl-C to end.');
      await eachRound(rounds, signal, () => {
        if (values.heatmap !== true) print();
        if (values.timestamp === true && values.heatmap !== true) print(timeOfDay());
        show(dist);
        dist.clear();
      });
    });
    return 0;
  },
};
