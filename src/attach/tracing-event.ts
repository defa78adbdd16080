import type { NativeFd } from '../native';
import { runtime } from '../native';

/** PERF_FLAG_FD_CLOEXEC: no hook outlives an exec. */
const CLOEXEC = 8;

export interface OpenEvent {
  /** struct perf_event_attr. */
  attr: Uint8Array;
  /** -1 for every process. */
  pid?: number;
  cpu?: number;
  groupFd?: number;
  /** Passed by pointer in config1: the symbol or path of the kprobe and uprobe PMUs. */
  config1Text?: string;
}

/** Opens a perf event, puts the program on it and starts it; on failure nothing stays open. */
export function openProgramEvent(programFd: number, event: OpenEvent): NativeFd {
  const { perfEventOpen, perfEventIoctl } = runtime();
  const { attr, pid = -1, cpu = 0, groupFd = -1, config1Text } = event;
  const fd = perfEventOpen(attr, pid, cpu, groupFd, CLOEXEC, config1Text);
  try {
    perfEventIoctl(fd.fd, 'setBpf', programFd);
    perfEventIoctl(fd.fd, 'enable', 0);
  } catch (error) {
    fd.close();
    throw error;
  }
  return fd;
}
