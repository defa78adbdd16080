// Kernel timers that expire late, in ticks and nanoseconds.
#include <linux/hrtimer.h>
#include <linux/timer.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>

BPF_HISTOGRAM(late);
BPF_HASH(ticks, u64);

int on_hrtimer(struct pt_regs *ctx, struct hrtimer *timer) {
  s64 expires = timer->node.expires;
  s64 behind = bpf_ktime_get_ns() - expires;
  if (behind > 0)
    late.increment(bpf_log2l(behind / NSEC_PER_USEC));
  return 0;
}

int on_timer(struct pt_regs *ctx, struct timer_list *timer) {
  u64 seconds = timer->expires / HZ;
  ticks.increment(seconds);
  return 0;
}
