// Time spent in softirqs, by vector.
#include <linux/interrupt.h>
#include <linux/irq.h>

BPF_PERCPU_ARRAY(begun, u64, 1);
BPF_ARRAY(spent, u64, 16);

int raw_softirq_entry(struct bpf_raw_tracepoint_args *ctx) {
  int zero = 0;
  u64 now = bpf_ktime_get_ns();
  begun.update(&zero, &now);
  return 0;
}

int raw_softirq_exit(struct bpf_raw_tracepoint_args *ctx) {
  int zero = 0;
  u32 vector = ctx->args[0];
  u64 *then = begun.lookup(&zero);
  if (!then || vector >= NR_SOFTIRQS)
    return 0;
  u64 delta = bpf_ktime_get_ns() - *then;
  spent.increment(vector == NET_RX_SOFTIRQ ? 0 : vector, delta);
  return 0;
}
