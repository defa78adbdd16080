// Lesson 14: which environment variables programs ask libc for, and how often.
import { BCC } from 'tsbcc';
import { limits } from '../../../examples/lib/limits';

const b = new BCC(`
#include <uapi/linux/ptrace.h>

struct variable_t {
    char name[64];
};
BPF_HASH(asked, struct variable_t, u64);

int on_getenv(struct pt_regs *ctx) {
    struct variable_t variable = {};
    if (bpf_probe_read_user_str(variable.name, sizeof(variable.name), (void *)PT_REGS_PARM1(ctx)) > 0)
        asked.increment(variable);
    return 0;
}`);
b.attachUprobe({ name: 'c', sym: 'getenv', fnName: 'on_getenv' });
const asked = b.table<{ name: string }, bigint>('asked');
const limit = limits();

console.log('Tracing getenv()... Ctrl-C to end.');
let counted = 0;
const timer = setInterval(() => {
  const calls = Number([...asked.values()].reduce((sum, count) => sum + count, 0n));
  for (; counted < calls; counted++) limit.next();
  if (!limit.reached) return;
  clearInterval(timer);
  console.log(`${'COUNT'.padStart(10)} VARIABLE`);
  const byCount = asked.items().sort(([, a], [, b]) => Number(a - b));
  for (const [{ name }, count] of byCount) console.log(`${String(count).padStart(10)} ${JSON.stringify(name)}`);
  b.close();
}, 100);
