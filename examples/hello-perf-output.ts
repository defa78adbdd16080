// Sends a struct for every process that is started through a perf buffer, and prints when, who and what.
import { BCC } from 'tsbcc';
import { attachSyscall } from './lib/attach-syscall';
import { limits } from './lib/limits';

const b = new BCC(`
#include <linux/sched.h>
struct start_t {
    u64 ns;
    u32 pid;
    char comm[TASK_COMM_LEN];
};
BPF_PERF_OUTPUT(starts);

int hello(struct pt_regs *ctx) {
    struct start_t start = {};
    start.ns = bpf_ktime_get_ns();
    start.pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&start.comm, sizeof(start.comm));
    starts.perf_submit(ctx, &start, sizeof(start));
    return 0;
}`);
attachSyscall(b, 'clone', 'hello');
const limit = limits();

console.log(`${'TIME(s)'.padEnd(18)} ${'COMM'.padEnd(16)} ${'PID'.padEnd(7)} MESSAGE`);
let first = 0n;
const starts = b.table('starts');
starts.openPerfBuffer((_cpu, data) => {
  if (!limit.next()) return;
  const { ns, pid, comm } = starts.event(data);
  if (first === 0n) first = ns;
  const seconds = Number(ns - first) / 1e9;
  console.log(`${seconds.toFixed(9).padEnd(18)} ${comm.padEnd(16)} ${String(pid).padEnd(7)} Hello, perf_output!`);
});

const timer = setInterval(() => {
  b.perfBufferPoll(0);
  if (!limit.reached) return;
  clearInterval(timer);
  b.close();
}, 100);
