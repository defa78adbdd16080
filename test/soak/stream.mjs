/*
 * Very many events through one stream, so that received + lost = produced:
 *
 *   node test/soak/stream.mjs '{"buffer":"ring","pages":1024,"events":2000000}'
 *
 * A process makes system calls, each of which sends PER_CALL events; the BPF program counts what it sent. With "stall"
 * the consumer does not read at first until that many have been sent. Prints what it counted as one line of JSON.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { BCC } from '../../lib/index.js';

const { buffer, pages, events: wanted, stall = 0 } = JSON.parse(process.argv[2]);
const PER_CALL = 20;
const ring = buffer === 'ring';

const producer = spawn(
  process.execPath,
  ['-e', `process.stdin.once('data', (calls) => { for (let i = 0; i < +calls; i++) process.ppid; process.exit(); })`],
  { stdio: ['pipe', 'inherit', 'inherit'] },
);

const b = new BCC({
  text: `
struct event { u64 seq; u32 pid; char comm[16]; };
${ring ? 'BPF_RINGBUF_OUTPUT(events, PAGES);' : 'BPF_PERF_OUTPUT(events);'}
BPF_ARRAY(sent, u64, 1);

TRACEPOINT_PROBE(syscalls, sys_enter_getppid) {
  if (bpf_get_current_pid_tgid() >> 32 != PRODUCER) return 0;
  int zero = 0;
  u64 *seq = sent.lookup(&zero);
  if (!seq) return 0;
  struct event event = { .pid = PRODUCER };
  bpf_get_current_comm(&event.comm, sizeof(event.comm));
#pragma unroll
  for (int i = 0; i < ${PER_CALL}; i++) {
    event.seq = (*seq)++;
    ${ring ? 'events.ringbuf_output(&event, sizeof(event), 0)' : 'events.perf_submit(args, &event, sizeof(event))'};
  }
  return 0;
}`,
  cflags: [`-DPRODUCER=${producer.pid}`, `-DPAGES=${pages}`],
  countLost: ring,
});

const stream = b.table('events').batches(ring ? {} : { pageCnt: pages });
const produced = () => Number(b.table('sent').get(0));
const began = process.cpuUsage();

/** Ends the stream once nothing is left to come. */
async function endWhenDone() {
  await once(producer, 'exit');
  for (let seen = -1; seen !== stream.stats.received; await sleep(200)) seen = stream.stats.received;
  // What was lost at the very end is told when the next event arrives, or when it is asked for.
  stream.close();
}

producer.stdin.write(`${Math.ceil(wanted / PER_CALL)}\n`);
while (produced() < stall) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
const ended = endWhenDone();
let received = 0;
let last = -1n;
/** Events that are missing between two that came: every one of them was lost, and told. */
let missing = 0n;
for await (const batch of stream) {
  for (let i = 0; i < batch.length; i++) {
    const { seq } = batch.at(i);
    if (seq <= last && ring) assert.fail(`event ${seq} after ${last}`);
    if (seq > last) {
      missing += seq - last - 1n;
      last = seq;
    } else missing -= 1n;
    received++;
  }
}
await ended;
const sent = produced();
missing += BigInt(sent) - last - 1n;
const { lost } = stream.stats;
b.close();
const { user, system } = process.cpuUsage(began);
console.log(
  JSON.stringify({
    buffer,
    pages,
    produced: sent,
    received,
    lost,
    missing: Number(missing),
    cpuSeconds: (user + system) / 1e6,
    residentMiB: process.memoryUsage().rss / 2 ** 20,
  }),
);
