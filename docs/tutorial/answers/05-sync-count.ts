// Lesson 5: as lesson 4, with the number of all calls, quick or not.
import { BCC, parseTraceLine } from 'tsbcc';
import { attachSyscall } from '../../../examples/lib/attach-syscall';
import { limits } from '../../../examples/lib/limits';

const b = new BCC(`
enum { LATEST, CALLS };
BPF_HASH(facts, u32, u64);

int on_sync(void *ctx) {
    u32 latest = LATEST, calls = CALLS;
    u64 now = bpf_ktime_get_ns();
    facts.increment(calls);
    u64 *before = facts.lookup(&latest);
    u64 *count = facts.lookup(&calls);
    if (before && count && now - *before < 1000000000)
        bpf_trace_printk("%llu %llu\\n", *count, (now - *before) / 1000000);
    facts.update(&latest, &now);
    return 0;
}`);
attachSyscall(b, 'sync', 'on_sync');
const limit = limits();

async function main() {
  console.log("Counting sync's... Ctrl-C to end");
  for await (const line of b.trace({ signal: limit.signal })) {
    const message = parseTraceLine(line)?.[5];
    if (message === undefined) continue;
    const [count, milliseconds] = message.split(' ');
    console.log(`sync number ${count}, ${milliseconds} ms after the one before`);
    limit.next();
    if (limit.reached) break;
  }
  // The table outlives the tracing: it can be asked for what was never printed.
  console.log(`${b.table<number, bigint>('facts').get(1) ?? 0n} calls in all`);
  b.close();
}

void main();
