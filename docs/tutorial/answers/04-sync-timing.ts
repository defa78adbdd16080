// Lesson 4: tells of a sync(2) that comes less than a second after the one before.
import { BCC, parseTraceLine } from 'tsbcc';
import { attachSyscall } from '../../../examples/lib/attach-syscall';
import { limits } from '../../../examples/lib/limits';

const b = new BCC(`
BPF_HASH(latest);

int on_sync(void *ctx) {
    u64 slot = 0;
    u64 now = bpf_ktime_get_ns();
    u64 *before = latest.lookup(&slot);
    if (before) {
        u64 gap = now - *before;
        if (gap < 1000000000)
            bpf_trace_printk("%llu\\n", gap / 1000000);
    }
    latest.update(&slot, &now);
    return 0;
}`);
attachSyscall(b, 'sync', 'on_sync');
const limit = limits();

async function main() {
  console.log("Tracing for quick sync's... Ctrl-C to end");
  let begin: number | undefined;
  for await (const line of b.trace({ signal: limit.signal })) {
    const fields = parseTraceLine(line);
    if (!fields) continue;
    const [, , , , seconds, milliseconds] = fields;
    begin ??= seconds;
    console.log(`At time ${(seconds - begin).toFixed(2)} s: another sync, the last was ${milliseconds} ms ago`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void main();
