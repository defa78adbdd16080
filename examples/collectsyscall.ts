// Counts the system calls of each process and the time they take: `collectsyscall [PID]`. Printed at the end.
import { BCC } from 'tsbcc';
import { limits, operands } from './lib/limits';
import { syscallNames } from './lib/syscall-names';

const [pid] = operands;

const b = new BCC({
  text: `
struct call_t {
    u32 pid;
    u32 nr;
};
struct sum_t {
    u64 count;
    u64 ns;
    char comm[16];
};
BPF_HASH(begun, u64, u64);
BPF_HASH(sums, struct call_t, struct sum_t);

TRACEPOINT_PROBE(raw_syscalls, sys_enter) {
    u64 thread = bpf_get_current_pid_tgid();
    if (WANTED_PID && thread >> 32 != WANTED_PID)
        return 0;
    u64 now = bpf_ktime_get_ns();
    begun.update(&thread, &now);
    return 0;
}

TRACEPOINT_PROBE(raw_syscalls, sys_exit) {
    u64 thread = bpf_get_current_pid_tgid();
    u64 *begin = begun.lookup(&thread);
    if (!begin)
        return 0;
    struct call_t call = {.pid = thread >> 32, .nr = args->id};
    struct sum_t none = {};
    struct sum_t *sum = sums.lookup_or_try_init(&call, &none);
    if (sum) {
        lock_xadd(&sum->count, 1);
        lock_xadd(&sum->ns, bpf_ktime_get_ns() - *begin);
        bpf_get_current_comm(&sum->comm, sizeof(sum->comm));
    }
    begun.delete(&thread);
    return 0;
}`,
  cflags: [`-DWANTED_PID=${Number(pid ?? 0)}`],
});
const limit = limits();

console.log('Collecting system calls; Ctrl-C ends.');
const timer = setInterval(() => {
  if (!limit.reached) return;
  clearInterval(timer);
  const names = syscallNames();
  const rows = [...b.table('sums').entries()].sort(([a, x], [c, y]) => a.pid - c.pid || Number(y.count - x.count));
  console.log(`${'PID'.padEnd(7)} ${'COMM'.padEnd(16)} ${'SYSCALL'.padEnd(20)} ${'COUNT'.padStart(8)} ELAPSED(ms)`);
  for (const [{ pid, nr }, { comm, count, ns }] of rows) {
    const name = names.get(nr) ?? String(nr);
    const elapsed = (Number(ns) / 1e6).toFixed(3).padStart(11);
    console.log(
      `${String(pid).padEnd(7)} ${comm.padEnd(16)} ${name.padEnd(20)} ${String(count).padStart(8)} ${elapsed}`,
    );
  }
  b.close();
}, 100);
