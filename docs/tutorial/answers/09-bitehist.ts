// Lesson 9: the sizes of disk requests as a histogram, which the kernel counts and we only print.
import { BCC } from 'tsbcc';
import { hasKprobes } from '../../../examples/lib/attach-syscall';
import { limits } from '../../../examples/lib/limits';

const hook = hasKprobes
  ? `
int kprobe__blk_mq_end_request(struct pt_regs *ctx, struct request *req) {
    sizes.increment(bpf_log2l(req->__data_len / 1024));
    return 0;
}`
  : `
TRACEPOINT_PROBE(block, block_rq_complete) {
    sizes.increment(bpf_log2l(args->nr_sector / 2));
    return 0;
}`;
if (!hasKprobes) console.error('this kernel has no kprobes: the tracepoint block:block_rq_complete stands in');

const b = new BCC(`
#include <linux/blk-mq.h>
BPF_HISTOGRAM(sizes);
${hook}`);
const sizes = b.table<number, bigint>('sizes');
const limit = limits();

console.log('Tracing disk requests... Ctrl-C to end.');
let counted = 0;
const timer = setInterval(() => {
  const requests = Number([...sizes.values()].reduce((sum, count) => sum + count, 0n));
  for (; counted < requests; counted++) limit.next();
  if (!limit.reached) return;
  clearInterval(timer);
  sizes.printLog2Hist('kbytes');
  b.close();
}, 100);
