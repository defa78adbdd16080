// Latency of reads as a histogram, regular files alone.
#include <linux/fs.h>
#include <linux/sched.h>

BPF_HASH(start, u32);
BPF_HISTOGRAM(latency);

int on_read(struct pt_regs *ctx, struct file *file) {
  umode_t mode = file->f_inode->i_mode;
  if (!S_ISREG(mode) || (file->f_flags & O_DIRECT))
    return 0;
  u32 tid = bpf_get_current_pid_tgid();
  u64 now = bpf_ktime_get_ns();
  start.update(&tid, &now);
  return 0;
}

int after_read(struct pt_regs *ctx) {
  u32 tid = bpf_get_current_pid_tgid();
  u64 *begun = start.lookup(&tid);
  if (!begun)
    return 0;
  ssize_t size = PT_REGS_RC(ctx);
  if (size > 0)
    latency.increment(bpf_log2l((bpf_ktime_get_ns() - *begun) / 1000));
  start.delete(&tid);
  return 0;
}
