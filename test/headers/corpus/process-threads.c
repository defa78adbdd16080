// Threads by clone flags, counted per process.
#include <linux/sched.h>
#include <linux/sched/task.h>

struct key_t {
  u32 tgid;
  u32 kind;
};
BPF_HASH(clones, struct key_t);

int on_clone(struct pt_regs *ctx, struct kernel_clone_args *args) {
  struct key_t key = {.tgid = bpf_get_current_pid_tgid() >> 32};
  u64 flags = args->flags;
  if (flags & CLONE_THREAD)
    key.kind = 1;
  else if (flags & CLONE_VFORK)
    key.kind = 2;
  else if (flags & (CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUSER))
    key.kind = 3;
  if (args->exit_signal == SIGCHLD)
    key.kind |= 0x10;
  clones.increment(key);
  return 0;
}
