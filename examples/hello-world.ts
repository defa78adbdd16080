// Prints a line of the kernel's trace_pipe for every process that is started.
import { BCC } from 'tsbcc';
import { attachSyscall } from './lib/attach-syscall';
import { limits } from './lib/limits';

const b = new BCC(`
int hello(void *ctx) {
    bpf_trace_printk("Hello, World!\\n");
    return 0;
}`);
attachSyscall(b, 'clone', 'hello');
const limit = limits();

async function print() {
  for await (const line of b.trace({ signal: limit.signal })) {
    limit.next();
    console.log(line);
    if (limit.reached) break;
  }
  b.close();
}

void print();
