import { readFileSync } from 'node:fs';
import { attachFunc, detachFunc } from '../../src/attach/cgroup';
import { attachIter } from '../../src/attach/iterator';
import { attachKprobe, attachKprobeMulti, attachKprobes, type KprobeKind } from '../../src/attach/kprobe';
import type { AttachableProgram } from '../../src/attach/link';
import { attachRawSocket, attachXdp } from '../../src/attach/network';
import { attachPerfEvent, attachPerfEventRaw } from '../../src/attach/perf-event';
import { attachRawTracepoint } from '../../src/attach/raw-tracepoint';
import { attachTc } from '../../src/attach/tc';
import { attachTracepoint } from '../../src/attach/tracepoint';
import { attachTrampoline } from '../../src/attach/trampoline';
import { attachUprobes, planUprobes, type UprobeKind } from '../../src/attach/uprobe';
import { BPFAttachType, BPFMapType, BPFProgType, PerfSWConfig, PerfType, XDPFlags } from '../../src/constants';
import { BCCError } from '../../src/errors';
import { runtime } from '../../src/native';
import { itIf, type Need, requireRoot } from '../helpers';
import { type LoadedProgram, loadInsns, returns } from '../helpers/asm';

/* Every hook tells a program that it cannot take from a refusal of the kernel's, and both from a program that is closed. */

requireRoot();

const kprobe = (kind: KprobeKind) => (program: AttachableProgram) => attachKprobe(program, { event: 'vfs_read', kind });
const uprobe = (kind: UprobeKind) => (program: AttachableProgram) =>
  attachUprobes(program, planUprobes(kind, { name: 'c', sym: 'malloc' }));
const uprobeMulti = (program: AttachableProgram) =>
  attachUprobes(program, planUprobes('uprobe', { name: 'c', symRe: 'mall' }), { multi: true });
const clock = { type: PerfType.SOFTWARE, config: PerfSWConfig.CPU_CLOCK };
const perfEvent = (program: AttachableProgram) =>
  attachPerfEvent(program, { evType: clock.type, evConfig: clock.config, sampleFreq: 49 });
const perfEventRaw = (program: AttachableProgram) =>
  attachPerfEventRaw(program, { attr: { ...clock, samplePeriod: 1_000_000 } });
const tc = (options: { priority?: number }) => (program: AttachableProgram) =>
  attachTc(program, { dev: 'lo', direction: 'ingress', ...options });

const cgroupRoot = () =>
  readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .find((words) => words[2] === 'cgroup2')![1]!;
const onCgroup =
  (attachType: number, flags?: number) =>
  (program: AttachableProgram): unknown =>
    attachFunc(program, cgroupRoot(), attachType, flags);
const onNamespace = (attachType: number) => (program: AttachableProgram) => attachFunc(program, 0, attachType);
function onSocketMap(attachType: number) {
  return (program: AttachableProgram) => {
    const sizes = { keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 };
    const map = runtime().createMap({ type: BPFMapType.SOCKMAP, name: 'sockets', ...sizes });
    try {
      return attachFunc(program, map.fd, attachType);
    } finally {
      map.close();
    }
  };
}

const always: Need = 'runtime';
const hooks: [hook: string, takes: string, need: Need, attach: (program: AttachableProgram) => unknown][] = [
  ['kprobe', 'KPROBE', 'kprobes', kprobe('kprobe')],
  ['kretprobe', 'KPROBE', 'kprobes', kprobe('kretprobe')],
  ['kprobes on several functions', 'KPROBE', 'kprobes', (program) => attachKprobes(program, ['vfs_read', 'vfs_write'])],
  ['multi-kprobe', 'KPROBE', 'fprobe', (program) => attachKprobeMulti(program, ['vfs_read', 'vfs_write'])],
  ['uprobe', 'KPROBE', 'uprobes', uprobe('uprobe')],
  ['uretprobe', 'KPROBE', 'uprobes', uprobe('uretprobe')],
  ['multi-uprobe', 'KPROBE', 'uprobeMulti', uprobeMulti],
  ['tracepoint', 'TRACEPOINT', 'tracefs', (program) => attachTracepoint(program, 'sched:sched_switch')],
  ['raw tracepoint', 'RAW_TRACEPOINT', always, (program) => attachRawTracepoint(program, 'sched_switch')],
  ['kfunc', 'TRACING', always, (program) => attachTrampoline(program, 'kfunc', 'vfs_read')],
  ['kretfunc', 'TRACING', always, (program) => attachTrampoline(program, 'kretfunc', 'vfs_read')],
  ['fmod_ret', 'TRACING', always, (program) => attachTrampoline(program, 'kmod_ret', 'security_file_open')],
  ['LSM', 'LSM', always, (program) => attachTrampoline(program, 'lsm', 'file_open')],
  ['iterator', 'TRACING', 'btf', (program) => attachIter(program, 'task')],
  ['perf event', 'PERF_EVENT', always, perfEvent],
  ['raw perf event', 'PERF_EVENT', always, perfEventRaw],
  ['raw socket', 'SOCKET_FILTER', always, (program) => attachRawSocket(program, 'lo')],
  ['XDP', 'XDP', always, (program) => attachXdp(program, 'lo')],
  ['XDP in skb mode', 'XDP', always, (program) => attachXdp(program, 'lo', XDPFlags.SKB_MODE)],
  ['tc', 'SCHED_CLS', always, tc({})],
  ['tc on a qdisc', 'SCHED_CLS', always, tc({ priority: 7 })],
  ['devices of a cgroup', 'CGROUP_DEVICE', 'cgroup2', onCgroup(BPFAttachType.CGROUP_DEVICE)],
  ['devices of a cgroup, alone', 'CGROUP_DEVICE', 'cgroup2', onCgroup(BPFAttachType.CGROUP_DEVICE, 0)],
  ['packets of a cgroup', 'CGROUP_SKB', 'cgroup2', onCgroup(BPFAttachType.CGROUP_INET_EGRESS)],
  ['new sockets of a cgroup', 'CGROUP_SOCK', 'cgroup2', onCgroup(BPFAttachType.CGROUP_INET_SOCK_CREATE)],
  ['connections of a cgroup', 'CGROUP_SOCK_ADDR', 'cgroup2', onCgroup(BPFAttachType.CGROUP_INET4_CONNECT)],
  ['socket options of a cgroup', 'CGROUP_SOCKOPT', 'cgroup2', onCgroup(BPFAttachType.CGROUP_GETSOCKOPT)],
  ['socket operations of a cgroup', 'SOCK_OPS', 'cgroup2', onCgroup(BPFAttachType.CGROUP_SOCK_OPS)],
  ['sysctls of a cgroup', 'CGROUP_SYSCTL', 'cgroup2', onCgroup(BPFAttachType.CGROUP_SYSCTL)],
  ['messages of a socket map', 'SK_MSG', always, onSocketMap(BPFAttachType.SK_MSG_VERDICT)],
  ['streams of a socket map', 'SK_SKB', always, onSocketMap(BPFAttachType.SK_SKB_STREAM_VERDICT)],
  ['flow dissector', 'FLOW_DISSECTOR', always, onNamespace(BPFAttachType.FLOW_DISSECTOR)],
  ['socket lookup', 'SK_LOOKUP', always, onNamespace(BPFAttachType.SK_LOOKUP)],
];

describe('a hook', () => {
  /** A type that none of these hooks takes. */
  const other = () => loadInsns(returns(0), { type: BPFProgType.LWT_IN, name: 'other' });

  for (const [hook, takes, need, attach] of hooks) {
    itIf(need, `tells which type it takes: ${hook}`, () => {
      withProgram(other(), (program) => {
        const error = caught(() => attach(program));
        expect(error).toMatchObject({ code: 'ERR_BCC_PROGRAM_TYPE', errno: expect.any(Number) });
        expect(error.message).toContain('other was loaded as LWT_IN');
        expect(error.hint).toContain(takes);
      });
    });

    itIf(need, `takes no program that is closed: ${hook}`, () => {
      const error = caught(() => attach({ name: 'other', fd: -1 }));
      expect(error).toMatchObject({ code: 'ERR_BCC_CLOSED', errno: 9 });
      expect(error.message).toContain('other');
    });
  }

  itIf('cgroup2', 'lets no program go that is closed', () => {
    const detach = () => detachFunc({ name: 'other', fd: -1 }, cgroupRoot(), BPFAttachType.CGROUP_DEVICE);
    expect(caught(detach)).toMatchObject({ code: 'ERR_BCC_CLOSED' });
  });
});

function withProgram(program: LoadedProgram, use: (program: LoadedProgram) => void): void {
  try {
    use(program);
  } finally {
    program.close();
  }
}

function caught(provoke: () => unknown): BCCError {
  try {
    provoke();
  } catch (error) {
    if (error instanceof BCCError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
