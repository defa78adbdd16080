// How a process ended, how long it lived, what it used.
#include <linux/sched.h>
#include <linux/sched/signal.h>

struct event_t {
  u64 age_ns, nvcsw, nivcsw;
  u32 pid;
  int code, signal;
  u32 flags;
};
BPF_RINGBUF_OUTPUT(events, 8);

int on_exit(struct pt_regs *ctx) {
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  if (task->flags & PF_KTHREAD)
    return 0;
  struct event_t e = {};
  e.age_ns = bpf_ktime_get_ns() - task->start_time;
  e.nvcsw = task->nvcsw;
  e.nivcsw = task->nivcsw;
  e.pid = task->pid;
  e.code = task->exit_code >> 8;
  e.signal = task->exit_code & 0x7f;
  e.flags = task->signal->flags & SIGNAL_GROUP_EXIT;
  events.ringbuf_output(&e, sizeof(e), 0);
  return 0;
}
