#include <linux/sched.h>
// tgid stands where only this kernel's own types say.
struct event { u32 pid; u32 tgid; char comm[TASK_COMM_LEN]; };
BPF_RINGBUF_OUTPUT(events, 1);
BPF_HASH(calls, u32, u64);
int on_call(void *ctx) {
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  struct event e = {};
  e.pid = bpf_get_current_pid_tgid() >> 32;
  e.tgid = task->tgid;
  bpf_get_current_comm(e.comm, sizeof(e.comm));
  calls.increment(e.pid);
  events.ringbuf_output(&e, sizeof(e), 0);
  return 0;
}

// The record of this tracepoint has changed between kernels.
BPF_HASH(children, u32, u32);
TRACEPOINT_PROBE(sched, sched_process_fork) {
  u32 child = args->child_pid, parent = bpf_get_current_pid_tgid() >> 32;
  children.update(&child, &parent);
  return 0;
}
