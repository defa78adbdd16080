// Prints who takes random bits from the kernel, through a tracepoint whose fields are at hand as `args`.
import { BCC } from 'tsbcc';
import { limits } from './lib/limits';

// Linux before 5.18 has a tracepoint in /dev/urandom itself. Since then, what getrandom(2) gave is shown.
const probe = BCC.tracepointExists('random', 'urandom_read')
  ? 'TRACEPOINT_PROBE(random, urandom_read) { int bits = args->got_bits;'
  : 'TRACEPOINT_PROBE(syscalls, sys_exit_getrandom) { int bits = args->ret * 8;';

const b = new BCC(`
${probe}
    bpf_trace_printk("%d", bits);
    return 0;
}`);
const limit = limits();

console.log(`${'TIME(s)'.padEnd(18)} ${'COMM'.padEnd(16)} ${'PID'.padEnd(7)} GOTBITS`);
const timer = setInterval(() => {
  for (;;) {
    const fields = b.traceFields({ nonblocking: true });
    if (fields?.[5] === undefined || limit.reached) break;
    const [task, pid, , , timestamp, message] = fields;
    limit.next();
    console.log(`${timestamp.toFixed(9).padEnd(18)} ${task.padEnd(16)} ${String(pid).padEnd(7)} ${message}`);
  }
  if (!limit.reached) return;
  clearInterval(timer);
  b.close();
}, 100);
