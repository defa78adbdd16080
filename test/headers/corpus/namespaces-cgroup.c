// The cgroup of a task: its id in kernfs, its level, its name.
#include <linux/cgroup-defs.h>
#include <linux/kernfs.h>
#include <linux/sched.h>

struct event_t {
  u64 id;
  int level;
  char name[64];
};
BPF_PERF_OUTPUT(events);

int on_attach(struct pt_regs *ctx) {
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  struct cgroup *cgroup = task->cgroups->dfl_cgrp;
  struct event_t e = {.level = cgroup->level};
  e.id = cgroup->kn->id;
  bpf_probe_read_kernel_str(e.name, sizeof(e.name), cgroup->kn->name);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
