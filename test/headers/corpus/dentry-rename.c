// A rename: the two inodes and whether the target was there.
#include <linux/fs.h>
#include <linux/dcache.h>

struct event_t {
  u64 from, to;
  u32 flags, negative;
};
BPF_PERF_OUTPUT(events);

int on_rename(struct pt_regs *ctx, struct renamedata *data) {
  struct event_t e = {};
  struct dentry *old = data->old_dentry;
  struct dentry *new = data->new_dentry;
  e.from = old->d_inode->i_ino;
  struct inode *target = new->d_inode;
  e.negative = target == NULL;
  if (target)
    e.to = target->i_ino;
  e.flags = data->flags & (RENAME_NOREPLACE | RENAME_EXCHANGE);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
