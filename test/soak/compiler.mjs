/*
 * What libbcc and LLVM keep of each compilation, in a process that compiles itself, which tsbcc's users never do:
 *
 *   node --expose-gc test/soak/compiler.mjs '{"rounds":20}'
 *
 * Prints resident memory before the first, after the first, and after the last, in bytes, as one line of JSON.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { resolveHeaders } from '../../lib/kernel/headers.js';
import { compiler } from '../../lib/native.js';

const { rounds } = JSON.parse(process.argv[2]);
const text = `
BPF_HASH(counts, u32, u64);
int count(void *ctx) { u32 pid = bpf_get_current_pid_tgid() >> 32; counts.increment(pid); return 0; }
`;
const headers = resolveHeaders(undefined, text);
if (headers.path !== '') process.env.BCC_KERNEL_SOURCE = headers.path;

function resident() {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}

function compile() {
  const module = compiler().compile(text, [...headers.cflags], 0, true, null);
  assert.equal(module.functions().length, 1);
  module.close();
}

const before = resident();
const descriptors = readdirSync('/proc/self/fd').length;
compile();
const first = resident();
for (let i = 1; i < rounds; i++) compile();
console.log(
  JSON.stringify({
    rounds,
    before,
    first,
    last: resident(),
    descriptors: [descriptors, readdirSync('/proc/self/fd').length],
  }),
);
