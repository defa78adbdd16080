// Performance events as they are opened.
#include <linux/perf_event.h>

struct event_t {
  u64 config, period;
  u32 type, state;
};
BPF_PERF_OUTPUT(events);

int on_open(struct pt_regs *ctx, struct perf_event *event) {
  struct event_t e = {};
  e.type = event->attr.type;
  e.config = event->attr.config;
  e.period = event->attr.sample_period;
  e.state = event->state;
  if (e.type == PERF_TYPE_SOFTWARE && e.config == PERF_COUNT_SW_DUMMY)
    return 0;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
