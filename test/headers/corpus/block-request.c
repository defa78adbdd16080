// A request: sector, bytes, flags, the device it goes to.
#include <linux/blkdev.h>
#include <linux/blk_types.h>
#include <linux/blk-mq.h>

struct event_t {
  u64 sector;
  u32 bytes, dev, op, write, sync;
};
BPF_PERF_OUTPUT(events);

int on_start(struct pt_regs *ctx, struct request *rq) {
  struct event_t e = {};
  e.sector = rq->__sector;
  e.bytes = rq->__data_len;
  unsigned int flags = rq->cmd_flags;
  e.op = flags & REQ_OP_MASK;
  e.write = e.op == REQ_OP_WRITE;
  e.sync = !!(flags & REQ_SYNC);
  struct gendisk *disk = rq->q->disk;
  int major = disk->major;
  int minor = disk->first_minor;
  e.dev = MKDEV(major, minor);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
