import { BPFProgType, PerfHWConfig, PerfSWConfig, PerfType } from '../constants';
import { onlineCpus } from '../kernel/cpus';
import { type PerfEventAttr, perfEventAttr } from '../kernel/perf-attr';
import type { NativeFd } from '../native';
import { releaseAll } from '../release';
import { attachFailure, EINVAL, EMFILE, ENODEV, ENOENT, EOPNOTSUPP, ESRCH, type Meanings } from './failure';
import { type AttachableProgram, OwnedLink } from './link';
import { openProgramEvent } from './tracing-event';

/*
 * Sampling by perf events, Linux 4.9 and newer: the program runs at every so many events, or so many times a second.
 *
 * Codes of errors:
 * ERR_BCC_PROCESS                  the pid has gone
 * ERR_BCC_NO_SUCH_CPU              that CPU is not online
 * ERR_BCC_PERF_EVENT_UNSUPPORTED   this machine cannot count that event (hardware counters in most virtual machines)
 */

/** Which counter runs the function, how often, and on what: one process, one CPU, or everything. */
export interface PerfEventOptions {
  /** A value of PerfType. */
  evType: number;
  /** What to count: PerfHWConfig, PerfSWConfig, or the type's own number. */
  evConfig: number | bigint;
  /** Run at every so many events; give this or `sampleFreq`. */
  samplePeriod?: number;
  /** Run so many times a second; at most /proc/sys/kernel/perf_event_max_sample_rate. */
  sampleFreq?: number;
  /** One process (and the children it has from now on), or -1 for all. */
  pid?: number;
  /** One CPU, or -1 for each that is online. */
  cpu?: number;
  groupFd?: number;
}

/** As {@link PerfEventOptions}, with the whole `perf_event_attr` given by the caller. */
export interface RawPerfEventOptions {
  /** `struct perf_event_attr`, as bytes or by its fields. */
  attr: Uint8Array | PerfEventAttr;
  pid?: number;
  cpu?: number;
  groupFd?: number;
}

/** Attaches a PERF_EVENT program to a counter on each online CPU, or on one. */
export function attachPerfEvent(program: AttachableProgram, options: PerfEventOptions): OwnedLink {
  const { evType, evConfig, samplePeriod = 0, sampleFreq = 0, pid = -1 } = options;
  checkEvent(evType, evConfig);
  if (samplePeriod > 0 === sampleFreq > 0) throw new RangeError('give exactly one of samplePeriod and sampleFreq');
  const sampling = sampleFreq > 0 ? { sampleFreq } : { samplePeriod };
  const attr = perfEventAttr({ type: evType, config: evConfig, inherit: pid > 0, ...sampling });
  return attachEvents(program, attr, eventName(evType, evConfig), options);
}

/** As {@link attachPerfEvent}, with every field of the kernel's own structure at hand. */
export function attachPerfEventRaw(program: AttachableProgram, options: RawPerfEventOptions): OwnedLink {
  const { attr } = options;
  const bytes = attr instanceof Uint8Array ? attr : perfEventAttr(attr);
  if (bytes.byteLength < 64) throw new RangeError(`attr has ${bytes.byteLength} bytes, perf_event_attr at least 64`);
  const { type, config } = perfEventIdentity(attr);
  return attachEvents(program, bytes, eventName(type, config), options);
}

/** The two numbers by which BCC finds a perf event again to detach it. */
export function perfEventIdentity(attr: Uint8Array | PerfEventAttr): { type: number; config: number | bigint } {
  if (!(attr instanceof Uint8Array)) return { type: attr.type, config: attr.config ?? 0 };
  const bytes = perfWords(attr);
  return { type: bytes.getUint32(0, true), config: bytes.getBigUint64(8, true) };
}

function perfWords(attr: Uint8Array): DataView {
  return new DataView(attr.buffer, attr.byteOffset, attr.byteLength);
}

function attachEvents(
  program: AttachableProgram,
  attr: Uint8Array,
  name: string,
  { pid = -1, cpu = -1, groupFd = -1 }: { pid?: number; cpu?: number; groupFd?: number },
): OwnedLink {
  const events: NativeFd[] = [];
  const release = () => releaseAll(events.splice(0).map((event) => () => event.close()));
  for (const each of cpu >= 0 ? [cpu] : onlineCpus()) {
    try {
      events.push(openProgramEvent(program.fd, { attr, pid, cpu: each, groupFd }));
    } catch (error) {
      release();
      const what = `cannot attach ${program.name} to the perf event ${name}`;
      const types = [BPFProgType.PERF_EVENT];
      throw attachFailure(what, error, meaningsFor(pid, each), { program, types });
    }
  }
  return new OwnedLink('perf_event', targetText(name, pid, cpu), program.name, release);
}

function targetText(name: string, pid: number, cpu: number): string {
  return name + (pid > 0 ? ` of pid ${pid}` : '') + (cpu >= 0 ? ` on CPU ${cpu}` : '');
}

/** What BCC refuses before it asks the kernel: numbers out of range, and events that have their own attach calls. */
function checkEvent(evType: number, evConfig: number | bigint): void {
  if (!Number.isSafeInteger(evType) || evType < 0) throw new RangeError(`evType is ${evType}, no value of PerfType`);
  const config = Number(evConfig);
  if (!Number.isFinite(config) || config < 0) throw new RangeError(`evConfig is ${evConfig}, no number of an event`);
  if (evType === PerfType.TRACEPOINT) throw new RangeError('tracepoints are attached with attachTracepoint');
  if (evType === PerfType.BREAKPOINT) throw new RangeError('breakpoints are attached with attachPerfEventRaw');
  if (evType === PerfType.HARDWARE && config > PerfHWConfig.REF_CPU_CYCLES) {
    throw new RangeError(`evConfig is ${config}, PerfHWConfig ends at ${PerfHWConfig.REF_CPU_CYCLES}`);
  }
  if (evType !== PerfType.SOFTWARE) return;
  if (config > PerfSWConfig.CGROUP_SWITCHES) {
    throw new RangeError(`evConfig is ${config}, PerfSWConfig ends at ${PerfSWConfig.CGROUP_SWITCHES}`);
  }
  if (config === PerfSWConfig.BPF_OUTPUT) throw new RangeError('BPF_OUTPUT is what programs write to, not an event');
}

function eventName(type: number, config: number | bigint): string {
  const configs: Record<number, Readonly<Record<string, number>>> = {
    [PerfType.HARDWARE]: PerfHWConfig,
    [PerfType.SOFTWARE]: PerfSWConfig,
  };
  const known = Object.entries(configs[type] ?? {}).find(([, value]) => value === Number(config))?.[0];
  const typeName = Object.entries(PerfType).find(([, value]) => value === type)?.[0] ?? `type ${type}`;
  return known ?? `${typeName} 0x${config.toString(16)}`;
}

function meaningsFor(pid: number, cpu: number): Meanings {
  const unsupported = {
    code: 'ERR_BCC_PERF_EVENT_UNSUPPORTED',
    hint: 'this machine does not count that event (virtual machines seldom have hardware counters): try SOFTWARE CPU_CLOCK',
  };
  return {
    [ESRCH]: { code: 'ERR_BCC_PROCESS', hint: `the process ${pid} has gone` },
    [ENODEV]: { code: 'ERR_BCC_NO_SUCH_CPU', hint: `CPU ${cpu} is not online: see /sys/devices/system/cpu/online` },
    [ENOENT]: unsupported,
    [EOPNOTSUPP]: unsupported,
    [EINVAL]: {
      hint: 'the frequency may be over /proc/sys/kernel/perf_event_max_sample_rate, or the CPU not exist',
    },
    [EMFILE]: { hint: 'each CPU takes a file descriptor: raise the limit (ulimit -n 65536)' },
  };
}
