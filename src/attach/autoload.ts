/** What a function's name alone says about where it belongs. */
export type AutoloadKind =
  | 'kprobe'
  | 'kretprobe'
  | 'tracepoint'
  | 'raw_tracepoint'
  | 'kfunc'
  | 'kretfunc'
  | 'kmod_ret'
  | 'lsm';

const KINDS: readonly AutoloadKind[] = [
  'kprobe',
  'kretprobe',
  'tracepoint',
  'raw_tracepoint',
  'kfunc',
  'kretfunc',
  'kmod_ret',
  'lsm',
];

/**
 * The hook that a function's name asks for: `kprobe__vfs_read`, `tracepoint__sched__sched_switch`,
 * `raw_tracepoint__sys_enter`, `kfunc__vfs_read`, … ; undefined for every other name.
 */
export function autoloadTarget(fnName: string): { kind: AutoloadKind; target: string } | undefined {
  const kind = KINDS.find((prefix) => fnName.startsWith(`${prefix}__`));
  if (kind === undefined) return undefined;
  const rest = fnName.slice(kind.length + 2);
  return { kind, target: kind === 'tracepoint' ? rest.replaceAll('__', ':') : rest };
}
