import { readFileSync } from 'node:fs';
import { tracepointExists } from '../../attach/tracepoint';
import { UnsupportedError } from '../../errors';

/** The parent of a process that runs; 0 where it has gone. */
export function parentOf(pid: number): number {
  try {
    return Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** @throws UnsupportedError on a kernel without tracepoints for system calls. */
export function requireSyscallTracepoints(tool: string): void {
  if (tracepointExists('syscalls', 'sys_enter_execve')) return;
  throw new UnsupportedError(`${tool} needs the tracepoints of system calls, and this kernel has none`, {
    hint: 'use a kernel with CONFIG_FTRACE_SYSCALLS, and see that tracefs is mounted',
  });
}

/** @throws UnsupportedError where one of the tracepoints, `category:event`, is not there. */
export function requireTracepoints(tool: string, ...names: string[]): void {
  for (const name of names) {
    const [category, event] = name.split(':') as [string, string];
    if (tracepointExists(category, event)) continue;
    throw new UnsupportedError(`${tool} needs the tracepoint ${name}, and this kernel has none of that name`, {
      hint: 'see that tracefs is mounted: mount -t tracefs tracefs /sys/kernel/tracing',
    });
  }
}
