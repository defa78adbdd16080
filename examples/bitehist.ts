// A histogram of the sizes of block I/O, in powers of two, printed at the end: Ctrl-C, --duration or --count requests.
import { BCC } from 'tsbcc';
import { limits } from './lib/limits';

const SECTORS_PER_KILOBYTE = 2;

const b = new BCC(`
BPF_HISTOGRAM(dist);

TRACEPOINT_PROBE(block, block_rq_issue) {
    dist.increment(bpf_log2l(args->nr_sector / ${SECTORS_PER_KILOBYTE}));
    return 0;
}`);
const dist = b.table('dist');
const limit = limits();

console.log('Tracing block I/O; Ctrl-C ends.');
let counted = 0;
const timer = setInterval(() => {
  let requests = 0;
  for (const count of dist.values()) requests += Number(count);
  for (; counted < requests; counted++) limit.next();
  if (!limit.reached) return;
  clearInterval(timer);
  dist.printLog2Hist('kbytes');
  b.close();
}, 100);
