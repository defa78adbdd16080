import { closeSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { AttachError, UnsupportedError } from '../errors';
import { processMappings, processStart } from '../kernel/processes';
import { releaseAll } from '../release';
import type { USDT, USDTAttachment } from '../usdt';
import { prefersMulti, supportsRefCtrOffset, type UprobePlan, uprobeEventName } from './uprobe';

/** One enabled probe in one file: `attachUprobes(program of fnName, plan)` attaches it. */
export interface UsdtPlan extends UprobePlan {
  fnName: string;
}

export interface UsdtPlanOptions {
  /** Attach for every process although the context is of one (BCC's `attach_usdt_ignore_pid`). */
  ignorePid?: boolean;
  /**
   * Who tells the program that a probe is on: the kernel, for every process and whatever happens to this one
   * (Linux 4.20), or this process by writing into the other's memory. The kernel where it can.
   */
  semaphores?: 'kernel' | 'written';
}

/**
 * What the enabled probes of a context come to. Their links are of kind `usdt`.
 *
 * @throws UnsupportedError where a probe's semaphore can neither be raised by the kernel nor, without a pid, by writing.
 */
export function planUsdt(context: USDT, options: UsdtPlanOptions = {}): UsdtPlan[] {
  const { semaphores = supportsRefCtrOffset() ? 'kernel' : 'written' } = options;
  return context.attachments().map((attachment) => {
    const pid = options.ignorePid ? -1 : attachment.pid;
    const plan: UsdtPlan = {
      kind: 'uprobe',
      linkKind: 'usdt',
      path: attachment.path,
      pid,
      fnName: attachment.fnName,
      label: `${attachment.provider}:${attachment.name}${pid === -1 ? '' : ` (pid ${pid})`}`,
      multi: prefersMulti(attachment.locations.length, pid),
      targets: attachment.locations.map(({ offset, semaphoreOffset }) => ({
        offset,
        event: uprobeEventName('uprobe', attachment.path, offset, pid),
        ...(semaphores === 'kernel' && semaphoreOffset !== 0n && { refCtrOffset: semaphoreOffset }),
      })),
    };
    if (semaphores === 'written') plan.prepare = () => raiseSemaphores(attachment);
    return plan;
  });
}

/** Raises the semaphores of one probe by writing into the process; what it returns lowers them. */
function raiseSemaphores({ pid, path, provider, name, locations }: USDTAttachment): () => void {
  const offsets = new Set(locations.map(({ semaphoreOffset }) => semaphoreOffset).filter((offset) => offset !== 0n));
  if (offsets.size > 0 && pid === -1) {
    throw new UnsupportedError(`this kernel cannot raise the semaphore of ${provider}:${name} in every process`, {
      hint: 'make the USDT context with the pid of a process, or use Linux 4.20 or newer',
    });
  }
  const started = processStart(pid);
  const undo: (() => void)[] = [];
  try {
    for (const offset of offsets) {
      const address = addressOf(pid, path, offset);
      addTo(pid, address, 1);
      undo.unshift(() => {
        if (processStart(pid) === started) addTo(pid, address, -1);
      });
    }
  } catch (cause) {
    releaseAll(undo);
    throw new AttachError(`the semaphore of ${provider}:${name} cannot be raised in process ${pid}`, {
      cause,
      hint: 'run as root, and name a process that is running',
    });
  }
  return () => releaseAll(undo);
}

/** Where a variable is in a process's memory. Its page may be mapped a second time, read-only, with the code before it. */
function addressOf(pid: number, path: string, offset: bigint): bigint {
  const { ino } = statSync(path);
  const mapping = processMappings(pid).find(
    (one) => one.writable && one.inode === ino && offset >= one.offset && offset - one.offset < one.end - one.start,
  );
  if (!mapping) throw new Error(`${path} is not mapped there`);
  return mapping.start + (offset - mapping.offset);
}

/** Semaphores are 16-bit counters in the machine's byte order. */
function addTo(pid: number, address: bigint, change: number): void {
  const fd = openSync(`/proc/${pid}/mem`, 'r+');
  try {
    const counter = new Uint16Array(1);
    readSync(fd, counter, 0, 2, address);
    counter[0] = counter[0]! + change;
    writeSync(fd, new Uint8Array(counter.buffer), 0, 2, Number(address));
  } finally {
    closeSync(fd);
  }
}
