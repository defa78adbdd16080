// Direct and asynchronous I/O by size.
#include <linux/fs.h>
#include <linux/aio.h>
#include <linux/uio.h>

struct key_t {
  u32 direct, write;
  u64 slot;
};
BPF_HISTOGRAM(sizes, struct key_t);

int on_write_iter(struct pt_regs *ctx, struct kiocb *iocb, struct iov_iter *from) {
  struct key_t key = {};
  int flags = iocb->ki_flags;
  key.direct = !!(flags & IOCB_DIRECT);
  key.write = !!(flags & IOCB_WRITE);
  key.slot = bpf_log2l(from->count);
  sizes.increment(key);
  return 0;
}
