// Lesson 3: the lines of lesson 1 in columns.
import { BCC, parseTraceLine } from 'tsbcc';
import { attachSyscall } from '../../../examples/lib/attach-syscall';
import { limits } from '../../../examples/lib/limits';

const text = `
int hello(void *ctx) {
    bpf_trace_printk("Hello, fields!\\n");
    return 0;
}`;

const b = new BCC({ text });
attachSyscall(b, 'clone', 'hello');
const limit = limits();

async function main() {
  console.log(`${'TIME(s)'.padEnd(18)} ${'COMM'.padEnd(16)} ${'PID'.padEnd(7)} MESSAGE`);
  for await (const line of b.trace({ signal: limit.signal })) {
    const fields = parseTraceLine(line);
    if (!fields) continue; // a notice of the pipe's own
    const [task, pid, , , seconds, message] = fields;
    console.log(`${seconds.toFixed(9).padEnd(18)} ${task.padEnd(16)} ${String(pid).padEnd(7)} ${message}`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void main();
