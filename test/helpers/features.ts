import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { type RuntimeAddon, runtime } from '../../src/native';

/*
 * What the machine under test can do, found by other means than the library's own answers (src/kernel/features.ts is
 * itself under test). Found once, in jest's global set-up, and handed to the workers through the environment.
 */

/** Every feature a test may ask for, with the words that a skipped test carries. */
export const FEATURES = {
  root: 'not root',
  runtime: 'the runtime addon is not built',
  tracefs: 'tracefs cannot be mounted',
  bpffs: 'bpffs cannot be mounted',
  cgroup2: 'no cgroup v2 hierarchy is mounted',
  btf: 'this kernel tells no BTF',
  kprobes: 'this kernel has no kprobes',
  uprobes: 'this kernel has no uprobes',
  kfunc: 'this kernel loads no fentry programs',
  lsm: 'this kernel loads no LSM programs',
  fprobe: 'this kernel has no multi-kprobe links',
  uprobeMulti: 'this kernel has no multi-uprobe links',
  tcx: 'this kernel has no tcx links',
  syscallTracepoints: 'this kernel has no syscall tracepoints',
  perfHardware: 'no hardware counters here',
  kernelHeaders: 'no kernel headers are installed',
  bcc: "BCC's Python module is not installed",
  bpftool: 'bpftool is not installed',
  clang: 'clang is not installed',
  cc: 'no C compiler is installed',
  sdt: '<sys/sdt.h> is not installed',
} as const;

export type Feature = keyof typeof FEATURES;

const VARIABLE = 'TSBCC_TEST_FEATURES';
const BPF_PROG_TYPE_TRACING = 26;
const BPF_PROG_TYPE_LSM = 29;
const BPF_TRACE_FENTRY = 24;
const BPF_LSM_MAC = 27;
const BTF_KIND_FUNC = 12;

function mounted(type: string): boolean {
  return readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[2] === type);
}

function succeeds(program: string, ...args: string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function addon(): RuntimeAddon | undefined {
  try {
    return runtime();
  } catch {
    return undefined;
  }
}

/** Whether the kernel takes `r0 = 0; exit` as a program of this type on this kernel function. */
function loads(type: number, expectedAttachType: number, functionName: string): boolean {
  const native = addon();
  if (!native) return false;
  try {
    const attachBtfId = native.btfFind(readFileSync('/sys/kernel/btf/vmlinux'), functionName, BTF_KIND_FUNC);
    if (attachBtfId === 0) return false;
    const insns = Uint8Array.from([0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);
    const attributes = { type, name: 'probe', license: 'GPL', insns, kernVersion: 0, logLevel: 0, logSize: 0 };
    const { fd } = native.loadProgram({ ...attributes, expectedAttachType, attachBtfId });
    fd?.close();
    return fd !== null;
  } catch {
    return false;
  }
}

function kallsyms(): string {
  try {
    return readFileSync('/proc/kallsyms', 'latin1');
  } catch {
    return '';
  }
}

/** Python's interpreters that may hold the `bcc` module: Debian installs it for its own. */
export const PYTHON = '/usr/bin/python3';

export function detectFeatures(): Record<Feature, boolean> {
  const symbols = kallsyms();
  const hasSymbol = (name: string) => symbols.includes(` ${name}\n`) || symbols.includes(` ${name}\t`);
  const tracing = '/sys/kernel/tracing';
  const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  return {
    root: process.geteuid?.() === 0,
    runtime: addon() !== undefined,
    tracefs: existsSync(`${tracing}/events`),
    bpffs: mounted('bpf'),
    cgroup2: mounted('cgroup2'),
    btf: existsSync('/sys/kernel/btf/vmlinux'),
    kprobes: existsSync('/sys/bus/event_source/devices/kprobe') || existsSync(`${tracing}/kprobe_events`),
    uprobes: existsSync('/sys/bus/event_source/devices/uprobe') || existsSync(`${tracing}/uprobe_events`),
    kfunc: loads(BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, 'vfs_read'),
    lsm: loads(BPF_PROG_TYPE_LSM, BPF_LSM_MAC, 'bpf_lsm_file_open'),
    fprobe: hasSymbol('register_fprobe'),
    uprobeMulti: hasSymbol('bpf_uprobe_multi_link_attach'),
    tcx: hasSymbol('tcx_link_attach'),
    syscallTracepoints: existsSync(`${tracing}/events/syscalls/sys_enter_clone`),
    perfHardware: existsSync('/sys/bus/event_source/devices/cpu/events/cpu-cycles'),
    kernelHeaders: existsSync(`/lib/modules/${release}/build/include/linux`),
    bcc: succeeds(PYTHON, '-c', 'import bcc'),
    bpftool: existsSync('/usr/sbin/bpftool') || succeeds('bpftool', 'version'),
    clang: succeeds('clang', '--version'),
    cc: succeeds('cc', '--version'),
    sdt: existsSync('/usr/include/x86_64-linux-gnu/sys/sdt.h') || existsSync('/usr/include/sys/sdt.h'),
  };
}

let known: Record<Feature, boolean> | undefined;

/** Keeps what was found for the test workers, which are started with this process's environment. */
export function publishFeatures(): void {
  known = detectFeatures();
  process.env[VARIABLE] = JSON.stringify(known);
}

/** Whether the machine under test has a feature. */
export function kernelHas(feature: Feature): boolean {
  if (!known) {
    const published = process.env[VARIABLE];
    known = published ? (JSON.parse(published) as Record<Feature, boolean>) : detectFeatures();
  }
  return known[feature];
}
