import { stat } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { PerfSWConfig, PerfType } from '../../src/constants';
import { Loss } from '../../src/events/loss';
import { PerfManager } from '../../src/events/perf-manager';
import { onlineCpus, possibleCpus } from '../../src/kernel/cpus';
import type { StandaloneHost } from '../../src/table/host';
import { PerfEventArrayTable } from '../../src/table/perf-event-array';
import { describeIf, requireRoot } from '../helpers';
import { EventProgram, perfMap } from '../helpers/event-program';
import { eventTableSpec, type NumberedEvent } from '../helpers/event-table';

requireRoot();

let table: PerfEventArrayTable<NumberedEvent>;
let host: StandaloneHost;
let program: EventProgram;

beforeEach(() => {
  const cpus = possibleCpus().length;
  const map = perfMap(cpus);
  program = new EventProgram(map, 'perf');
  const spec = eventTableSpec(map, 'PERF_EVENT_ARRAY', cpus);
  host = spec.host;
  table = new PerfEventArrayTable(spec);
});

afterEach(() => {
  host.close();
  program.close();
});

const turn = (ms = 0) => new Promise((resolve) => setTimeout(resolve, ms));
const upTo = (end: number) => Array.from({ length: end }, (_, i) => i);

describe('callbacks and polls', () => {
  it('deliver events with their CPU, and losses in their place', () => {
    const seen: (number | string)[] = [];
    const cpus = new Set<number>();
    table.openPerfBuffer(
      (cpu, data, size) => {
        const event = table.event(data);
        expect([event.cpu, size]).toEqual([cpu, 52]);
        cpus.add(cpu);
        seen.push(Number(event.seq));
      },
      { pageCnt: 1, lostCb: (count) => seen.push(`lost ${count}`) },
    );
    const manager = PerfManager.of(host);
    program.run(30);
    expect(manager.poll(1000)).toBe(30);
    expect(seen.slice().sort((a, b) => Number(a) - Number(b))).toEqual(upTo(30));
    seen.length = 0;
    program.run(1000);
    const delivered = manager.consume();
    program.run(1);
    expect(manager.consume()).toBe(1);
    const lost = seen
      .filter((entry) => typeof entry === 'string')
      .reduce((sum, entry) => sum + Number(entry.slice(5)), 0);
    expect(lost).toBe(program.refused);
    expect(delivered + 1 + lost).toBe(1001);
    expect(onlineCpus()).toEqual(expect.arrayContaining([...cpus]));
  });

  it('go on after an exception with the next event', () => {
    const seen: number[] = [];
    table.openPerfBuffer((_cpu, data) => {
      seen.push(Number(table.event(data).seq));
      if (seen.length === 3) throw new Error('third');
    });
    const manager = PerfManager.of(host);
    program.run(10);
    expect(() => manager.poll(1000)).toThrow('third');
    expect(manager.poll(1000)).toBe(7);
    expect(seen.sort((a, b) => a - b)).toEqual(upTo(10));
  });

  it('refuse sizes that cannot be', () => {
    expect(() => table.openPerfBuffer(() => {}, { pageCnt: 3 })).toThrow(RangeError);
    expect(() => table.openPerfBuffer(() => {}, { wakeupEvents: 0 })).toThrow(RangeError);
    expect(() => table.openPerfBuffer(undefined as never)).toThrow(TypeError);
    expect(() => table.openPerfBuffer(() => {}, { pageCnt: 2 ** 23 })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_BUFFER', hint: expect.any(String) }),
    );
    expect(table.opened).toBe(false);
  });

  it('can be closed and opened again', () => {
    const seen: string[] = [];
    table.openPerfBuffer(() => void seen.push('first'));
    expect(() => table.openPerfBuffer(() => {})).toThrow(expect.objectContaining({ code: 'ERR_BCC_BUFFER_OPEN' }));
    table.closePerfBuffer();
    program.run(1);
    expect(program.refused).toBe(1);
    table.openPerfBuffer(() => void seen.push('second'));
    program.run(1);
    PerfManager.of(host).poll(1000);
    expect(seen).toEqual(['second']);
  });
});

describe('a stream', () => {
  it('yields events as they come, with the CPU they came through', async () => {
    const stream = table.events();
    setTimeout(() => program.run(5), 5);
    const seqs: number[] = [];
    for await (const event of stream) {
      expect(stream.cpu).toBe(event.cpu);
      if (seqs.push(Number(event.seq)) === 5) break;
    }
    expect(seqs.sort((a, b) => a - b)).toEqual(upTo(5));
    expect(table.opened).toBe(false);
  });

  it('accounts for every event at full load', async () => {
    const stream = table.events({ pageCnt: 8, lossEvents: true });
    let before = -1;
    const producer = setInterval(() => {
      const { received } = stream.stats;
      if (program.produced < 300_000) program.run(20_000);
      else if (received > before) before = received;
      else stream.close();
      if (stream.closed) clearInterval(producer);
    });
    let events = 0;
    let told = 0;
    for await (const event of stream) {
      if (event instanceof Loss) told += event.lost;
      else events++;
    }
    const { received, lost } = stream.stats;
    expect(events).toBe(received);
    expect(lost).toBe(program.refused);
    expect(received + lost).toBe(program.produced);
    expect(told).toBeGreaterThan(0);
    expect(told).toBeLessThanOrEqual(lost);
  });

  it('keeps the latest events on request', async () => {
    const stream = table.events({ overflow: 'drop-oldest', maxBuffered: 5, pageCnt: 64 });
    for (let i = 0; i < 5; i++) {
      program.run(100);
      await turn(2);
    }
    expect(stream.stats).toMatchObject({ lost: 495, buffered: 5 });
    stream.close();
  });

  it('waits for so many events before it wakes', async () => {
    const stream = table.events({ wakeupEvents: 50, pageCnt: 8 });
    let answered = false;
    const next = stream.next().then(() => (answered = true));
    // The rings are looked at once more, unasked, some turns of the event loop after they were opened.
    for (let i = 0; i < 10; i++) await new Promise(setImmediate);
    program.run(5);
    await turn(20);
    expect(answered).toBe(false);
    program.run(100);
    await next;
    stream.close();
  });
});

describeIf({ when: availableParallelism() > 1, reason: 'one CPU only' }, 'events of several CPUs', () => {
  /** Two threads that send, so that events of two CPUs interleave. */
  async function sendFromThreads(each: number): Promise<void> {
    const code = `
      const { workerData } = require('node:worker_threads');
      const addon = require(workerData.addon);
      for (let i = 0; i < ${each / 10}; i++) addon.testRun(workerData.fd, new Uint8Array(64), null, 10);`;
    const addon = process.env.TSBCC_RUNTIME_ADDON ?? `${__dirname}/../../build/Release/runtime.node`;
    const workers = [0, 1].map(() => new Worker(code, { eval: true, workerData: { fd: program.fd, addon } }));
    await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve))));
  }

  it('are merged by a clock', async () => {
    const stream = table.events({ orderBy: 'ts', pageCnt: 256 });
    const sent = sendFromThreads(2000);
    const stamps: bigint[] = [];
    const cpus = new Set<number>();
    for await (const event of stream) {
      stamps.push(event.ts);
      cpus.add(event.cpu);
      if (stamps.length === 4000) break;
    }
    await sent;
    expect(stamps).toEqual([...stamps].sort((a, b) => (a < b ? -1 : 1)));
  });

  it('can be bounded while they are merged, and every loss is told', async () => {
    const stream = table.events({
      orderBy: 'ts',
      pageCnt: 256,
      overflow: 'drop-oldest',
      maxBuffered: 100,
      lossEvents: true,
    });
    await sendFromThreads(500);
    await turn(20);
    expect(stream.stats).toMatchObject({ received: 0, lost: 900, buffered: 100 });
    const stamps: bigint[] = [];
    let told = 0;
    while (stamps.length < 100) {
      const { value } = await stream.next();
      if (value instanceof Loss) told += value.lost;
      else stamps.push(value!.ts);
    }
    expect(told).toBe(900);
    expect(stamps).toEqual([...stamps].sort((a, b) => (a < b ? -1 : 1)));
    stream.close();
  });

  it('refuse to be merged by what they do not have', () => {
    expect(() => table.events({ orderBy: 'time' })).toThrow(expect.objectContaining({ code: 'ERR_BCC_EVENT_ORDER' }));
    expect(table.opened).toBe(false);
  });
});

describe('counters', () => {
  it('are there for the program while they are open', () => {
    table.openPerfEvent(PerfType.SOFTWARE, PerfSWConfig.CPU_CLOCK);
    table.openPerfEvent(PerfType.SOFTWARE, PerfSWConfig.TASK_CLOCK);
    table.closePerfEvent();
    table.closePerfEvent();
  });

  it('that this machine has not are refused with the reason', () => {
    expect(() => table.openPerfEvent(PerfType.SOFTWARE, 4242)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_PERF_EVENT', hint: expect.stringContaining('PerfSWConfig') }),
    );
  });
});

it('an event that comes while the wait begins is not missed, wherever in the event loop that is', async () => {
  const stream = table.events();
  for (let round = 0; round < 20; round++) {
    // An I/O callback: what it starts to wait for is registered a turn later, after what it schedules.
    await new Promise((resolve) => stat(__filename, resolve));
    const next = stream.next();
    if (round % 2 === 0) setImmediate(() => program.run(1));
    else queueMicrotask(() => program.run(1));
    expect((await next).value!.seq).toBe(BigInt(2 * round));
    // A wake-up while nobody asks makes the stream stop watching: the next round starts anew.
    program.run(1);
    await turn(2);
    expect((await stream.next()).done).toBe(false);
  }
  stream.close();
});
