// Follows the heaps of programs as the C library grows and shrinks them, through the USDT probes of its allocator:
// `sbrk-trace [COMM [LIBRARY]]`.
import { BCC, USDT } from 'tsbcc';
import { limits, operands } from './lib/limits';

const [wanted, library = BCC.findLibrary('c')] = operands;
const usdt = new USDT({ path: library ?? 'libc.so.6' });
usdt.enableProbeOrBail({ probe: 'memory_sbrk_more', fnName: 'on_more' });
usdt.enableProbeOrBail({ probe: 'memory_sbrk_less', fnName: 'on_less' });
usdt.enableProbeOrBail({ probe: 'memory_mallopt_free_dyn_thresholds', fnName: 'on_thresholds' });

const handler = (fnName: string, kind: number) => `
int ${fnName}(struct pt_regs *ctx) {
    struct heap_t heap = {};
    heap.kind = ${kind};
    heap.ns = bpf_ktime_get_ns();
    heap.pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&heap.comm, sizeof(heap.comm));
    bpf_usdt_readarg(1, ctx, &heap.first);
    bpf_usdt_readarg(2, ctx, &heap.second);
    heaps.ringbuf_output(&heap, sizeof(heap), 0);
    return 0;
}`;

const b = new BCC({
  text: `
struct heap_t {
    u64 ns;
    u32 kind;
    u32 pid;
    char comm[16];
    u64 first;
    u64 second;
};
BPF_RINGBUF_OUTPUT(heaps, 8);
${handler('on_more', 0)}
${handler('on_less', 1)}
${handler('on_thresholds', 2)}`,
  usdtContexts: [usdt],
});
const limit = limits();

async function print() {
  console.log('Tracing sbrk; Ctrl-C ends.');
  let began = 0n;
  for await (const { ns, kind, pid, comm, first, second } of b.table('heaps').events({ signal: limit.signal })) {
    if (wanted !== undefined && comm !== wanted) continue;
    began ||= ns;
    const what =
      kind === 2
        ? `probe=memory_mallopt_free_dyn_thresholds mmap=${first} trim=${second}`
        : `probe=memory_sbrk_${kind === 0 ? 'more' : 'less'} addr=0x${first.toString(16)} size=${second}`;
    console.log(`[${(Number(ns - began) / 1e9).toFixed(9).padStart(17)}] pid=${pid} comm=${comm} ${what}`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void print();
