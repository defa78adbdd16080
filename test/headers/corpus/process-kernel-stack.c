// Stacks of tasks that wait without interruption.
#include <linux/sched.h>
#include <linux/ptrace.h>

BPF_STACK_TRACE(stacks, 1000);
BPF_HASH(counts, int);

int on_switch(struct pt_regs *ctx, struct task_struct *prev) {
  if (!(prev->__state & TASK_UNINTERRUPTIBLE))
    return 0;
  int id = stacks.get_stackid(ctx, BPF_F_REUSE_STACKID);
  counts.increment(id);
  return 0;
}
