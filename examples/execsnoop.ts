// Prints every program that is started and by whom. `tsbcc execsnoop` shows arguments and failures too.
import { BCC } from 'tsbcc';
import { limits } from './lib/limits';

const b = new BCC(`
struct exec_t {
    u32 pid;
    u32 uid;
    char comm[16];
    char path[128];
};
BPF_RINGBUF_OUTPUT(execs, 16);

TRACEPOINT_PROBE(sched, sched_process_exec) {
    struct exec_t exec = {};
    exec.pid = bpf_get_current_pid_tgid() >> 32;
    exec.uid = bpf_get_current_uid_gid();
    bpf_get_current_comm(&exec.comm, sizeof(exec.comm));
    TP_DATA_LOC_READ_STR(exec.path, filename, sizeof(exec.path));
    execs.ringbuf_output(&exec, sizeof(exec), 0);
    return 0;
}`);
const limit = limits();

async function print() {
  console.log(`${'PCOMM'.padEnd(16)} ${'PID'.padEnd(7)} ${'UID'.padEnd(5)} PATH`);
  for await (const { comm, pid, uid, path } of b.table('execs').events({ signal: limit.signal })) {
    console.log(`${comm.padEnd(16)} ${String(pid).padEnd(7)} ${String(uid).padEnd(5)} ${path}`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void print();
