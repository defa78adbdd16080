// The pid by which a task is known inside its own pid namespace.
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/sched.h>

struct event_t {
  u32 outside, inside, level;
};
BPF_PERF_OUTPUT(events);

int on_wake(struct pt_regs *ctx, struct task_struct *task) {
  struct event_t e = {};
  struct pid *pid = task->thread_pid;
  e.outside = task->pid;
  e.level = pid->level;
  if (e.level >= MAX_PID_NS_LEVEL)
    return 0;
  struct upid upid = {};
  bpf_probe_read_kernel(&upid, sizeof(upid), &pid->numbers[e.level]);
  e.inside = upid.nr;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
