// The descriptor table of a process: how large, which file stands in a slot.
#include <linux/fdtable.h>
#include <linux/sched.h>
#include <linux/file.h>

BPF_HISTOGRAM(tables);
BPF_HASH(inodes, u64);

int on_dup(struct pt_regs *ctx, unsigned int fd) {
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  struct fdtable *table = task->files->fdt;
  unsigned int max = table->max_fds;
  tables.increment(bpf_log2(max));
  if (fd >= max)
    return 0;
  struct file **slots = table->fd;
  struct file *file = NULL;
  bpf_probe_read_kernel(&file, sizeof(file), &slots[fd]);
  if (!file)
    return 0;
  struct inode *inode = NULL;
  bpf_probe_read_kernel(&inode, sizeof(inode), &file->f_inode);
  u64 ino = 0;
  bpf_probe_read_kernel(&ino, sizeof(ino), &inode->i_ino);
  inodes.increment(ino);
  return 0;
}
