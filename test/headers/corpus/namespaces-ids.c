// The inode numbers of a task's namespaces.
#include <linux/nsproxy.h>
#include <linux/pid_namespace.h>
#include <linux/utsname.h>
#include <linux/ipc_namespace.h>
#include <linux/cgroup.h>
#include <net/net_namespace.h>

struct event_t {
  u32 net, uts, ipc, pid, cgroup;
  char node[__NEW_UTS_LEN + 1];
};
BPF_PERF_OUTPUT(events);
BPF_PERCPU_ARRAY(scratch, struct event_t, 1);

int on_setns(struct pt_regs *ctx) {
  int zero = 0;
  struct event_t *e = scratch.lookup(&zero);
  if (!e)
    return 0;
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  struct nsproxy *ns = task->nsproxy;
  e->net = ns->net_ns->ns.inum;
  e->uts = ns->uts_ns->ns.inum;
  e->ipc = ns->ipc_ns->ns.inum;
  e->pid = ns->pid_ns_for_children->ns.inum;
  e->cgroup = ns->cgroup_ns->ns.inum;
  bpf_probe_read_kernel_str(e->node, sizeof(e->node), ns->uts_ns->name.nodename);
  events.perf_submit(ctx, e, sizeof(*e));
  return 0;
}
