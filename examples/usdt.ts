// Prints the first argument of a USDT probe, a place that a program's authors marked: `usdt [PATH [PROBE [PID]]]`. By
// default it is Python's gc__start, whose argument is the generation that is collected, in every process.
import { BCC, USDT } from 'tsbcc';
import { limits, operands } from './lib/limits';

const [path = '/usr/bin/python3', probe = 'gc__start', pid] = operands;
const usdt = new USDT({ path: BCC.findExe(path) ?? path, ...(pid !== undefined && { pid: Number(pid) }) });
usdt.enableProbeOrBail({ probe, fnName: 'on_probe' });

const b = new BCC({
  text: `
struct passed_t {
    u32 pid;
    char comm[16];
    u64 value;
};
BPF_RINGBUF_OUTPUT(passed, 8);

int on_probe(struct pt_regs *ctx) {
    struct passed_t event = {};
    event.pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
    bpf_usdt_readarg(1, ctx, &event.value);
    passed.ringbuf_output(&event, sizeof(event), 0);
    return 0;
}`,
  usdtContexts: [usdt],
});
const limit = limits();

async function print() {
  console.log(`${'COMM'.padEnd(16)} ${'PID'.padEnd(7)} ${probe}(first argument)`);
  for await (const { comm, pid, value } of b.table('passed').events({ signal: limit.signal })) {
    console.log(`${comm.padEnd(16)} ${String(pid).padEnd(7)} 0x${value.toString(16)}`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void print();
