// Slow operations of a file system on a kiocb: offset, flags, name, time.
#include <linux/fs.h>
#include <linux/sched.h>
#include <linux/dcache.h>
#include <linux/uio.h>

struct value_t {
  u64 begun, offset;
  struct file *file;
};
struct event_t {
  u64 delta, offset, size;
  char name[32];
};
BPF_HASH(start, u64, struct value_t);
BPF_PERF_OUTPUT(events);

int on_read_iter(struct pt_regs *ctx, struct kiocb *iocb, struct iov_iter *to) {
  u64 id = bpf_get_current_pid_tgid();
  struct value_t value = {.begun = bpf_ktime_get_ns()};
  if (iocb->ki_flags & IOCB_NOWAIT)
    return 0;
  value.offset = iocb->ki_pos;
  value.file = iocb->ki_filp;
  if (to->count == 0)
    return 0;
  start.update(&id, &value);
  return 0;
}

int after_read_iter(struct pt_regs *ctx) {
  u64 id = bpf_get_current_pid_tgid();
  struct value_t *value = start.lookup(&id);
  if (!value)
    return 0;
  struct event_t e = {.offset = value->offset};
  e.delta = bpf_ktime_get_ns() - value->begun;
  e.size = PT_REGS_RC(ctx);
  struct file *file = value->file;
  start.delete(&id);
  if (e.delta < 10 * NSEC_PER_MSEC)
    return 0;
  bpf_probe_read_kernel_str(e.name, sizeof(e.name), file->f_path.dentry->d_name.name);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
