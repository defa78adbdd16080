// Lesson 2: says so whenever somebody calls sync(2).
import { BCC } from 'tsbcc';
import { attachSyscall } from '../../../examples/lib/attach-syscall';
import { limits } from '../../../examples/lib/limits';

const b = new BCC(`
int on_sync(void *ctx) {
    bpf_trace_printk("sys_sync() called\\n");
    return 0;
}`);
attachSyscall(b, 'sync', 'on_sync');
const limit = limits();

async function main() {
  console.log('Tracing sys_sync()... Ctrl-C to end.');
  for await (const line of b.trace({ signal: limit.signal })) {
    if (line === '') continue; // Linux 5.9 and newer end the line themselves
    console.log(line);
    limit.next();
    if (limit.reached) break;
  }
  console.log('Done.');
  b.close();
}

void main();
