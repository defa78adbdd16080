import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmdirSync } from 'node:fs';
import { BCC, BPFAttachType, BPFProgType, PerfSWConfig, PerfType, XDPFlags } from '../../src';
import { runtime } from '../../src/native';
import { callKill, describeIf, itIf, outputOf, requireRoot, runProcess } from '../helpers';
import { sendOverLoopback } from '../helpers/network';

requireRoot();

/** Counts runs by hook, of this test's processes or of all. */
const TEXT = `
#include <uapi/linux/ptrace.h>
BPF_HASH(runs, u64, u64);
static inline int count(u64 hook) {
  runs.increment((bpf_get_current_pid_tgid() >> 32) << 8 | hook);
  return 0;
}
int on_entry(struct pt_regs *ctx) { return count(1); }
int on_return(struct pt_regs *ctx) { return count(2); }
int on_tracepoint(void *ctx) { return count(3); }
int on_raw(void *ctx) { return count(4); }
int on_clock(struct bpf_perf_event_data *ctx) { return count(5); }
int on_frame(struct __sk_buff *skb) { u64 k = 6; runs.increment(k); return -1; }
int on_packet(struct xdp_md *ctx) { u64 k = 7; runs.increment(k); return XDP_PASS; }
int on_filter(struct __sk_buff *skb) { u64 k = 8; runs.increment(k); return 0; }
struct call { u64 times; int signal; };
BPF_HASH(kills, u64, struct call);
static inline int keep(u64 hook, int pid, int signal) {
  u64 key = (u64)pid << 8 | hook;
  struct call call = {}, *before = kills.lookup(&key);
  call.times = before ? before->times + 1 : 1;
  call.signal = signal;
  kills.update(&key, &call);
  return 0;
}
int syscall__on_kill(struct pt_regs *ctx, int pid, int sig) { return keep(9, pid, sig); }
int on_device(struct bpf_cgroup_dev_ctx *ctx) { return ctx->minor != 9; }
`;

describe('a BCC object attaches and detaches', () => {
  let b: BCC;
  beforeAll(() => {
    b = new BCC({ text: TEXT, int64: 'number' });
  });
  afterAll(() => b.close());
  /** How often a hook ran in a process (0: wherever that is not told). */
  const runs = (pid: number, hook: number) => b.table<number, number>('runs').get(pid * 256 + hook) ?? 0;

  describeIf('kprobes', 'kprobes', () => {
    const event = () => b.getSyscallFnname('sync');

    it('and kretprobes by name, each found again by every name it has', () => {
      b.attachKprobe({ event: event(), fnName: 'on_entry' });
      b.attachKretprobe({ event: event(), fnName: 'on_return', maxactive: 8 });
      expect(b.numOpenKprobes()).toBe(2);
      const pid = runProcess('/bin/sync');
      expect([runs(pid, 1), runs(pid, 2)]).toEqual([1, 1]);
      b.detachKprobeEventByFn(`p_${event()}`, 'on_entry');
      b.detachKretprobe({ event: event() });
      expect(b.numOpenKprobes()).toBe(0);
      const other = runProcess('/bin/sync');
      expect([runs(other, 1), runs(other, 2)]).toEqual([0, 0]);
      expect(() => b.detachKprobe({ event: event() })).toThrow(
        expect.objectContaining({ code: 'ERR_BCC_NOT_ATTACHED' }),
      );
    });

    it('with the arguments of a system call by their names', () => {
      const event = b.getSyscallFnname('kill');
      b.attachKprobe({ event, fnName: 'syscall__on_kill' });
      callKill(2);
      b.detachKprobe({ event });
      callKill();
      expect(b.table('kills').get(process.pid * 256 + 9)).toEqual({ times: 2, signal: 0 });
    });

    it('by a pattern, through one link where the kernel can, and leave one of the functions', () => {
      b.attachKprobe({ eventRe: 'ksys_sync|vfs_getattr|vfs_fsync', fnName: 'on_entry' });
      expect(b.numOpenKprobes()).toBe(3);
      expect(b.links).toHaveLength(1);
      const pid = runProcess('/bin/sync');
      expect(runs(pid, 1)).toBeGreaterThanOrEqual(1);
      b.detachKprobeEvent('p_ksys_sync');
      expect(b.numOpenKprobes()).toBe(2);
      b.links[0]!.detach();
      expect(b.numOpenKprobes()).toBe(0);
    });

    it.each([undefined, 128])(
      'on the call that reads their own counts, once for each read (maxactive %s)',
      (maxactive) => {
        using fresh = new BCC({ text: TEXT, int64: 'number' });
        const own = (hook: number) => fresh.table<number, number>('runs').get(process.pid * 256 + hook) ?? 0;
        const eventRe = `^${fresh.getSyscallPrefix()}bp.*`;
        fresh.attachKprobe({ eventRe, fnName: 'on_entry' });
        fresh.attachKretprobe({ eventRe, fnName: 'on_return', maxactive });
        // The load of on_return was entered, and the read.
        expect(own(1)).toBeGreaterThanOrEqual(2);
        // Of the calls that began with both attached, one has returned.
        expect(own(2)).toBe(1);
      },
    );
  });

  it('tracepoints by name and by pattern', () => {
    b.attachTracepoint({ tp: 'syscalls:sys_enter_sync', fnName: 'on_tracepoint' });
    const pid = runProcess('/bin/sync');
    expect(runs(pid, 3)).toBe(1);
    b.detachTracepoint({ tp: 'syscalls:sys_enter_sync' });
    b.attachTracepoint({ tpRe: 'syscalls:sys_(enter|exit)_sync$', fnName: 'on_tracepoint' });
    expect(b.numOpenTracepoints()).toBe(2);
    const second = runProcess('/bin/sync');
    expect(runs(second, 3)).toBe(2);
    b.detachTracepoint({ tp: 'syscalls:sys_enter_sync' });
    b.detachTracepoint({ tp: 'syscalls:sys_exit_sync' });
    expect(b.numOpenTracepoints()).toBe(0);
  });

  it('raw tracepoints', () => {
    b.attachRawTracepoint({ tp: 'sched_process_exec', fnName: 'on_raw' });
    const pid = runProcess('/bin/true');
    expect(runs(pid, 4)).toBe(1);
    b.detachRawTracepoint({ tp: 'sched_process_exec' });
    expect(runs(runProcess('/bin/true'), 4)).toBe(0);
  });

  it('perf events', () => {
    const clock = { evType: PerfType.SOFTWARE, evConfig: PerfSWConfig.CPU_CLOCK };
    b.attachPerfEvent({ ...clock, fnName: 'on_clock', sampleFreq: 999 });
    for (const end = Date.now() + 5000; runs(process.pid, 5) === 0 && Date.now() < end; ) Math.sqrt(2);
    expect(runs(process.pid, 5)).toBeGreaterThan(0);
    b.detachPerfEvent(clock);
    expect(b.links).toEqual([]);
  });

  it('raw sockets, XDP and tc on an interface', async () => {
    const socket = b.loadFunc('on_frame', BPFProgType.SOCKET_FILTER);
    BCC.attachRawSocket(socket, 'lo');
    expect(socket.sock).toBeGreaterThan(2);
    const xdp = b.loadFunc('on_packet', BPFProgType.XDP);
    BCC.attachXdp('lo', xdp, XDPFlags.SKB_MODE);
    b.attachTc({ fn: 'on_filter', dev: 'lo', direction: 'ingress' });
    expect(b.links.map(({ kind, target }) => `${kind} ${target}`)).toEqual([
      'tc lo ingress',
      'socket_filter lo',
      'xdp lo',
    ]);
    await sendOverLoopback(1);
    expect([runs(0, 6), runs(0, 7), runs(0, 8)].every((count) => count > 0)).toBe(true);
    b.detachTc({ dev: 'lo', direction: 'ingress' });
    BCC.removeXdp('lo', XDPFlags.SKB_MODE);
    const after = [runs(0, 7), runs(0, 8)];
    await sendOverLoopback(1);
    expect([runs(0, 7), runs(0, 8)]).toEqual(after);
  });

  itIf('cgroup2', 'cgroup programs', () => {
    const mount = outputOf('/bin/sh', ['-c', 'awk \'$3 == "cgroup2" { print $2; exit }\' /proc/mounts']).trim();
    const group = `${mount}/tsbcc-facade-${process.pid}`;
    mkdirSync(group);
    try {
      const fn = b.loadFunc('on_device', BPFProgType.CGROUP_DEVICE);
      const open = () => spawnSync('sh', ['-c', 'echo $$ > "$0/cgroup.procs" && : < /dev/urandom', group]).status;
      BCC.attachFunc(fn, group, BPFAttachType.CGROUP_DEVICE);
      expect(b.links.map(({ kind }) => kind)).toContain('cgroup_device');
      expect(open()).not.toBe(0);
      BCC.detachFunc(fn, group, BPFAttachType.CGROUP_DEVICE);
      expect(open()).toBe(0);
      expect(() => BCC.detachFunc(fn, group, BPFAttachType.CGROUP_DEVICE)).toThrow(/detach/);
    } finally {
      rmdirSync(group);
    }
  });

  it('shows its functions as instructions and as text', () => {
    expect(b.dumpFunc('on_entry').length % 8).toBe(0);
    expect(b.disassembleFunc('on_tracepoint')).toMatch(
      /Disassemble of BPF program on_tracepoint[\s\S]*runs[\s\S]*exit/,
    );
    expect(b.decodeTable('runs')).toMatch(/^Layout of BPF map runs \(type HASH, FD \d+, ID \d+\):\n/);
    const fn = b.loadFunc('on_tracepoint', BPFProgType.TRACEPOINT);
    expect(fn.tag).toMatch(/^[0-9a-f]{16}$/);
    expect(fn.id).toBe(runtime().programInfo(fn.fd).id);
  });

  it('counts runs where statistics are on', () => {
    using _stats = BCC.enableStats();
    b.attachTracepoint({ tp: 'syscalls:sys_enter_sync', fnName: 'on_tracepoint' });
    const fn = b.loadFunc('on_tracepoint', BPFProgType.TRACEPOINT);
    const before = fn.runCount;
    runProcess('/bin/sync');
    expect(fn.runCount).toBeGreaterThan(before);
    expect(fn.runTimeNs).toBeGreaterThan(0n);
    b.detachTracepoint({ tp: 'syscalls:sys_enter_sync' });
  });
});

itIf('kprobes', 'functions named for a system call are attached to it', () => {
  using b = new BCC({
    int64: 'number',
    text: `
#include <uapi/linux/ptrace.h>
BPF_HASH(calls, u32, u64);
BPF_HASH(results, u32, long);
int kprobe__sys_kill(struct pt_regs *ctx) {
  u32 pid = bpf_get_current_pid_tgid() >> 32;
  calls.increment(pid);
  return 0;
}
int kretprobe__sys_kill(struct pt_regs *ctx) {
  u32 pid = bpf_get_current_pid_tgid() >> 32;
  long result = PT_REGS_RC(ctx);
  results.update(&pid, &result);
  return 0;
}`,
  });
  expect(b.links.map(({ target }) => target)).toEqual(Array(2).fill(b.getSyscallFnname('kill')));
  callKill(3);
  expect(b.table('calls').get(process.pid)).toBe(3);
  expect(b.table('results').get(process.pid)).toBe(0);
});

describeIf('kfunc', 'programs bound to their hook', () => {
  it('attach by their names, and detach', () => {
    using b = new BCC({
      int64: 'number',
      text: `
BPF_HASH(runs, u32, u64);
KFUNC_PROBE(ksys_sync) { u32 pid = bpf_get_current_pid_tgid() >> 32; runs.increment(pid); return 0; }
KRETFUNC_PROBE(ksys_sync) { u32 pid = bpf_get_current_pid_tgid() >> 32; runs.increment(pid); return 0; }`,
    });
    expect(b.links.map(({ kind, target }) => `${kind} ${target}`).sort()).toEqual([
      'kfunc ksys_sync',
      'kretfunc ksys_sync',
    ]);
    expect(b.table('runs').get(runProcess('/bin/sync'))).toBe(2);
    b.detachKfunc({ fnName: 'kfunc__ksys_sync' });
    b.detachKretfunc({ fnName: 'ksys_sync' });
    expect(b.table('runs').get(runProcess('/bin/sync'))).toBeUndefined();
    b.attachKfunc({ fnName: 'ksys_sync' });
    expect(b.table('runs').get(runProcess('/bin/sync'))).toBe(1);
  });

  const ofModule =
    existsSync('/sys/kernel/btf/overlay') && /^\S+ \/ overlay /m.test(readFileSync('/proc/mounts', 'utf8'));
  itIf({ when: ofModule, reason: 'the root is on no overlay of a module' }, 'to functions of modules too', () => {
    using b = new BCC({
      int64: 'number',
      text: `
BPF_HASH(opened, u32, u64);
MODULE_KFUNC_PROBE(overlay, ovl_open, void *inode, void *file) {
  u32 pid = bpf_get_current_pid_tgid() >> 32;
  opened.increment(pid);
  return 0;
}
MODULE_KRETFUNC_PROBE(overlay, ovl_open, void *inode, void *file, int ret) {
  u32 pid = bpf_get_current_pid_tgid() >> 32;
  if (ret == 0) opened.increment(pid);
  return 0;
}`,
    });
    expect(b.links.map(({ kind, target }) => `${kind} ${target}`).sort()).toEqual([
      'kfunc overlay:ovl_open',
      'kretfunc overlay:ovl_open',
    ]);
    closeSync(openSync('/etc/hostname', 'r'));
    expect(b.table('opened').get(process.pid)).toBe(2);
    b.detachKfunc({ fnName: 'kfunc__overlay__ovl_open' });
    closeSync(openSync('/etc/hostname', 'r'));
    expect(b.table('opened').get(process.pid)).toBe(3);
  });

  itIf('lsm', 'LSM hooks', () => {
    using b = new BCC(
      'LSM_PROBE(path_mkdir, const struct path *dir, struct dentry *dentry, umode_t mode) { return -EPERM; }',
    );
    expect(b.links.map(({ kind }) => kind)).toEqual(['lsm']);
    expect(() => mkdirSync(`/tmp/tsbcc-lsm-${process.pid}`)).toThrow(/EPERM/);
    b.detachLsm({ fnName: 'path_mkdir' });
    mkdirSync(`/tmp/tsbcc-lsm-${process.pid}`);
    rmdirSync(`/tmp/tsbcc-lsm-${process.pid}`);
  });
});

it('an iterator is read in records', () => {
  using b = new BCC(`
BPF_ITER(task) {
  struct seq_file *seq = ctx->meta->seq;
  struct task_struct *task = ctx->task;
  if (task == (void *)0) return 0;
  u64 pid = task->tgid;
  bpf_seq_write(seq, &pid, sizeof(pid));
  return 0;
}`);
  using iterator = b.attachIter({ fnName: 'task' });
  const pids = [...iterator.records<bigint>({ kind: 'int', size: 8, signed: false })];
  expect(pids).toContain(BigInt(process.pid));
});

it('system calls are found by their kernel functions', () => {
  using b = new BCC('int f(void *ctx) { return 0; }');
  const prefix = b.getSyscallPrefix();
  expect(BCC.ksymname(`${prefix}sync`) > 0n).toBe(true);
  expect(b.getSyscallFnname('sync')).toBe(`${prefix}sync`);
  for (const foreign of ['sys_sync', '__x64_sys_sync', '__arm64_sys_sync']) {
    expect(b.fixSyscallFnname(foreign)).toBe(`${prefix}sync`);
  }
  expect(b.fixSyscallFnname('vfs_read')).toBe('vfs_read');
});

it("the clock is the kernel's own", () => {
  using b = new BCC(`
BPF_ARRAY(at, u64, 1);
TRACEPOINT_PROBE(syscalls, sys_enter_kill) {
  int zero = 0;
  u64 now = bpf_ktime_get_ns();
  if (args->pid == ${process.pid}) at.update(&zero, &now);
  return 0;
}`);
  const before = BCC.monotonicTime();
  callKill();
  const after = BCC.monotonicTime();
  const at = b.table<number, bigint>('at').get(0)!;
  expect([at > before, at < after]).toEqual([true, true]);
});
