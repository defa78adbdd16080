// Files opened for writing: flags, mode, the last part of the name.
#include <linux/fs.h>
#include <linux/fcntl.h>
#include <linux/limits.h>

struct event_t {
  u32 flags;
  u32 fmode;
  char name[NAME_MAX + 1];
};
BPF_PERCPU_ARRAY(scratch, struct event_t, 1);
BPF_PERF_OUTPUT(events);

int on_open(struct pt_regs *ctx, struct path *path, struct file *file) {
  int zero = 0;
  struct event_t *e = scratch.lookup(&zero);
  if (!e)
    return 0;
  e->flags = file->f_flags;
  e->fmode = file->f_mode & (FMODE_READ | FMODE_WRITE);
  if ((e->flags & O_ACCMODE) == O_RDONLY && !(e->flags & (O_CREAT | O_TRUNC)))
    return 0;
  struct dentry *dentry = path->dentry;
  bpf_probe_read_kernel_str(e->name, sizeof(e->name), dentry->d_name.name);
  events.perf_submit(ctx, e, sizeof(*e));
  return 0;
}
