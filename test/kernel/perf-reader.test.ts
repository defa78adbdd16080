import { release } from 'node:os';
import { onlineCpus, possibleCpus } from '../../src/kernel/cpus';
import { type NativeFd, type NativePerfReader, Report, runtime } from '../../src/native';
import { requireRoot } from '../helpers';
import {
  EVENT_SIZE,
  EventProgram,
  type EventProgramOptions,
  perfMap,
  readEvent,
  variedSize,
} from '../helpers/event-program';

const ALL = 0xffffffff;
const LOST = 1;
/** Kernels before 6.0 tell a loss only before the next event that fits. */
const TELLS_LOST = Number.parseInt(release(), 10) >= 6;

requireRoot();

describe('the perf buffer reader', () => {
  let map: NativeFd;
  let reader: NativePerfReader;
  let program: EventProgram;
  let rings: number[];

  function open(pages: number, { wakeupEvents = 1, ...options }: EventProgramOptions & { wakeupEvents?: number } = {}) {
    map = perfMap(possibleCpus().length);
    program = new EventProgram(map, 'perf', options);
    reader = new (runtime().PerfReader)();
    rings = onlineCpus().map((cpu) => reader.add(map.fd, { cpu, pages, wakeupEvents }));
  }

  /** Drains every CPU: the events' numbers, CPU by CPU, and the losses. */
  function drain(bytes = 65536): { seqs: number[]; sizes: number[]; lost: number } {
    const out = new Uint8Array(bytes);
    const view = new DataView(out.buffer);
    const report = new Uint32Array(Report.Words);
    reader.target(out, report);
    const result = { seqs: [] as number[], sizes: [] as number[], lost: 0 };
    for (const ring of rings) {
      while (reader.drain(ring, 1, ALL) > 0) {
        for (let at = 0; at < report[Report.Bytes]!; ) {
          const size = view.getUint32(at + 4, true);
          if (view.getUint32(at, true) === LOST) {
            result.lost += Number(view.getBigUint64(at + 8, true));
          } else {
            result.seqs.push(readEvent(out.subarray(at + 8, at + 8 + size)).seq);
            result.sizes.push(size);
          }
          at += 8 + ((size + 7) & ~7);
        }
      }
    }
    return result;
  }

  const untold = () => rings.reduce((sum, ring) => sum + reader.takeLost(ring), 0);

  afterEach(() => {
    reader.close();
    program.close();
    map.close();
  });

  it('hands over what was sent, with the size rounded up as the kernel rounds it', () => {
    open(8);
    program.run(10);
    const { seqs, sizes } = drain();
    expect(seqs.sort((a, b) => a - b)).toEqual(Array.from({ length: 10 }, (_, i) => i));
    expect(new Set(sizes)).toEqual(new Set([EVENT_SIZE + 4]));
  });

  it('reads records of different sizes across the end of the ring', () => {
    open(1, { varies: 31 });
    let next = 0;
    for (let round = 0; round < 200; round++) {
      program.run(31);
      const { seqs, sizes, lost } = drain();
      const order = seqs.map((seq, i) => [seq, sizes[i]!] as const).sort((a, b) => a[0] - b[0]);
      expect(order.map(([seq]) => seq)).toEqual(Array.from({ length: 31 }, (_, i) => next + i));
      for (const [seq, size] of order) expect(size).toBe(Math.ceil((variedSize(seq, 31) + 4) / 8) * 8 - 4);
      expect(lost).toBe(0);
      next += 31;
    }
  });

  it('accounts for every event of an overflowing ring, and tells no loss twice', () => {
    open(4);
    let received = 0;
    let lost = 0;
    for (let round = 0; round < 5; round++) {
      program.run(2000);
      const drained = drain();
      received += drained.seqs.length;
      lost += drained.lost;
      expect(drained.lost > 0 || !TELLS_LOST).toBe(true);
    }
    program.run(1);
    const last = drain();
    received += last.seqs.length;
    lost += last.lost + untold();
    expect(received + lost).toBe(10_001);
    expect(lost).toBe(program.refused);
    expect(untold()).toBe(0);
  });

  it('wakes the poll at every so many events', () => {
    open(8, { wakeupEvents: 1000 });
    program.run(5);
    expect(reader.wait(20)).toBe(0);
    expect(drain().seqs).toHaveLength(5);
    reader.close();
    open(8);
    program.run(5);
    expect(reader.wait(1000)).toBeGreaterThanOrEqual(1);
  });

  it('takes its slots of the map back', () => {
    open(1);
    const key = Buffer.alloc(4);
    const access = new (runtime().MapAccess)(map.fd, key, Buffer.alloc(4));
    program.run(1);
    expect(program.refused).toBe(0);
    reader.remove(rings[0]!);
    for (const ring of rings) reader.remove(ring);
    expect(access.delete()).toBe(2);
    program.run(1);
    expect(program.refused).toBe(1);
  });

  it('refuses a CPU that is not there and a size that is no power of two', () => {
    open(1);
    expect(() => reader.add(map.fd, { cpu: 100_000, pages: 1, wakeupEvents: 1 })).toThrow(
      expect.objectContaining({ syscall: 'perf_event_open' }),
    );
    expect(() => reader.add(map.fd, { cpu: 0, pages: 3, wakeupEvents: 1 })).toThrow('power of two');
  });
});
