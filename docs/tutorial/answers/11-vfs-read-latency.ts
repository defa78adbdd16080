// Lesson 11: a histogram of read times every second (or every INTERVAL seconds); the C is in a file of its own.
import { BCC } from 'tsbcc';
import { hasKprobes } from '../../../examples/lib/attach-syscall';
import { limits, operands } from '../../../examples/lib/limits';

const interval = Number(operands[0] ?? 1) * 1000;

const b = new BCC({ srcFile: 'docs/tutorial/answers/11-vfs-read-latency.c' });
if (hasKprobes) {
  b.attachKprobe({ event: 'vfs_read', fnName: 'on_entry' });
  b.attachKretprobe({ event: 'vfs_read', fnName: 'on_return' });
} else {
  console.error('this kernel has no kprobes: the tracepoints of read(2) stand in');
  b.attachTracepoint({ tp: 'syscalls:sys_enter_read', fnName: 'on_entry' });
  b.attachTracepoint({ tp: 'syscalls:sys_exit_read', fnName: 'on_return' });
}
const latency = b.table('latency');
const limit = limits();

console.log('Tracing reads... Ctrl-C to end.');
let shown = performance.now();
const timer = setInterval(() => {
  if (performance.now() - shown >= interval || limit.signal.aborted) {
    latency.printLog2Hist('usecs');
    latency.clear();
    shown = performance.now();
    limit.next();
  }
  if (!limit.reached) return;
  clearInterval(timer);
  b.close();
}, 50);
