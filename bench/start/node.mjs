// One tracer's life: load, attach, read the first event, tell its memory and its time. Arguments: program, cache folder.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { BCC } = createRequire(import.meta.url)('../../lib/index.js');
const [file, cache, times = '1'] = process.argv.slice(2);
const text = readFileSync(file, 'utf8');
const attached = [];
for (let i = 0; i < Number(times); i++) {
  const before = performance.now();
  const b = new BCC({ text, cache });
  b.attachTracepoint({ tp: 'syscalls:sys_enter_getppid', fnName: 'on_call' });
  attached.push(performance.now() - before);
  const events = b.table('events');
  let seen = false;
  events.openRingBuffer((_ctx, data) => {
    seen ||= events.event(data).pid === process.pid;
  });
  while (!seen) {
    process.ppid;
    b.ringBufferPoll(100);
  }
  const first = performance.timeOrigin + performance.now();
  if (i + 1 === Number(times)) {
    const rss = Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
    console.log(JSON.stringify({ rss, first, attached: Math.min(...attached), by: b.compiledBy }));
  }
  b.close();
}
