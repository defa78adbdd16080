// A histogram of how long tasks wait for a CPU, from when they could run to when they do. `tsbcc runqlat` does more.
import { BCC } from 'tsbcc';
import { limits } from './lib/limits';

const b = new BCC(`
BPF_HASH(runnable, u32, u64);
BPF_HISTOGRAM(waits);

static int woken(u32 tid) {
    u64 now = bpf_ktime_get_ns();
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
    // A task that was only preempted goes on waiting.
    if (args->prev_pid && !(args->prev_state & 0xff))
        woken(args->prev_pid);
    u32 next = args->next_pid;
    u64 *since = runnable.lookup(&next);
    if (!since)
        return 0;
    waits.atomic_increment(bpf_log2l((bpf_ktime_get_ns() - *since) / 1000));
    runnable.delete(&next);
    return 0;
}`);
const limit = limits();

console.log('Tracing run queue latency; Ctrl-C ends.');
const timer = setInterval(() => {
  if (!limit.reached) return;
  clearInterval(timer);
  b.table('waits').printLog2Hist('usecs');
  b.close();
}, 100);
