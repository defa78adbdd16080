import { spawnSync } from 'node:child_process';
import { attachPerfEvent, attachPerfEventRaw, perfEventIdentity } from '../../src/attach/perf-event';
import { BCC } from '../../src/bcc';
import { BPFProgType, PerfEventSampleFormat, PerfHWConfig, PerfSWConfig, PerfType } from '../../src/constants';
import { onlineCpus } from '../../src/kernel/cpus';
import { perfEventAttr } from '../../src/kernel/perf-attr';
import { runtime } from '../../src/native';
import { describeIf, itIf, kernelHas, requireRoot, withTempDir } from '../helpers';
import { Counter } from '../helpers/asm';
import { compileC } from '../helpers/c-program';

requireRoot();

const PERF_EVENT = { type: BPFProgType.PERF_EVENT };
const CPU_CLOCK = { evType: PerfType.SOFTWARE, evConfig: PerfSWConfig.CPU_CLOCK };

/** Keeps this thread running until the condition holds, at most three seconds. */
function spinUntil(condition: () => boolean): void {
  const end = performance.now() + 3000;
  while (!condition() && performance.now() < end);
}

/** Lets the thread sleep: each time is a context switch of this process. */
const sleep = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/**
 * Runs on one CPU, maps the ring of the perf event at descriptor 3, and prints the bytes of the first sample that carries
 * its own pid behind `argv[1]` bytes.
 */
const SAMPLED = `
#define _GNU_SOURCE
#include <linux/perf_event.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
int main(int argc, char **argv) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(atoi(argv[2]), &cpus);
  if (sched_setaffinity(0, sizeof cpus, &cpus)) return 1;
  struct perf_event_mmap_page *page = mmap(0, 65 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
  if (page == MAP_FAILED) return 2;
  unsigned char *ring = (unsigned char *)page + 4096, record[256];
  for (unsigned long at = 0;;) {
    unsigned long head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE);
    if (at == head) continue;
    for (int i = 0; i < 256; i++) record[i] = ring[(at + i) % (64 * 4096)];
    struct perf_event_header *header = (void *)record;
    at += header->size;
    page->data_tail = at;
    if (header->type != PERF_RECORD_SAMPLE || *(int *)(record + 8 + atoi(argv[1])) != getpid()) continue;
    printf("%d ", getpid());
    for (int i = 8; i < header->size; i++) printf("%02x", record[i]);
    return 0;
  }
}
`;

describeIf(['runtime', 'cc'], 'the samples of a perf event', () => {
  const { IP, TID, TIME, CPU, PERIOD } = PerfEventSampleFormat;
  const CLOCK_MONOTONIC = 1;
  const cpu = onlineCpus()[0]!;

  /** A sample of a process of its own, without its header. */
  const sample = (sampleType: number, bytesBeforePid: number) =>
    withTempDir((folder) => {
      const reader = compileC(folder, 'sampled', SAMPLED);
      const attr = perfEventAttr({
        type: PerfType.SOFTWARE,
        config: PerfSWConfig.CPU_CLOCK,
        samplePeriod: 1_000_000,
        sampleType,
        useClockid: true,
        clockid: CLOCK_MONOTONIC,
      });
      const event = runtime().perfEventOpen(attr, -1, cpu, -1, 0);
      try {
        const { stdout, status } = spawnSync(reader, [`${bytesBeforePid}`, `${cpu}`], {
          stdio: ['ignore', 'pipe', 'inherit', event.fd],
          encoding: 'utf8',
        });
        expect(status).toBe(0);
        const [pid, hex] = stdout.split(' ') as [string, string];
        return { pid: Number(pid), bytes: Buffer.from(hex, 'hex') };
      } finally {
        event.close();
      }
    });

  it('carry what sampleType asks for and no more', async () => {
    const { pid, bytes } = await sample(TID, 0);
    expect(bytes).toHaveLength(8);
    expect([bytes.readInt32LE(0), bytes.readInt32LE(4)]).toEqual([pid, pid]);
  });

  it('carry all that is asked for, in the order of the bits', async () => {
    const before = BCC.monotonicTime();
    const { pid, bytes } = await sample(IP | TID | TIME | CPU | PERIOD, 8);
    expect(bytes).toHaveLength(8 + 8 + 8 + 8 + 8);
    expect(bytes.readBigUInt64LE(0)).toBeGreaterThan(0n);
    expect([bytes.readInt32LE(8), bytes.readInt32LE(12)]).toEqual([pid, pid]);
    expect(bytes.readBigUInt64LE(16)).toBeGreaterThan(before);
    expect(bytes.readBigUInt64LE(16)).toBeLessThan(BCC.monotonicTime());
    expect(bytes.readUInt32LE(24)).toBe(cpu);
    expect(bytes.readBigUInt64LE(32)).toBeGreaterThanOrEqual(1_000_000n);
  });
});

describeIf('runtime', 'perf events', () => {
  it('run the program at a frequency until detached', () => {
    const counter = new Counter(PERF_EVENT);
    const link = attachPerfEvent(counter.program, { ...CPU_CLOCK, sampleFreq: 999 });
    expect(link.target).toBe('CPU_CLOCK');
    spinUntil(() => counter.own >= 5);
    expect(counter.own).toBeGreaterThanOrEqual(5);
    link.detach();
    const left = counter.all;
    const pause = performance.now() + 100;
    spinUntil(() => performance.now() > pause);
    expect(counter.all).toBe(left);
    counter.close();
  }, 20_000);

  it('run the program at a period, for one process', () => {
    const counter = new Counter(PERF_EVENT);
    const event = { evType: PerfType.SOFTWARE, evConfig: PerfSWConfig.CONTEXT_SWITCHES, samplePeriod: 1 };
    const link = attachPerfEvent(counter.program, { ...event, pid: process.pid });
    expect(link.target).toBe(`CONTEXT_SWITCHES of pid ${process.pid}`);
    for (let i = 0; i < 5; i++) sleep(5);
    expect(counter.own).toBeGreaterThanOrEqual(5);
    link.detach();
    counter.close();
  });

  it('count only while the leader of their group does', () => {
    const counter = new Counter(PERF_EVENT);
    const cpu = onlineCpus()[0]!;
    const counting = { type: PerfType.SOFTWARE, config: PerfSWConfig.CPU_CLOCK };
    const leader = runtime().perfEventOpen(perfEventAttr({ ...counting, disabled: true }), -1, cpu, -1, 0);
    const link = attachPerfEvent(counter.program, { ...CPU_CLOCK, samplePeriod: 100_000, cpu, groupFd: leader.fd });
    expect(link.target).toBe(`CPU_CLOCK on CPU ${cpu}`);
    const pause = performance.now() + 50;
    spinUntil(() => performance.now() > pause);
    expect(counter.all).toBe(0);
    runtime().perfEventIoctl(leader.fd, 'enable', 0);
    spinUntil(() => counter.all > 0);
    expect(counter.all).toBeGreaterThan(0);
    link.detach();
    leader.close();
    counter.close();
  });

  it('take a structure of their own, as fields or as bytes', () => {
    const counter = new Counter(PERF_EVENT);
    const fields = { type: PerfType.SOFTWARE, config: PerfSWConfig.CPU_CLOCK, samplePeriod: 1_000_000 };
    for (const attr of [fields, perfEventAttr(fields)]) {
      const before = counter.all;
      const link = attachPerfEventRaw(counter.program, { attr, pid: -1, cpu: onlineCpus()[0] });
      spinUntil(() => counter.all > before);
      expect(counter.all).toBeGreaterThan(before);
      link.detach();
      expect(perfEventIdentity(attr)).toMatchObject({ type: 1 });
    }
    counter.close();
  });

  itIf('perfHardware', 'count hardware', () => {
    const counter = new Counter(PERF_EVENT);
    const event = { evType: PerfType.HARDWARE, evConfig: PerfHWConfig.CPU_CYCLES, samplePeriod: 1_000_000 };
    const link = attachPerfEvent(counter.program, event);
    spinUntil(() => counter.own > 0);
    expect(counter.own).toBeGreaterThan(0);
    link.detach();
    counter.close();
  });

  it('that the machine cannot count are refused as such', () => {
    if (kernelHas('perfHardware')) return;
    const counter = new Counter(PERF_EVENT);
    const event = { evType: PerfType.HARDWARE, evConfig: PerfHWConfig.CPU_CYCLES, samplePeriod: 1_000_000 };
    expect(() => attachPerfEvent(counter.program, event)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_PERF_EVENT_UNSUPPORTED' }),
    );
    counter.close();
  });

  it('refuse wrong arguments before asking the kernel', () => {
    const counter = new Counter(PERF_EVENT);
    const attach = (event: object) => () => attachPerfEvent(counter.program, { ...CPU_CLOCK, ...event });
    expect(attach({})).toThrow(RangeError);
    expect(attach({ sampleFreq: 1, samplePeriod: 1 })).toThrow(/exactly one/);
    expect(attach({ sampleFreq: 1, evConfig: 99 })).toThrow(/PerfSWConfig/);
    expect(attach({ sampleFreq: 1, evConfig: PerfSWConfig.BPF_OUTPUT })).toThrow(/BPF_OUTPUT/);
    expect(attach({ sampleFreq: 1, evType: PerfType.TRACEPOINT })).toThrow(/attachTracepoint/);
    expect(() => attachPerfEventRaw(counter.program, { attr: new Uint8Array(8) })).toThrow(/at least 64/);
    counter.close();
  });

  it('tell a process that has gone, a CPU that is not there, a program of another type', () => {
    const counter = new Counter(PERF_EVENT);
    const other = new Counter({ type: BPFProgType.TRACEPOINT });
    const attach = (event: object, program = counter.program) => {
      return () => attachPerfEvent(program, { ...CPU_CLOCK, sampleFreq: 99, ...event });
    };
    expect(attach({ pid: 0x3ffff0 })).toThrow(expect.objectContaining({ code: 'ERR_BCC_PROCESS', errno: 3 }));
    expect(attach({ cpu: 4000 })).toThrow(expect.objectContaining({ name: 'AttachError' }));
    expect(attach({}, other.program)).toThrow(expect.objectContaining({ code: 'ERR_BCC_PROGRAM_TYPE' }));
    counter.close();
    other.close();
  });
});
