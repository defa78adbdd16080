// A super block: its file system's name, magic number, flags.
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mount.h>

struct event_t {
  u64 magic, flags;
  u32 block_bits;
  int vfsmount_flags;
  char fs[32], id[32];
};
BPF_PERF_OUTPUT(events);

int on_umount(struct pt_regs *ctx, struct vfsmount *mnt) {
  struct event_t e = {};
  struct super_block *sb = mnt->mnt_sb;
  e.magic = sb->s_magic;
  if (e.magic == PROC_SUPER_MAGIC || e.magic == SYSFS_MAGIC)
    return 0;
  e.flags = sb->s_flags & SB_RDONLY;
  e.block_bits = sb->s_blocksize_bits;
  e.vfsmount_flags = mnt->mnt_flags & (MNT_NOSUID | MNT_NODEV | MNT_NOEXEC);
  bpf_probe_read_kernel_str(e.fs, sizeof(e.fs), sb->s_type->name);
  bpf_probe_read_kernel_str(e.id, sizeof(e.id), sb->s_id);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
