// Prints who asks for the kernel's name with uname(2), and the release that it was told.
import { BCC } from 'tsbcc';
import { limits } from './lib/limits';

const b = new BCC(`
#include <linux/utsname.h>
struct asked_t {
    u32 pid;
    char comm[16];
    char release[65];
};
BPF_HASH(buffers, u64, u64);
BPF_RINGBUF_OUTPUT(asked, 8);

// When the call begins, the kernel has not filled in the caller's buffer yet.
TRACEPOINT_PROBE(syscalls, sys_enter_newuname) {
    u64 thread = bpf_get_current_pid_tgid();
    u64 buffer = (u64)args->name;
    buffers.update(&thread, &buffer);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_newuname) {
    u64 thread = bpf_get_current_pid_tgid();
    u64 *buffer = buffers.lookup(&thread);
    if (!buffer)
        return 0;
    struct new_utsname *name = (void *)*buffer;
    struct asked_t event = {};
    event.pid = thread >> 32;
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
    bpf_probe_read_user_str(event.release, sizeof(event.release), name->release);
    asked.ringbuf_output(&event, sizeof(event), 0);
    buffers.delete(&thread);
    return 0;
}`);
const limit = limits();

async function print() {
  console.log(`${'COMM'.padEnd(16)} ${'PID'.padEnd(7)} RELEASE`);
  for await (const { comm, pid, release } of b.table('asked').events({ signal: limit.signal })) {
    console.log(`${comm.padEnd(16)} ${String(pid).padEnd(7)} ${release}`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void print();
