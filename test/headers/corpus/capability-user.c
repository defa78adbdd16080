// What a user may have and has: processes, sockets, namespaces.
#include <linux/sched/user.h>
#include <linux/cred.h>
#include <linux/sched.h>
#include <linux/user_namespace.h>

struct event_t {
  u32 uid;
  u64 locked;
  u32 session;
};
BPF_PERF_OUTPUT(events);

int on_alloc(struct pt_regs *ctx, const struct cred *cred) {
  struct user_struct *user = cred->user;
  struct event_t e = {};
  e.uid = user->uid.val;
  e.locked = user->locked_vm.counter;
  e.session = cred->user_ns->ns.inum;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
