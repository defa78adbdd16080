// Signals that a task blocks and that wait for it.
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/signal_types.h>

struct event_t {
  u64 blocked, pending, shared;
  int threads;
};
BPF_PERF_OUTPUT(events);

int on_dequeue(struct pt_regs *ctx) {
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  struct event_t e = {};
  e.blocked = task->blocked.sig[0];
  e.pending = task->pending.signal.sig[0];
  e.shared = task->signal->shared_pending.signal.sig[0];
  e.threads = task->signal->nr_threads;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
