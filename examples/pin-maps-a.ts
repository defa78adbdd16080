// Counts execve(2) by process into maps that are pinned to bpffs, for other programs to open: pin-maps-b is one.
// `pin-maps-a [FOLDER]`; the pins are removed at the end.
import { mkdirSync, rmSync } from 'node:fs';
import { BCC } from 'tsbcc';
import { attachSyscall } from './lib/attach-syscall';
import { limits, operands } from './lib/limits';

const folder = operands[0] ?? '/sys/fs/bpf/tsbcc-example';

const b = new BCC(`
BPF_HASH(by_pid, u32, u64);
BPF_ARRAY(total, u64, 1);

int on_execve(void *ctx) {
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    by_pid.atomic_increment(pid);
    total.atomic_increment(0);
    return 0;
}`);
attachSyscall(b, 'execve', 'on_execve');
const limit = limits();
const total = b.table<number, bigint>('total');

mkdirSync(folder, { recursive: true });
for (const name of ['by_pid', 'total']) BCC.pin(b.table(name), `${folder}/${name}`);
console.log(`Pinned by_pid and total in ${folder}; in another terminal, run: scripts/example pin-maps-b ${folder}`);

let shown = 0n;
const timer = setInterval(() => {
  const now = total.get(0) ?? 0n;
  if (now !== shown) console.log(`execve total: ${now}`);
  for (; shown < now; shown++) limit.next();
  if (!limit.reached) return;
  clearInterval(timer);
  rmSync(folder, { recursive: true });
  b.close();
}, 200);
