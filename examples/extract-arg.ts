// Prints the file that every execve(2) is asked to run, read from the arguments of the system call.
import { BCC } from 'tsbcc';
import { hasKprobes } from './lib/attach-syscall';
import { limits } from './lib/limits';

const body = `
    char path[128] = {};
    bpf_probe_read_user_str(path, sizeof(path), (void *)filename);
    bpf_trace_printk("execve: %s", path);
    return 0;
}`;

// A function named syscall__… gets the arguments of its system call, wherever the kernel's entry keeps them.
const b = hasKprobes
  ? new BCC(`int syscall__execve(struct pt_regs *ctx, const char __user *filename) {${body}`)
  : new BCC(`TRACEPOINT_PROBE(syscalls, sys_enter_execve) { const char *filename = args->filename;${body}`);
if (hasKprobes) b.attachKprobe({ event: b.getSyscallFnname('execve'), fnName: 'syscall__execve' });
const limit = limits();

async function print() {
  for await (const line of b.trace({ signal: limit.signal })) {
    console.log(line);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void print();
