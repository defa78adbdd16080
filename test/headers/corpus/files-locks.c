// Advisory locks: whose, of what kind, over what range.
#include <linux/version.h>
#include <linux/fs.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#include <linux/filelock.h>
#endif

struct event_t {
  u64 begin, end;
  u32 pid, write;
};
BPF_PERF_OUTPUT(events);

int on_lock(struct pt_regs *ctx, struct file *file, struct file_lock *lock) {
  struct event_t e = {};
  e.begin = lock->fl_start;
  e.end = lock->fl_end;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
  e.pid = lock->c.flc_pid;
  e.write = lock->c.flc_type == F_WRLCK;
#else
  e.pid = lock->fl_pid;
  e.write = lock->fl_type == F_WRLCK;
#endif
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
