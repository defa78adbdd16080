// Lesson 15: the modules that Python programs import, from a USDT probe in the interpreter: `15-python-imports [PATH [PID]]`.
import { BCC, USDT } from 'tsbcc';
import { limits, operands } from '../../../examples/lib/limits';

const [program = '/usr/bin/python3', pid] = operands;
const usdt = new USDT({ path: BCC.findExe(program) ?? program, ...(pid !== undefined && { pid: Number(pid) }) });
usdt.enableProbeOrBail({ probe: 'import__find__load__start', fnName: 'on_import' });

const b = new BCC({
  text: `
struct import_t {
    u32 pid;
    char comm[16];
    char module[64];
};
BPF_RINGBUF_OUTPUT(imports, 64);

int on_import(struct pt_regs *ctx) {
    struct import_t event = {};
    u64 name = 0;
    bpf_usdt_readarg(1, ctx, &name);
    event.pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(event.comm, sizeof(event.comm));
    bpf_probe_read_user_str(event.module, sizeof(event.module), (void *)name);
    imports.ringbuf_output(&event, sizeof(event), 0);
    return 0;
}`,
  usdtContexts: [usdt],
});
const limit = limits();

async function main() {
  console.log(`${'COMM'.padEnd(16)} ${'PID'.padEnd(7)} MODULE`);
  for await (const { comm, pid, module } of b.table('imports').events({ signal: limit.signal })) {
    console.log(`${comm.padEnd(16)} ${String(pid).padEnd(7)} ${module}`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void main();
