// A system call's arguments, whatever the architecture's way of passing them.
#include <linux/syscalls.h>
#include <uapi/linux/ptrace.h>
#include <linux/errno.h>

struct event_t {
  u64 address;
  u64 length;
  int error;
};
BPF_HASH(calls, u32, struct event_t);

int syscall__write(struct pt_regs *ctx, int fd, const char *buffer, size_t length) {
  u32 tid = bpf_get_current_pid_tgid();
  struct event_t e = {.address = (u64)buffer, .length = length};
  if (fd > 2)
    calls.update(&tid, &e);
  return 0;
}

int after_write(struct pt_regs *ctx) {
  u32 tid = bpf_get_current_pid_tgid();
  struct event_t *e = calls.lookup(&tid);
  if (!e)
    return 0;
  int result = PT_REGS_RC(ctx);
  e->error = result == -EAGAIN || result == -EINTR ? 0 : result;
  return 0;
}
