/*
 * Compile, load, attach, read, close, again and again in one process:
 *
 *   node --expose-gc test/soak/rounds.mjs '{"rounds":60,"cache":true}'
 *
 * Each round asserts what the kernel did; "uprobe":false does without the one on the process itself. While the first is attached and then after every so-many-th, bpftool is asked
 * what there is of ours. Prints what it measured as one line of JSON.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { BCC, PerfSWConfig, PerfType, SymbolCache } from '../../lib/index.js';

const { rounds, cache, every = 50, uprobe = true } = JSON.parse(process.argv[2]);
const CALLS = 5;
/** Every program and map is called by it, so that bpftool tells them from others'. */
const OURS = `s${process.pid}_`;

const text = `
struct event { u64 ts; u32 pid; char comm[16]; };
BPF_HASH(${OURS}counts, u32, u64);
BPF_RINGBUF_OUTPUT(${OURS}ring, 8);
BPF_PERF_OUTPUT(${OURS}perf);
BPF_STACK_TRACE(${OURS}stacks, 64);
BPF_ARRAY(${OURS}stack, int, 1);

static inline int ours() { return bpf_get_current_pid_tgid() >> 32 == ${process.pid}; }

int ${OURS}tp(struct pt_regs *ctx) {
  if (!ours()) return 0;
  struct event event = { .ts = bpf_ktime_get_ns(), .pid = ${process.pid} };
  bpf_get_current_comm(&event.comm, sizeof(event.comm));
  ${OURS}counts.increment(event.pid);
  ${OURS}ring.ringbuf_output(&event, sizeof(event), 0);
  ${OURS}perf.perf_submit(ctx, &event, sizeof(event));
  return 0;
}
int ${OURS}up(struct pt_regs *ctx) {
  int zero = 0, id = ${OURS}stacks.get_stackid(ctx, BPF_F_USER_STACK | BPF_F_REUSE_STACKID);
  u32 key = 1;
  ${OURS}stack.update(&zero, &id);
  ${OURS}counts.increment(key);
  return 0;
}
int ${OURS}raw(void *ctx) { return 0; }
int ${OURS}clock(struct bpf_perf_event_data *ctx) { return 0; }
`;

function bpftool(kind) {
  return JSON.parse(execFileSync('bpftool', ['-j', kind, 'list'], { encoding: 'utf8', maxBuffer: 1 << 26 }));
}

/** Programs, maps and links of ours in the kernel, as bpftool lists them. */
function kernelObjects() {
  const named = ({ name }) => name?.startsWith(OURS);
  const programs = bpftool('prog').filter(named);
  const ids = new Set(programs.map(({ id }) => id));
  const links = bpftool('link').filter(({ prog_id: id }) => ids.has(id));
  return { programs: programs.length, maps: bpftool('map').filter(named).length, links: links.length };
}

/** The kernel frees a program, and with it its hold on maps, some time after its last descriptor is closed. */
async function remainingObjects() {
  for (const deadline = Date.now() + 20_000; ; await sleep(50)) {
    const objects = kernelObjects();
    if (objects.programs + objects.maps + objects.links === 0 || Date.now() > deadline) return objects;
  }
}

/** Events that somebody made by name in tracefs and did not take away. */
function probeEvents() {
  return ['kprobe_events', 'uprobe_events'].flatMap((file) => {
    try {
      return readFileSync(`/sys/kernel/tracing/${file}`, 'utf8').split('\n').filter(Boolean);
    } catch {
      return [];
    }
  }).length;
}

const descriptors = () => readdirSync('/proc/self/fd').length;

function resident() {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}

function attach() {
  const b = new BCC({ text, cache });
  b.attachTracepoint({ tp: 'syscalls:sys_enter_kill', fnName: `${OURS}tp` });
  if (uprobe) b.attachUprobe({ name: 'c', sym: 'getppid', fnName: `${OURS}up`, pid: process.pid });
  b.attachRawTracepoint({ tp: 'sched_switch', fnName: `${OURS}raw` });
  b.attachPerfEvent({
    evType: PerfType.SOFTWARE,
    evConfig: PerfSWConfig.CPU_CLOCK,
    fnName: `${OURS}clock`,
    sampleFreq: 49,
  });
  return b;
}

async function read(b) {
  const stream = b.table(`${OURS}ring`).events();
  const fromPerf = [];
  const perf = b.table(`${OURS}perf`);
  perf.openPerfBuffer((_cpu, data) => fromPerf.push(perf.event(data)));
  for (let i = 0; i < CALLS; i++) process.kill(process.pid, 0);
  const parent = process.ppid;
  assert.equal(parent, process.ppid);

  let seen = 0;
  for await (const event of stream) {
    assert.equal(event.pid, process.pid);
    if (++seen === CALLS) break;
  }
  b.perfBufferConsume();
  assert.deepEqual(
    fromPerf.map(({ pid }) => pid),
    Array(CALLS).fill(process.pid),
  );
  assert.deepEqual(
    new Map(b.table(`${OURS}counts`)),
    new Map([[process.pid, BigInt(CALLS)], ...(uprobe ? [[1, 2n]] : [])]),
  );
  if (uprobe) readStack(b);
}

function readStack(b) {
  const [top] = b.table(`${OURS}stacks`).walk(b.table(`${OURS}stack`).get(0));
  assert.ok(top > 0n);
  const symbols = new SymbolCache(process.pid);
  assert.match(symbols.resolve(top).name ?? '', /getppid/);
  symbols.close();
}

const before = { descriptors: descriptors(), probeEvents: probeEvents() };
const samples = [];
let attached;
let compiledBy;
for (let round = 1; round <= rounds; round++) {
  const b = attach();
  compiledBy = b.compiledBy;
  if (round === 1) attached = kernelObjects();
  await read(b);
  b.close();
  // Node frees what native objects hold in a turn of the event loop; a loop of awaits that never wait lets none come.
  await sleep(0);
  if (round % every === 0 || round === rounds) {
    samples.push({ round, descriptors: descriptors(), resident: resident(), ...(await remainingObjects()) });
  }
}
console.log(JSON.stringify({ rounds, compiledBy, before, attached, samples, probeEvents: probeEvents() }));
