// Prints the name of every program that starts a process, out of a ring buffer.
import { BCC } from 'tsbcc';
import { attachToTracepoint, hasKprobes } from './lib/attach-syscall';
import { limits } from './lib/limits';

const prog = `#include <linux/sched.h>
struct data_t { char comm[TASK_COMM_LEN]; };
BPF_RINGBUF_OUTPUT(buffer, 1 << 4);
int hello(struct pt_regs *ctx) {
    struct data_t data = {};
    bpf_get_current_comm(&data.comm, sizeof(data.comm));
    buffer.ringbuf_output(&data, sizeof(data), 0);
    return 0;
}`;

const b = new BCC(prog);
if (hasKprobes) b.attachKprobe({ event: b.getSyscallFnname('clone'), fnName: 'hello' });
else attachToTracepoint(b, 'clone', 'hello');

const limit = limits();
const buffer = b.table('buffer');
buffer.openRingBuffer((_ctx, data) => {
  if (limit.next()) console.log(`Hello world! comm = ${buffer.event(data).comm}`);
});

const timer = setInterval(() => {
  b.ringBufferPoll(0);
  if (!limit.reached) return;
  clearInterval(timer);
  b.close();
}, 100);
