// Lesson 16: which task the CPUs went from, to which, and how often.
import { BCC } from 'tsbcc';
import { hasKprobes } from '../../../examples/lib/attach-syscall';
import { limits } from '../../../examples/lib/limits';

const b = new BCC({ srcFile: 'docs/tutorial/answers/16-task-switch.c' });
if (hasKprobes) {
  // Compilers make variants of a function and mark them in its name: finish_task_switch.isra.0.
  b.attachKprobe({ eventRe: /^finish_task_switch(\.isra\.\d+)?$/, fnName: 'at_kprobe' });
} else {
  console.error('this kernel has no kprobes: the tracepoint sched:sched_switch stands in');
  b.attachTracepoint({ tp: 'sched:sched_switch', fnName: 'at_tracepoint' });
}
const switches = b.table<{ from: number; to: number }, bigint>('switches');
const limit = limits();

console.log('Counting task switches... Ctrl-C to end.');
const timer = setInterval(() => {
  if (switches.size > 0) limit.next();
  if (!limit.reached) return;
  clearInterval(timer);
  for (const [{ from, to }, count] of switches) {
    console.log(`task_switch[${String(from).padStart(7)} -> ${String(to).padStart(7)}] = ${count}`);
  }
  b.close();
}, 10);
