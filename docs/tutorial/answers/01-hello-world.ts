// Lesson 1: a line in trace_pipe for every process that is started.
import { BCC } from 'tsbcc';
import { hasKprobes } from '../../../examples/lib/attach-syscall';
import { limits } from '../../../examples/lib/limits';

// A function's name can say where it belongs: then nothing need be attached by hand.
const name = hasKprobes ? 'kprobe__sys_clone' : 'tracepoint__syscalls__sys_enter_clone';
if (!hasKprobes) console.error('this kernel has no kprobes: the tracepoint of clone(2) stands in');

const b = new BCC(`
int ${name}(void *ctx) {
    bpf_trace_printk("Hello, World!\\n");
    return 0;
}`);
const limit = limits();

async function main() {
  for await (const line of b.trace({ signal: limit.signal })) {
    if (line === '') continue; // Linux 5.9 and newer end the line themselves
    console.log(line);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void main();
