import * as fs from 'node:fs';
import type { Unit } from './units';

/** The kernel's configuration as it was found. */
export interface KernelConfig {
  /** The file, or 'BTF and kallsyms' where no file tells. */
  source: string;
  /** `CONFIG_X` → what a header would see: '1', a number or a quoted string. Modules are `CONFIG_X_MODULE`. */
  values: Map<string, string>;
}

/** Where a kernel's configuration may lie, best first. `/proc/config.gz` speaks of the running kernel alone. */
export function configPaths(release: string, running: boolean): string[] {
  return [
    ...(running ? ['/proc/config.gz'] : []),
    `/boot/config-${release}`,
    `/lib/modules/${release}/config`,
    `/lib/modules/${release}/build/.config`,
    `/usr/lib/modules/${release}/config`,
  ];
}

/** The bytes of the first configuration that can be read. */
export function readConfig(paths: readonly string[]): { path: string; bytes: Buffer } | undefined {
  for (const path of paths) {
    try {
      const bytes = fs.readFileSync(path);
      if (bytes.length > 0) return { path, bytes };
    } catch {
      // the next place
    }
  }
  return undefined;
}

export function parseConfig(path: string, bytes: Buffer): KernelConfig {
  // Loaded here: few starts come this way.
  const { gunzipSync } = require('node:zlib') as typeof import('node:zlib');
  const text = (bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes).toString('latin1');
  const values = new Map<string, string>();
  for (const match of text.matchAll(/^(CONFIG_\w+)=(.*)$/gm)) {
    const [, name, value] = match as unknown as [string, string, string];
    if (value === 'y') values.set(name, '1');
    else if (value === 'm') values.set(`${name}_MODULE`, '1');
    else values.set(name, value);
  }
  return { source: path, values };
}

/** A proof that an option is on: a type, a type's member, or a kernel symbol that exists only with it. */
type Proof = { type: string } | { member: [type: string, member: string] } | { symbol: string };

const PROOFS: [option: string, ...proofs: Proof[]][] = [
  ['BPF', { type: 'bpf_prog' }],
  ['BPF_SYSCALL', { type: 'bpf_map_ops' }],
  ['CGROUPS', { member: ['task_struct', 'cgroups'] }],
  ['MEMCG', { type: 'mem_cgroup' }],
  ['BLK_CGROUP', { type: 'blkcg_gq' }],
  ['CGROUP_SCHED', { member: ['task_struct', 'sched_task_group'] }],
  ['FAIR_GROUP_SCHED', { member: ['sched_entity', 'cfs_rq'] }],
  ['CPUSETS', { member: ['task_struct', 'mems_allowed'] }],
  ['BLOCK', { type: 'gendisk' }],
  ['SMP', { member: ['task_struct', 'wake_cpu'] }],
  ['NUMA', { member: ['task_struct', 'mempolicy'] }],
  ['NUMA_BALANCING', { member: ['task_struct', 'numa_scan_seq'] }],
  ['THREAD_INFO_IN_TASK', { member: ['task_struct', 'thread_info'] }],
  ['SCHED_INFO', { member: ['sched_info', 'run_delay'] }],
  ['AUDIT', { member: ['task_struct', 'audit_context'] }],
  ['AUDITSYSCALL', { member: ['task_struct', 'loginuid'] }],
  ['SECCOMP', { member: ['seccomp', 'mode'] }],
  ['SECURITY', { member: ['inode', 'i_security'] }],
  ['KEYS', { member: ['cred', 'session_keyring'] }],
  ['NET', { type: 'sk_buff' }],
  ['INET', { type: 'inet_sock' }],
  ['IPV6', { member: ['sock_common', 'skc_v6_daddr'] }],
  ['NET_NS', { member: ['possible_net_t', 'net'] }],
  ['NETFILTER', { type: 'nf_hook_state' }],
  ['XFRM', { member: ['sock', 'sk_policy'] }],
  ['PID_NS', { symbol: 'copy_pid_ns' }],
  ['USER_NS', { symbol: 'create_user_ns' }],
  ['UTS_NS', { symbol: 'copy_utsname' }],
  ['IPC_NS', { symbol: 'copy_ipcs' }],
  ['NAMESPACES', { type: 'mnt_namespace' }],
  ['KPROBES', { symbol: 'register_kprobe' }],
  ['UPROBES', { symbol: 'uprobe_mmap' }],
  ['PERF_EVENTS', { symbol: 'perf_event_create_kernel_counter' }],
  ['FUNCTION_TRACER', { symbol: '__fentry__' }, { symbol: 'ftrace_ops_list_func' }],
  ['TRACEPOINTS', { type: 'tracepoint' }],
  ['MODULES', { symbol: 'module_refcount' }, { symbol: 'find_module' }],
  ['MMU', { symbol: 'handle_mm_fault' }],
  ['SWAP', { type: 'swap_info_struct' }],
  ['QUOTA', { type: 'dquot' }],
  ['EPOLL', { type: 'eventpoll' }],
  ['ARCH_HAS_SYSCALL_WRAPPER', { symbol: '__x64_sys_read' }, { symbol: '__arm64_sys_read' }],
];

/**
 * What can be known where no configuration is to be found: options whose types or symbols are there. Options that leave
 * no such trace stay undefined, numbers such as CONFIG_HZ among them, so that a program that needs one does not compile.
 */
export function proveConfig(types: readonly Unit[], kallsyms: string, arch: 'x64' | 'arm64'): KernelConfig {
  const byTag = new Map<string, Unit>();
  for (const unit of types) {
    if (unit.tag !== '') byTag.set(unit.tag, unit);
    else if (unit.kind === 'typedef' && !byTag.has(unit.names[0]!)) byTag.set(unit.names[0]!, unit);
  }
  const symbols = new Set<string>();
  for (const match of kallsyms.matchAll(/ [tTwW] (\S+)$/gm)) symbols.add(match[1]!);
  const values = new Map<string, string>();
  for (const [option, ...proofs] of PROOFS) {
    const proven = proofs.some((proof) => {
      if ('symbol' in proof) return symbols.has(proof.symbol);
      if ('type' in proof) return byTag.has(proof.type);
      const [type, member] = proof.member;
      return new RegExp(`\\b${member}\\b(?:\\[|;| :)`).test(byTag.get(type)?.text ?? '');
    });
    if (proven) values.set(`CONFIG_${option}`, '1');
  }
  values.set('CONFIG_64BIT', '1');
  values.set(arch === 'x64' ? 'CONFIG_X86_64' : 'CONFIG_ARM64', '1');
  if (arch === 'x64') values.set('CONFIG_X86', '1');
  return { source: 'BTF and kallsyms', values };
}
