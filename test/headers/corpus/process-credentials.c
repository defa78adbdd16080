// A change of credentials: ids and capability sets, old and new.
#include <linux/cred.h>
#include <linux/capability.h>

struct event_t {
  u32 old_uid, new_uid, old_gid, new_gid;
  u64 effective, permitted;
};
BPF_PERF_OUTPUT(events);

int on_commit(struct pt_regs *ctx, struct cred *next) {
  struct task_struct *task = (void *)bpf_get_current_task();
  const struct cred *before = task->real_cred;
  struct event_t e = {};
  e.old_uid = before->uid.val;
  e.new_uid = next->uid.val;
  e.old_gid = before->gid.val;
  e.new_gid = next->egid.val;
  bpf_probe_read_kernel(&e.effective, sizeof(e.effective), &next->cap_effective);
  bpf_probe_read_kernel(&e.permitted, sizeof(e.permitted), &next->cap_permitted);
  if (e.old_uid != e.new_uid)
    events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
