// A bio on its way down: where it begins, how large it is, whether it is read-ahead or metadata.
#include <linux/bio.h>
#include <linux/blk_types.h>
#include <linux/fs.h>

struct event_t {
  u64 sector;
  u32 size, segments, flags;
  u32 dev;
};
BPF_RINGBUF_OUTPUT(events, 4);

int on_submit(struct pt_regs *ctx, struct bio *bio) {
  unsigned int opf = bio->bi_opf;
  if ((opf & REQ_OP_MASK) == REQ_OP_FLUSH)
    return 0;
  struct event_t e = {};
  e.sector = bio->bi_iter.bi_sector;
  e.size = bio->bi_iter.bi_size >> SECTOR_SHIFT;
  e.segments = bio->bi_vcnt;
  e.flags = !!(opf & REQ_RAHEAD) | !!(opf & REQ_META) << 1 | !!(opf & (REQ_PREFLUSH | REQ_FUA)) << 2;
  e.dev = bio->bi_bdev->bd_dev;
  events.ringbuf_output(&e, sizeof(e), 0);
  return 0;
}
