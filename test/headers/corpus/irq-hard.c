// Hard interrupts by name of their action.
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/interrupt.h>

struct key_t {
  char name[32];
  u32 irq;
};
BPF_HASH(counts, struct key_t);

int on_handle(struct pt_regs *ctx, struct irq_desc *desc) {
  struct key_t key = {};
  struct irqaction *action = desc->action;
  if (!action || (action->flags & IRQF_TIMER))
    return 0;
  key.irq = desc->irq_data.irq;
  bpf_probe_read_kernel_str(key.name, sizeof(key.name), action->name);
  counts.increment(key);
  return 0;
}
