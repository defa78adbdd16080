// Cache hits and misses of name lookups, with the length and hash of the name.
#include <linux/dcache.h>
#include <linux/namei.h>

struct key_t {
  u32 length, hash;
};
BPF_HASH(lookups, struct key_t);

int on_lookup(struct pt_regs *ctx, const struct dentry *parent, const struct qstr *name) {
  struct key_t key = {};
  key.length = name->len;
  key.hash = name->hash;
  lookups.increment(key);
  return 0;
}
