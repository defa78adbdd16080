// Write-back: how much is asked for and why.
#include <linux/writeback.h>
#include <linux/backing-dev-defs.h>
#include <linux/fs.h>

struct event_t {
  u64 pages, written;
  u32 background, sync;
};
BPF_PERF_OUTPUT(events);

int on_writepages(struct pt_regs *ctx, struct address_space *mapping, struct writeback_control *wbc) {
  struct event_t e = {};
  e.pages = wbc->nr_to_write;
  e.written = wbc->pages_skipped;
  e.sync = wbc->sync_mode == WB_SYNC_ALL;
  loff_t from = wbc->range_start;
  if (from < 0)
    return 0;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
