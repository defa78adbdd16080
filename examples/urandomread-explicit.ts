// As urandomread, with the tracepoint's fields written down by hand and the function attached by a call.
import { BCC } from 'tsbcc';
import { limits } from './lib/limits';

// From the `format` files under /sys/kernel/tracing/events. The first 8 bytes are the kernel's own.
const [tp, fields, bits] = BCC.tracepointExists('random', 'urandom_read')
  ? ['random:urandom_read', 'u32 got_bits; u32 pool_left; u32 input_left;', 'args->got_bits']
  : ['syscalls:sys_exit_getrandom', 'u32 syscall_nr; u32 padding; s64 ret;', 'args->ret * 8'];

const b = new BCC(`
struct read_args {
    u64 common;
    ${fields}
};

int print_bits(struct read_args *args) {
    int bits = ${bits};
    bpf_trace_printk("%d", bits);
    return 0;
}`);
b.attachTracepoint({ tp, fnName: 'print_bits' });
const limit = limits();

async function print() {
  console.log(`${tp}, one line for each`);
  for await (const line of b.trace({ signal: limit.signal })) {
    console.log(line);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void print();
