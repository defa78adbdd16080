// Lesson 12: who takes random bits from the kernel, through a tracepoint and its fields.
import { BCC, parseTraceLine } from 'tsbcc';
import { limits } from '../../../examples/lib/limits';

// random:urandom_read went with Linux 5.18. Where it is not, the end of getrandom(2) tells the same.
const [category, event, bits] = BCC.tracepointExists('random', 'urandom_read')
  ? ['random', 'urandom_read', 'args->got_bits']
  : ['syscalls', 'sys_exit_getrandom', 'args->ret * 8'];
console.error(`tracing ${category}:${event}`);

const b = new BCC(`
TRACEPOINT_PROBE(${category}, ${event}) {
    bpf_trace_printk("%d\\n", (int)(${bits}));
    return 0;
}`);
const limit = limits();

async function main() {
  console.log(`${'TIME(s)'.padEnd(18)} ${'COMM'.padEnd(16)} ${'PID'.padEnd(7)} GOTBITS`);
  for await (const line of b.trace({ signal: limit.signal })) {
    const fields = parseTraceLine(line);
    if (!fields) continue;
    const [task, pid, , , seconds, got] = fields;
    console.log(`${seconds.toFixed(9).padEnd(18)} ${task.padEnd(16)} ${String(pid).padEnd(7)} ${got}`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void main();
