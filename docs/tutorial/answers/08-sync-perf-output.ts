// Lesson 8: lesson 4 with a perf buffer, and `for await` in place of a polling loop.
import { BCC } from 'tsbcc';
import { attachSyscall } from '../../../examples/lib/attach-syscall';
import { limits } from '../../../examples/lib/limits';

const b = new BCC(`
struct quick_t {
    u64 ns;
    u64 gap_ns;
};
BPF_HASH(latest);
BPF_PERF_OUTPUT(quick);

int on_sync(void *ctx) {
    u64 slot = 0;
    struct quick_t event = {.ns = bpf_ktime_get_ns()};
    u64 *before = latest.lookup(&slot);
    if (before) {
        event.gap_ns = event.ns - *before;
        if (event.gap_ns < 1000000000)
            quick.perf_submit(ctx, &event, sizeof(event));
    }
    latest.update(&slot, &event.ns);
    return 0;
}`);
attachSyscall(b, 'sync', 'on_sync');
const limit = limits();

/** What the program sends: 64-bit integers are bigints. */
interface Quick {
  ns: bigint;
  gap_ns: bigint;
}

async function main() {
  console.log("Tracing for quick sync's... Ctrl-C to end");
  let begin: bigint | undefined;
  for await (const { ns, gap_ns } of b.table('quick').events<Quick>({ signal: limit.signal })) {
    begin ??= ns;
    const seconds = (Number(ns - begin) / 1e9).toFixed(2);
    console.log(`At time ${seconds} s: another sync, the last was ${gap_ns / 1_000_000n} ms ago`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void main();
