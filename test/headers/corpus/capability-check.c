// Capability checks: which one, in which user namespace, and whether it is asked silently.
#include <linux/capability.h>
#include <linux/security.h>
#include <linux/cred.h>
#include <linux/user_namespace.h>

struct event_t {
  u32 pid, cap, namespace, level, quiet;
};
BPF_PERF_OUTPUT(events);

int on_capable(struct pt_regs *ctx, const struct cred *cred, struct user_namespace *ns, int cap, int options) {
  struct event_t e = {.pid = bpf_get_current_pid_tgid(), .cap = cap};
  e.namespace = ns->ns.inum;
  e.level = ns->level;
  e.quiet = !!(options & CAP_OPT_NOAUDIT);
  if (cap == CAP_SYS_ADMIN || cap == CAP_NET_ADMIN || cap == CAP_BPF)
    events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
