// Lesson 7: a struct of one's own for every event, through a perf buffer.
import { BCC } from 'tsbcc';
import { attachSyscall } from '../../../examples/lib/attach-syscall';
import { limits } from '../../../examples/lib/limits';

const b = new BCC(`
#include <linux/sched.h>

struct started_t {
    u64 ns;
    u32 pid;
    char comm[TASK_COMM_LEN];
};
BPF_PERF_OUTPUT(started);

int hello(void *ctx) {
    struct started_t event = {};
    event.ns = bpf_ktime_get_ns();
    event.pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(event.comm, sizeof(event.comm));
    started.perf_submit(ctx, &event, sizeof(event));
    return 0;
}`);
attachSyscall(b, 'clone', 'hello');
const limit = limits();

console.log(`${'TIME(s)'.padEnd(18)} ${'COMM'.padEnd(16)} ${'PID'.padEnd(7)} MESSAGE`);
const started = b.table('started');
let begin: bigint | undefined;
started.openPerfBuffer((_cpu, data) => {
  if (!limit.next()) return;
  const { ns, comm, pid } = started.event(data);
  begin ??= ns as bigint;
  const seconds = (Number(ns - begin) / 1e9).toFixed(9);
  console.log(`${seconds.padEnd(18)} ${comm.padEnd(16)} ${String(pid).padEnd(7)} Hello, perf_output!`);
});

// A timer and not `for (;;)`: between two polls Node has its other work to do, Ctrl-C among it.
const timer = setInterval(() => {
  b.perfBufferPoll(0);
  if (!limit.reached) return;
  clearInterval(timer);
  b.close();
}, 50);
