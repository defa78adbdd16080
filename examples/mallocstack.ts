// Sums up what a process allocates by the stacks that asked for it: `mallocstack PID`. Ctrl-C or --duration prints them.
import { BCC } from 'tsbcc';
import { limits, operands } from './lib/limits';

const pid = Number(operands[0]);
if (!Number.isInteger(pid) || pid <= 0) {
  console.error('usage: mallocstack PID');
  process.exit(2);
}

const b = new BCC(`
BPF_HASH(bytes, int, u64, 4096);
BPF_STACK_TRACE(stacks, 4096);

int on_malloc(struct pt_regs *ctx, size_t size) {
    int stack = stacks.get_stackid(ctx, BPF_F_USER_STACK | BPF_F_REUSE_STACKID);
    if (stack >= 0)
        bytes.atomic_increment(stack, size);
    return 0;
}`);
b.attachUprobe({ name: 'c', sym: 'malloc', fnName: 'on_malloc', pid });
const limit = limits();

console.log(`Attached to malloc of process ${pid}; Ctrl-C ends.`);
const timer = setInterval(() => {
  if (!limit.reached) return;
  clearInterval(timer);
  const sums = [...b.table<number, bigint>('bytes').entries()].sort(([, one], [, other]) => Number(one - other));
  for (const [stack, sum] of sums) {
    console.log(`${sum} bytes allocated at:`);
    for (const name of b
      .table('stacks')
      .walk(stack, (address: bigint) => BCC.sym(address, pid, { showOffset: true }))) {
      console.log(`\t${name}`);
    }
  }
  b.close();
}, 100);
