// How long tasks wait for a processor.
#include <linux/sched.h>
#include <linux/nsproxy.h>

BPF_HASH(queued, u32);
BPF_HISTOGRAM(waits);

int on_wakeup(struct pt_regs *ctx, struct rq *rq, struct task_struct *task) {
  u32 pid = task->pid;
  if (pid == 0)
    return 0;
  u64 now = bpf_ktime_get_ns();
  queued.update(&pid, &now);
  return 0;
}

int on_switch(struct pt_regs *ctx, struct task_struct *prev) {
  u32 pid = prev->pid;
  if (prev->__state == TASK_RUNNING) {
    u64 now = bpf_ktime_get_ns();
    queued.update(&pid, &now);
  }
  u32 current_pid = bpf_get_current_pid_tgid();
  u64 *then = queued.lookup(&current_pid);
  if (!then)
    return 0;
  waits.increment(bpf_log2l(bpf_ktime_get_ns() - *then));
  queued.delete(&current_pid);
  return 0;
}
