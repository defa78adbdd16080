// Counts the calls of sync(2), and tells how long after the one before each came.
import { BCC } from 'tsbcc';
import { attachSyscall } from './lib/attach-syscall';
import { limits } from './lib/limits';

const b = new BCC(`
struct sync_t {
    u64 number;
    u64 ns_since_last;
};
struct seen_t {
    u64 count;
    u64 last_ns;
};
BPF_ARRAY(seen, struct seen_t, 1);
BPF_RINGBUF_OUTPUT(syncs, 8);

int on_sync(void *ctx) {
    int zero = 0;
    struct seen_t *past = seen.lookup(&zero);
    if (!past)
        return 0;
    u64 now = bpf_ktime_get_ns();
    struct sync_t sync = {};
    sync.number = ++past->count;
    if (past->last_ns)
        sync.ns_since_last = now - past->last_ns;
    past->last_ns = now;
    syncs.ringbuf_output(&sync, sizeof(sync), 0);
    return 0;
}`);
attachSyscall(b, 'sync', 'on_sync');
const limit = limits();

console.log('Counting calls of sync(2); in another terminal, run: sync');
const syncs = b.table('syncs');
syncs.openRingBuffer((_ctx, data) => {
  if (!limit.next()) return;
  const { number, ns_since_last: ns } = syncs.event(data);
  console.log(ns === 0n ? `sync ${number}` : `sync ${number}, ${Number(ns / 1000n) / 1000} ms after the one before`);
});

const timer = setInterval(() => {
  b.ringBufferPoll(0);
  if (!limit.reached) return;
  clearInterval(timer);
  b.close();
}, 100);
