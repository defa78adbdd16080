// An inode's attributes: device, links, owner, size, blocks, time.
#include <linux/fs.h>
#include <linux/stat.h>
#include <linux/kdev_t.h>

struct event_t {
  u64 ino, size, blocks;
  u32 major, minor, links, uid, gid, type;
};
BPF_HASH(seen, u64, struct event_t);

int on_getattr(struct pt_regs *ctx, const struct path *path) {
  struct inode *inode = path->dentry->d_inode;
  struct event_t e = {};
  e.ino = inode->i_ino;
  e.size = inode->i_size;
  e.blocks = inode->i_blocks;
  dev_t dev = inode->i_sb->s_dev;
  e.major = MAJOR(dev);
  e.minor = MINOR(dev);
  e.links = inode->i_nlink;
  e.uid = inode->i_uid.val;
  e.gid = inode->i_gid.val;
  umode_t mode = inode->i_mode;
  e.type = S_ISDIR(mode) ? DT_DIR : S_ISLNK(mode) ? DT_LNK : DT_REG;
  seen.update(&e.ino, &e);
  return 0;
}
