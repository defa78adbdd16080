import { existsSync } from 'node:fs';
import type { BCC } from 'tsbcc';

/** Whether the kernel lets programs be attached to its functions: it then has a `kprobe` performance counter. */
export const hasKprobes = existsSync('/sys/bus/event_source/devices/kprobe');

/** Attaches `fnName` to the tracepoint of a system call, and says so. */
export function attachToTracepoint(b: BCC, syscall: string, fnName: string): void {
  const tp = `syscalls:sys_enter_${syscall}`;
  console.error(`this kernel has no kprobes: ${fnName} is attached to the tracepoint ${tp}`);
  b.attachTracepoint({ tp, fnName });
}

/** Runs `fnName` at every call of a system call: through a kprobe or, on a kernel without them, its tracepoint. */
export function attachSyscall(b: BCC, syscall: string, fnName: string): void {
  if (hasKprobes) b.attachKprobe({ event: b.getSyscallFnname(syscall), fnName });
  else attachToTracepoint(b, syscall, fnName);
}
