// What a network file system's tracer looks at before it asks the file system itself: opens by name and access mode.
#include <linux/fs.h>
#include <linux/nfs.h>
#include <linux/nfs4.h>
#include <linux/namei.h>

struct key_t {
  u32 access;
  char type[8];
};
BPF_HASH(opens, struct key_t);

int on_open(struct pt_regs *ctx, struct inode *inode, struct file *file) {
  struct key_t key = {};
  bpf_probe_read_kernel_str(key.type, sizeof(key.type), inode->i_sb->s_type->name);
  key.access = file->f_mode & FMODE_WRITE ? O_RDWR : O_RDONLY;
  if (file->f_flags & O_EXCL)
    key.access |= 0x100;
  if (inode->i_sb->s_magic == 0x6969)
    opens.increment(key);
  return 0;
}
