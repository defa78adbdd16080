// A path, put together from its dentries up to the root of the mount.
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/path.h>

struct event_t {
  u32 depth;
  char names[4][32];
};
BPF_PERF_OUTPUT(events);

int on_unlink(struct pt_regs *ctx, struct path *dir, struct dentry *dentry) {
  struct event_t e = {};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    bpf_probe_read_kernel_str(e.names[i], sizeof(e.names[i]), dentry->d_name.name);
    e.depth++;
    struct dentry *parent = dentry->d_parent;
    if (parent == dentry)
      break;
    dentry = parent;
  }
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
