// Requests that ended badly, by status.
#include <linux/blk_types.h>
#include <linux/blkdev.h>

BPF_HASH(errors, u32);

int on_end(struct pt_regs *ctx, struct bio *bio) {
  u32 status = bio->bi_status;
  if (status == BLK_STS_OK)
    return 0;
  if (status == BLK_STS_TIMEOUT || status == BLK_STS_IOERR)
    status |= 0x100;
  errors.increment(status);
  return 0;
}
