// On the host of virtual machines: prints each hypercall of a guest between the exit that it caused and the next entry.
import { BCC } from 'tsbcc';
import { limits } from './lib/limits';

if (!BCC.tracepointExists('kvm', 'kvm_hypercall')) {
  console.error('this kernel has no tracepoints of KVM: load the module kvm on the host of virtual machines');
  process.exit(1);
}

const b = new BCC(`
// Intel's number of "the guest executed VMCALL".
#define EXIT_REASON_VMCALL 18
struct step_t {
    u64 ns;
    u32 pid;
    u32 kind;
    u64 value;
};
// The threads that are outside their guest because of a hypercall.
BPF_HASH(outside, u64, u8);
BPF_RINGBUF_OUTPUT(steps, 8);

static void tell(u32 kind, u64 value) {
    struct step_t step = {.ns = bpf_ktime_get_ns(), .kind = kind, .value = value};
    step.pid = bpf_get_current_pid_tgid() >> 32;
    steps.ringbuf_output(&step, sizeof(step), 0);
}

TRACEPOINT_PROBE(kvm, kvm_exit) {
    u64 thread = bpf_get_current_pid_tgid();
    u8 yes = 1;
    if (args->exit_reason == EXIT_REASON_VMCALL) {
        outside.update(&thread, &yes);
        tell(0, args->exit_reason);
    }
    return 0;
}

TRACEPOINT_PROBE(kvm, kvm_hypercall) {
    u64 thread = bpf_get_current_pid_tgid();
    if (outside.lookup(&thread))
        tell(1, args->nr);
    return 0;
}

TRACEPOINT_PROBE(kvm, kvm_entry) {
    u64 thread = bpf_get_current_pid_tgid();
    if (!outside.lookup(&thread))
        return 0;
    tell(2, args->vcpu_id);
    outside.delete(&thread);
    return 0;
}`);
const limit = limits();
const WORDS = ['KVM_EXIT exit_reason', 'HYPERCALL nr', 'KVM_ENTRY vcpu_id'];

async function print() {
  console.log(`${'TIME(s)'.padEnd(18)} ${'PID'.padEnd(7)} EVENT`);
  for await (const { ns, pid, kind, value } of b.table('steps').events({ signal: limit.signal })) {
    console.log(`${(Number(ns) / 1e9).toFixed(9).padEnd(18)} ${String(pid).padEnd(7)} ${WORDS[kind]}: ${value}`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void print();
