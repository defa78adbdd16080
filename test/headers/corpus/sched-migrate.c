// Moves between processors, as a raw tracepoint sees them.
#include <linux/sched.h>

struct key_t {
  u32 from, to;
};
BPF_HASH(moves, struct key_t);

int raw_migrate(struct bpf_raw_tracepoint_args *ctx) {
  struct task_struct *task = (struct task_struct *)ctx->args[0];
  struct key_t key = {.to = (u32)ctx->args[1]};
  int cpu = 0;
  bpf_probe_read_kernel(&cpu, sizeof(cpu), &task->wake_cpu);
  key.from = cpu;
  moves.increment(key);
  return 0;
}
