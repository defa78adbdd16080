// Signals sent from one process to another.
#include <linux/signal.h>
#include <linux/sched.h>

struct event_t {
  u32 from, to;
  int signal, code;
};
BPF_PERF_OUTPUT(events);

int on_send(struct pt_regs *ctx, int sig, struct kernel_siginfo *info, struct task_struct *task) {
  if (sig == SIGCHLD || sig == SIGALRM)
    return 0;
  struct event_t e = {.signal = sig};
  e.from = bpf_get_current_pid_tgid() >> 32;
  e.to = task->tgid;
  if ((unsigned long)info > 2)
    e.code = info->si_code;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
