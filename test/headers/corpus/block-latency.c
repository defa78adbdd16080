// Time from issue to completion of requests, by disk and operation.
#include <linux/blkdev.h>
#include <linux/blk-mq.h>

struct key_t {
  char disk[DISK_NAME_LEN];
  u64 slot;
};
BPF_HASH(start, struct request *);
BPF_HISTOGRAM(latency, struct key_t);

int on_issue(struct pt_regs *ctx, struct request *rq) {
  u64 now = bpf_ktime_get_ns();
  start.update(&rq, &now);
  return 0;
}

int on_done(struct pt_regs *ctx, struct request *rq) {
  u64 *begun = start.lookup(&rq);
  if (!begun)
    return 0;
  struct key_t key = {.slot = bpf_log2l((bpf_ktime_get_ns() - *begun) / 1000)};
  struct gendisk *disk = rq->q->disk;
  if (disk)
    bpf_probe_read_kernel(&key.disk, sizeof(key.disk), disk->disk_name);
  latency.atomic_increment(key);
  start.delete(&rq);
  return 0;
}
