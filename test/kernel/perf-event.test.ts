import { attachPerfEvent, attachPerfEventRaw, perfEventIdentity } from '../../src/attach/perf-event';
import { BPFProgType, PerfHWConfig, PerfSWConfig, PerfType } from '../../src/constants';
import { onlineCpus } from '../../src/kernel/cpus';
import { perfEventAttr } from '../../src/kernel/perf-attr';
import { describeIf, itIf, kernelHas, requireRoot } from '../helpers';
import { Counter } from '../helpers/asm';

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
    expect(attach({ pid: 0x3ffff0 })).toThrow(expect.objectContaining({ code: 'ERR_BCC_NO_SUCH_PROCESS', errno: 3 }));
    expect(attach({ cpu: 4000 })).toThrow(expect.objectContaining({ name: 'AttachError' }));
    expect(attach({}, other.program)).toThrow(expect.objectContaining({ code: 'ERR_BCC_PROGRAM_TYPE' }));
    counter.close();
    other.close();
  });
});
