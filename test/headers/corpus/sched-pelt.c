// Load averages of a task's scheduling entity.
#include <linux/sched.h>
#include <linux/sched/topology.h>

struct event_t {
  u64 load, util, runnable;
  u64 last;
};
BPF_PERF_OUTPUT(events);

int on_update(struct pt_regs *ctx, u64 now, struct cfs_rq *cfs_rq, struct sched_entity *se) {
  struct event_t e = {};
  e.load = se->avg.load_avg;
  e.util = se->avg.util_avg;
  e.runnable = se->avg.runnable_avg;
  e.last = se->avg.last_update_time;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
