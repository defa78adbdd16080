// Who forked whom: ids and names along the chain of parents.
#include <linux/sched.h>
#include <uapi/linux/ptrace.h>

struct event_t {
  u32 pid, tgid, ppid, grandparent;
  char comm[TASK_COMM_LEN];
  char parent[TASK_COMM_LEN];
};
BPF_PERF_OUTPUT(events);

int on_fork(struct pt_regs *ctx, struct task_struct *child) {
  struct event_t e = {};
  e.pid = child->pid;
  e.tgid = child->tgid;
  e.ppid = child->real_parent->tgid;
  e.grandparent = child->real_parent->real_parent->tgid;
  bpf_probe_read_kernel_str(&e.comm, sizeof(e.comm), child->comm);
  bpf_probe_read_kernel_str(&e.parent, sizeof(e.parent), child->group_leader->comm);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
