// Raises an alarm when packets arrive one close upon the other for long, as floods do: `dddos [PACKETS]`, 1000 by default.
// A large download looks the same: it shows a technique, and guards nothing.
import { BCC } from 'tsbcc';
import { hasKprobes } from './lib/attach-syscall';
import { limits, operands } from './lib/limits';

const packets = Number(operands[0] ?? 1000);

const b = new BCC({
  text: `
struct run_t {
    u64 last_ns;
    u64 packets;
};
struct alarm_t {
    u64 packets;
};
BPF_ARRAY(runs, struct run_t, 1);
BPF_RINGBUF_OUTPUT(alarms, 8);

int on_packet(void *ctx) {
    int zero = 0;
    struct run_t *run = runs.lookup(&zero);
    if (!run)
        return 0;
    u64 now = bpf_ktime_get_ns();
    run->packets = now - run->last_ns < CLOSE_NS ? run->packets + 1 : 0;
    run->last_ns = now;
    if (run->packets < MANY)
        return 0;
    struct alarm_t alarm = {.packets = run->packets};
    alarms.ringbuf_output(&alarm, sizeof(alarm), 0);
    run->packets = 0;
    return 0;
}`,
  cflags: ['-DCLOSE_NS=1000000', `-DMANY=${packets}`],
});
if (hasKprobes) b.attachKprobe({ event: 'ip_rcv', fnName: 'on_packet' });
else b.attachTracepoint({ tp: 'net:netif_receive_skb', fnName: 'on_packet' });
const limit = limits();

async function print() {
  console.log(`${'TIME'.padEnd(26)} MESSAGE`);
  for await (const { packets } of b.table('alarms').events({ signal: limit.signal })) {
    console.log(`${new Date().toISOString().padEnd(26)} flood: ${packets} packets, each within 1 ms of the one before`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void print();
