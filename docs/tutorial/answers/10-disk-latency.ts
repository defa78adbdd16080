// Lesson 10: how long disk requests take, as a histogram: lessons 6 and 9 together.
import { BCC } from 'tsbcc';
import { hasKprobes } from '../../../examples/lib/attach-syscall';
import { limits } from '../../../examples/lib/limits';

const hooks = hasKprobes
  ? `
int kprobe__blk_mq_start_request(struct pt_regs *ctx, struct request *req) {
    return begin((u64)req);
}
int kprobe__blk_mq_end_request(struct pt_regs *ctx, struct request *req) {
    return end((u64)req);
}`
  : `
TRACEPOINT_PROBE(block, block_rq_issue) {
    return begin(args->sector);
}
TRACEPOINT_PROBE(block, block_rq_complete) {
    return end(args->sector);
}`;
if (!hasKprobes) console.error('this kernel has no kprobes: the tracepoints of the block layer stand in');

const b = new BCC(`
#include <linux/blk-mq.h>

BPF_HASH(begun, u64, u64);
BPF_HISTOGRAM(latency);

static int begin(u64 request) {
    u64 now = bpf_ktime_get_ns();
    begun.update(&request, &now);
    return 0;
}

static int end(u64 request) {
    u64 *since = begun.lookup(&request);
    if (!since)
        return 0;
    latency.increment(bpf_log2l((bpf_ktime_get_ns() - *since) / 1000));
    begun.delete(&request);
    return 0;
}
${hooks}`);
const latency = b.table<number, bigint>('latency');
const limit = limits();

console.log('Timing disk requests... Ctrl-C to end.');
let counted = 0;
const timer = setInterval(() => {
  const requests = Number([...latency.values()].reduce((sum, count) => sum + count, 0n));
  for (; counted < requests; counted++) limit.next();
  if (!limit.reached) return;
  clearInterval(timer);
  latency.printLog2Hist('usecs');
  b.close();
}, 100);
