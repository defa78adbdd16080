// Prints every request to a disk when it is done: its kind, its size, and how long it took.
import { BCC } from 'tsbcc';
import { limits } from './lib/limits';

const b = new BCC(`
struct place_t {
    u64 dev;
    u64 sector;
};
struct request_t {
    u64 ns;
    u64 bytes;
    u64 latency_ns;
    char kind[8];
};
BPF_HASH(begun, struct place_t, u64);
BPF_RINGBUF_OUTPUT(requests, 8);

TRACEPOINT_PROBE(block, block_rq_issue) {
    struct place_t place = {args->dev, args->sector};
    u64 now = bpf_ktime_get_ns();
    begun.update(&place, &now);
    return 0;
}

TRACEPOINT_PROBE(block, block_rq_complete) {
    struct place_t place = {args->dev, args->sector};
    u64 *begin = begun.lookup(&place);
    if (!begin)
        return 0;
    struct request_t request = {};
    request.ns = bpf_ktime_get_ns();
    request.latency_ns = request.ns - *begin;
    request.bytes = (u64)args->nr_sector * 512;
    bpf_probe_read_kernel_str(request.kind, sizeof(request.kind), (void *)args->rwbs);
    requests.ringbuf_output(&request, sizeof(request), 0);
    begun.delete(&place);
    return 0;
}`);
const limit = limits();

async function print() {
  console.log(`${'TIME(s)'.padEnd(18)} ${'T'.padEnd(2)} ${'BYTES'.padEnd(7)} LAT(ms)`);
  for await (const { ns, bytes, latency_ns, kind } of b.table('requests').events({ signal: limit.signal })) {
    // R, W, D, or only flags such as F (flush): metadata, which has no bytes.
    const type = /[RWD]/.exec(kind)?.[0] ?? 'M';
    const time = (Number(ns) / 1e9).toFixed(9).padEnd(18);
    console.log(
      `${time} ${type.padEnd(2)} ${String(bytes).padEnd(7)} ${(Number(latency_ns) / 1e6).toFixed(2).padStart(7)}`,
    );
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void print();
