// Which signals get a handler, and with which flags.
#include <linux/signal.h>
#include <linux/sched/signal.h>

BPF_HASH(handlers, int);
BPF_ARRAY(flags, u64, 3);

int on_sigaction(struct pt_regs *ctx, int sig, struct k_sigaction *action) {
  if (!action)
    return 0;
  unsigned long wanted = action->sa.sa_flags;
  if (action->sa.sa_handler == SIG_IGN)
    return 0;
  if (wanted & SA_SIGINFO)
    flags.increment(0);
  if (wanted & SA_RESTART)
    flags.increment(1);
  if (wanted & SA_ONSTACK)
    flags.increment(2);
  handlers.increment(sig);
  return 0;
}
