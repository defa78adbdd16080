// As hello-world, with the fields of each line of trace_pipe in columns.
import { BCC } from 'tsbcc';
import { attachSyscall } from './lib/attach-syscall';
import { limits } from './lib/limits';

const b = new BCC(`
int hello(void *ctx) {
    bpf_trace_printk("Hello, fields!\\n");
    return 0;
}`);
attachSyscall(b, 'clone', 'hello');
const limit = limits();

console.log(`${'TIME(s)'.padEnd(18)} ${'COMM'.padEnd(16)} ${'PID'.padEnd(7)} MESSAGE`);
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
