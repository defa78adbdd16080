// Allocations by flags: who must not wait, who wants zeroes.
#include <linux/gfp.h>
#include <linux/slab.h>

struct key_t {
  u32 atomic, zero;
};
BPF_HASH(bytes, struct key_t);

int on_kmalloc(struct pt_regs *ctx, size_t size, gfp_t flags) {
  struct key_t key = {};
  key.atomic = !(flags & __GFP_DIRECT_RECLAIM);
  key.zero = !!(flags & __GFP_ZERO);
  if ((flags & GFP_KERNEL) == GFP_KERNEL && size > 2 * PAGE_SIZE)
    key.atomic |= 2;
  bytes.increment(key, size);
  return 0;
}
