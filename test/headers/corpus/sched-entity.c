// The scheduler's book on a task: virtual time, sums, policy, priority, processors allowed.
#include <linux/sched.h>
#include <linux/sched/prio.h>

struct event_t {
  u64 vruntime, sum, slice, run_delay;
  int prio, nice;
  u32 policy, cpus;
};
BPF_PERF_OUTPUT(events);

int on_tick(struct pt_regs *ctx) {
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  struct event_t e = {};
  e.vruntime = task->se.vruntime;
  e.sum = task->se.sum_exec_runtime;
  e.run_delay = task->sched_info.run_delay;
  e.prio = task->prio;
  e.nice = task->static_prio - DEFAULT_PRIO;
  e.policy = task->policy;
  e.cpus = task->nr_cpus_allowed;
  if (e.policy == SCHED_FIFO || e.policy == SCHED_RR)
    e.nice = MAX_NICE;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
