// System V shared memory: keys, sizes, owners.
#include <linux/ipc.h>
#include <linux/shm.h>

struct event_t {
  u32 key, uid, mode;
  int id;
};
BPF_PERF_OUTPUT(events);

int on_permission(struct pt_regs *ctx, struct kern_ipc_perm *perm) {
  struct event_t e = {};
  e.key = perm->key;
  e.id = perm->id;
  e.uid = perm->uid.val;
  e.mode = perm->mode;
  if (e.key == IPC_PRIVATE)
    return 0;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
