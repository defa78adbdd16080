// The limits and the elevator of a queue.
#include <linux/blkdev.h>

struct event_t {
  u32 max_sectors, logical, node;
  u64 nr_requests;
};
BPF_PERF_OUTPUT(events);

int on_queue(struct pt_regs *ctx, struct request_queue *q) {
  struct event_t e = {};
  e.max_sectors = q->limits.max_sectors;
  e.logical = q->limits.logical_block_size;
  e.node = q->node;
  e.nr_requests = q->nr_requests;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
