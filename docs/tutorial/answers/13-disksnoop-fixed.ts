// Lesson 13: lesson 6 on tracepoints alone, with typed events.
import { BCC } from 'tsbcc';
import { limits } from '../../../examples/lib/limits';

const b = new BCC(`
struct where_t {
    u64 sector;
    u32 dev;
    u32 unused;
};
struct done_t {
    u64 ns;
    u64 took_ns;
    u32 sectors;
    char flags[8];
};
BPF_HASH(begun, struct where_t, u64);
BPF_RINGBUF_OUTPUT(done, 8);

TRACEPOINT_PROBE(block, block_rq_issue) {
    struct where_t where = {.sector = args->sector, .dev = args->dev};
    u64 now = bpf_ktime_get_ns();
    begun.update(&where, &now);
    return 0;
}

TRACEPOINT_PROBE(block, block_rq_complete) {
    struct where_t where = {.sector = args->sector, .dev = args->dev};
    u64 *since = begun.lookup(&where);
    if (!since)
        return 0;
    struct done_t event = {.ns = bpf_ktime_get_ns(), .sectors = args->nr_sector};
    event.took_ns = event.ns - *since;
    bpf_probe_read_kernel_str(event.flags, sizeof(event.flags), (void *)args->rwbs);
    begun.delete(&where);
    done.ringbuf_output(&event, sizeof(event), 0);
    return 0;
}`);
const limit = limits();

async function main() {
  console.log(`${'TIME(s)'.padEnd(18)} ${'FLAGS'.padEnd(8)} ${'BYTES'.padEnd(8)} LAT(ms)`);
  for await (const { ns, took_ns, sectors, flags } of b.table('done').events({ signal: limit.signal })) {
    const seconds = (Number(ns) / 1e9).toFixed(6).padEnd(18);
    const milliseconds = (Number(took_ns) / 1e6).toFixed(2).padStart(7);
    console.log(`${seconds} ${flags.padEnd(8)} ${String(sectors * 512).padEnd(8)} ${milliseconds}`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void main();
