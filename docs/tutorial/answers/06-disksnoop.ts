// Lesson 6: every request to a disk: its kind, its size, and how long it took.
import { BCC, parseTraceLine } from 'tsbcc';
import { hasKprobes } from '../../../examples/lib/attach-syscall';
import { limits } from '../../../examples/lib/limits';

/** The lowest bit of `cmd_flags`: data goes to the disk (linux/blk_types.h). */
const REQ_OP_WRITE = 1;

// What a kprobe knows a request by is its address; a tracepoint, which does not tell that, its place on the disk.
const hooks = hasKprobes
  ? `
int on_start(struct pt_regs *ctx, struct request *req) {
    return begin((u64)req);
}
int on_end(struct pt_regs *ctx, struct request *req) {
    return end((u64)req, req->__data_len, req->cmd_flags);
}`
  : `
TRACEPOINT_PROBE(block, block_rq_issue) {
    return begin(args->sector);
}
TRACEPOINT_PROBE(block, block_rq_complete) {
    return end(args->sector, args->nr_sector * 512, args->rwbs[0] == 'W');
}`;

const b = new BCC(`
#include <linux/blk-mq.h>

BPF_HASH(begun, u64, u64);

static int begin(u64 request) {
    u64 now = bpf_ktime_get_ns();
    begun.update(&request, &now);
    return 0;
}

static int end(u64 request, u32 bytes, u32 flags) {
    u64 *since = begun.lookup(&request);
    if (!since)
        return 0;
    u64 took = bpf_ktime_get_ns() - *since;
    begun.delete(&request);
    bpf_trace_printk("%u %x %llu\\n", bytes, flags, took / 1000);
    return 0;
}
${hooks}`);
if (hasKprobes) {
  b.attachKprobe({ event: 'blk_mq_start_request', fnName: 'on_start' });
  b.attachKprobe({ event: 'blk_mq_end_request', fnName: 'on_end' });
} else {
  console.error('this kernel has no kprobes: the tracepoints of the block layer stand in');
}
const limit = limits();

async function main() {
  console.log(`${'TIME(s)'.padEnd(18)} T ${'BYTES'.padEnd(8)} LAT(ms)`);
  for await (const line of b.trace({ signal: limit.signal })) {
    const fields = parseTraceLine(line);
    const request = fields && /^(\d+) ([0-9a-f]+) (\d+)$/.exec(fields[5]);
    if (!request) continue;
    const kind = Number.parseInt(request[2]!, 16) & REQ_OP_WRITE ? 'W' : 'R';
    const milliseconds = (Number(request[3]) / 1000).toFixed(2).padStart(7);
    console.log(`${fields[4].toFixed(6).padEnd(18)} ${kind} ${request[1]!.padEnd(8)} ${milliseconds}`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void main();
