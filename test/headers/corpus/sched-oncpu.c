// Stacks of whatever runs, sampled: for perf_event programs.
#include <uapi/linux/ptrace.h>
#include <uapi/linux/bpf_perf_event.h>
#include <linux/sched.h>

struct key_t {
  u32 pid;
  int kernel, user;
  char comm[TASK_COMM_LEN];
};
BPF_HASH(counts, struct key_t);
BPF_STACK_TRACE(stacks, 16384);

int perf_sample(struct bpf_perf_event_data *ctx) {
  struct key_t key = {.pid = bpf_get_current_pid_tgid() >> 32};
  if (key.pid == 0)
    return 0;
  bpf_get_current_comm(&key.comm, sizeof(key.comm));
  key.user = stacks.get_stackid(&ctx->regs, BPF_F_USER_STACK);
  key.kernel = stacks.get_stackid(&ctx->regs, 0);
  if (PT_REGS_IP(&ctx->regs) < PAGE_SIZE)
    return 0;
  counts.increment(key);
  return 0;
}
