// The out-of-memory killer: whom it chose and why.
#include <linux/oom.h>
#include <linux/sched.h>

struct event_t {
  u64 pages, points;
  u32 killer, victim;
  int order;
  char comm[TASK_COMM_LEN];
};
BPF_PERF_OUTPUT(events);

int on_oom(struct pt_regs *ctx, struct oom_control *oc) {
  struct event_t e = {.killer = bpf_get_current_pid_tgid() >> 32};
  struct task_struct *chosen = oc->chosen;
  e.victim = chosen->pid;
  e.pages = oc->totalpages;
  e.points = oc->chosen_points;
  e.order = oc->order;
  bpf_probe_read_kernel(&e.comm, sizeof(e.comm), chosen->comm);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
