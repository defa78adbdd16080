// Work queues: which function runs, how long it waited.
#include <linux/workqueue.h>

BPF_HASH(queued, struct work_struct *);
BPF_HASH(functions, u64);

int on_queue(struct pt_regs *ctx, int cpu, struct workqueue_struct *wq, struct work_struct *work) {
  u64 now = bpf_ktime_get_ns();
  queued.update(&work, &now);
  return 0;
}

int on_run(struct pt_regs *ctx, struct worker *worker, struct work_struct *work) {
  u64 *then = queued.lookup(&work);
  if (!then)
    return 0;
  u64 function = (u64)work->func;
  functions.increment(function, bpf_ktime_get_ns() - *then);
  queued.delete(&work);
  return 0;
}
