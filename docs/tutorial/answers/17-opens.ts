// Lesson 17: a small tool of one's own: the files that programs open, as a table or as JSON (`17-opens json`).
import { BCC, toNdjson } from 'tsbcc';
import { limits, operands } from '../../../examples/lib/limits';

const json = operands[0] === 'json';

const b = new BCC({
  text: `
struct open_t {
    u32 pid;
    int result;
    u64 took_ns;
    char comm[16];
    char path[128];
};
struct call_t {
    u64 ns;
    u64 path;
};
BPF_HASH(calls, u64, struct call_t);
BPF_RINGBUF_OUTPUT(opens, 64);

TRACEPOINT_PROBE(syscalls, sys_enter_openat) {
    u64 thread = bpf_get_current_pid_tgid();
    struct call_t call = {.ns = bpf_ktime_get_ns(), .path = (u64)args->filename};
    calls.update(&thread, &call);
    return 0;
}

// The path is read on the way out: by then the kernel has brought its page into memory.
TRACEPOINT_PROBE(syscalls, sys_exit_openat) {
    u64 thread = bpf_get_current_pid_tgid();
    struct call_t *call = calls.lookup(&thread);
    if (!call)
        return 0;
    struct open_t event = {.pid = thread >> 32, .result = args->ret};
    event.took_ns = bpf_ktime_get_ns() - call->ns;
    bpf_get_current_comm(event.comm, sizeof(event.comm));
    bpf_probe_read_user_str(event.path, sizeof(event.path), (void *)call->path);
    opens.ringbuf_output(&event, sizeof(event), 0);
    calls.delete(&thread);
    return 0;
}`,
  countLost: true,
});
const limit = limits();

interface Open {
  pid: number;
  result: number;
  took_ns: bigint;
  comm: string;
  path: string;
}

async function main() {
  const stream = b.table('opens').events<Open>({ signal: limit.signal });
  if (!json) console.log(`${'PID'.padEnd(7)} ${'COMM'.padEnd(16)} ${'RESULT'.padStart(6)} ${'US'.padStart(6)} PATH`);
  for await (const open of stream) {
    const { pid, comm, result, took_ns, path } = open;
    const us = String(took_ns / 1000n).padStart(6);
    if (json) console.log(toNdjson(open, { plain: true }));
    else console.log(`${String(pid).padEnd(7)} ${comm.padEnd(16)} ${String(result).padStart(6)} ${us} ${path}`);
    limit.next();
    if (limit.reached) break;
  }
  if (stream.stats.lost > 0) console.error(`${stream.stats.lost} events were lost`);
  b.close();
}

void main();
