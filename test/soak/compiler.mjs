/*
 * What libbcc and LLVM keep of each compilation in a process that compiles itself, which tsbcc's users never do: measured
 * in BCC's Python module, which does.
 *
 *   node test/soak/compiler.mjs '{"rounds":20}'
 *
 * Prints resident memory before the first, after the first, and after the last, in bytes, and the descriptors before and
 * after, as one line of JSON.
 */
import { spawnSync } from 'node:child_process';
import { requireSource } from '../../scripts/bundle.mjs';

const { resolveHeaders } = requireSource('kernel/headers');
const { rounds } = JSON.parse(process.argv[2]);
const text = `
BPF_HASH(counts, u32, u64);
int count(void *ctx) { u32 pid = bpf_get_current_pid_tgid() >> 32; counts.increment(pid); return 0; }
`;
const script = `
import gc, json, os, sys
from bcc import BPF
rounds, text = int(sys.argv[1]), sys.argv[2]
def resident():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def descriptors():
    return len(os.listdir("/proc/self/fd"))
def compile():
    b = BPF(text=text)
    assert b["counts"].max_entries == 10240
    b.cleanup()
before, opened = resident(), descriptors()
compile()
first = resident()
for _ in range(1, rounds):
    compile()
print(json.dumps({"rounds": rounds, "before": before, "first": first, "last": resident(), "descriptors": [opened, descriptors()]}))
`;
const headers = resolveHeaders(undefined, text);
const env = { ...process.env, ...(headers.path !== '' && { BCC_KERNEL_SOURCE: headers.path }) };
const { status } = spawnSync('/usr/bin/python3', ['-c', script, String(rounds), text], {
  stdio: ['ignore', 'inherit', 'inherit'],
  env,
});
process.exitCode = status ?? 1;
