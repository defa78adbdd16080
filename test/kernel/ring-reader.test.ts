import { type NativeFd, type NativeRingReader, Report, runtime } from '../../src/native';
import { itIf, requireRoot } from '../helpers';
import { EVENT_SIZE, EventProgram, readEvent, ringMap, variedSize } from '../helpers/event-program';

const SLOT = 8 + EVENT_SIZE;
const ALL = 0xffffffff;

requireRoot();

describe('the ring buffer reader', () => {
  let map: NativeFd;
  let reader: NativeRingReader;
  let program: EventProgram;
  const report = new Uint32Array(Report.Words);

  function open(bytes: number, options = {}): number {
    map = ringMap(bytes);
    program = new EventProgram(map, 'ring', options);
    reader = new (runtime().RingReader)();
    return reader.add(map.fd);
  }

  /** What the last drain told: bytes, stride, needed. */
  const told = () => [report[Report.Bytes], report[Report.Stride], report[Report.Needed]];

  /** Drains everything of a ring; the numbers and sizes of the events. */
  function drain(ring: number, out = new Uint8Array(65536), most = ALL): { seqs: number[]; sizes: number[] } {
    reader.target(out, report);
    const seqs: number[] = [];
    const sizes: number[] = [];
    const view = new DataView(out.buffer, out.byteOffset);
    while (reader.drain(ring, 1, most) > 0) {
      expect(report[Report.Ring]).toBe(ring);
      for (let at = 0; at < report[Report.Bytes]!; ) {
        const size = view.getUint32(at + 4, true);
        expect(view.getUint32(at, true)).toBe(0);
        seqs.push(readEvent(out.subarray(at + 8, at + 8 + size)).seq);
        sizes.push(size);
        at += 8 + ((size + 7) & ~7);
      }
    }
    return { seqs, sizes };
  }

  afterEach(() => {
    reader.close();
    program.close();
    map.close();
  });

  it('hands over what was sent, in order, and gives the room back', () => {
    const ring = open(4096);
    for (let round = 0; round < 100; round++) {
      program.run(50);
      expect(drain(ring).seqs).toEqual(Array.from({ length: 50 }, (_, i) => round * 50 + i));
    }
    expect(program.refused).toBe(0);
    expect(reader.wait(0)).toBe(0);
  });

  it('accounts for every event of an overflowing ring', () => {
    const ring = open(1 << 20);
    program.run(100_000);
    const received = drain(ring).seqs.length;
    expect(received).toBe(Math.floor((1 << 20) / SLOT));
    expect(received + program.refused).toBe(program.produced);
  });

  it('reads records of different sizes across the end of the ring', () => {
    const ring = open(4096, { varies: 31 });
    let next = 0;
    for (let round = 0; round < 200; round++) {
      program.run(37);
      const { seqs, sizes } = drain(ring);
      expect(seqs).toEqual(Array.from({ length: 37 }, (_, i) => next + i));
      expect(sizes).toEqual(seqs.map((seq) => variedSize(seq, 31)));
      next += 37;
    }
    expect(report[Report.Stride]).toBe(0);
  });

  it('stops where the buffer is full, or enough has come, and goes on from there', () => {
    const ring = open(1 << 16);
    program.run(100);
    const out = new Uint8Array(3 * SLOT + 8);
    reader.target(out, report);
    expect(reader.drain(ring, 1, ALL)).toBe(3);
    expect(told()).toEqual([3 * SLOT, SLOT, 0]);
    expect(report[Report.Available]).toBe(100 * SLOT);
    expect(reader.drain(ring, 1, 2)).toBe(2);
    expect(readEvent(out.subarray(8)).seq).toBe(3);
    reader.target(out.subarray(0, 16), report);
    expect(reader.drain(ring, 1, ALL)).toBe(0);
    expect(report[Report.Needed]).toBe(SLOT);
    expect(drain(ring, out, 1).seqs).toEqual(Array.from({ length: 95 }, (_, i) => i + 5));
  });

  it('wakes a waiting poll, and not before something has come', () => {
    const ring = open(4096);
    const start = performance.now();
    expect(reader.wait(30)).toBe(0);
    expect(performance.now() - start).toBeGreaterThanOrEqual(29);
    program.run(1);
    expect(reader.wait(-1)).toBe(1);
    drain(ring);
    expect(reader.wait(0)).toBe(0);
    expect(reader.poll(0)).toBe(0);
    program.run(2);
    expect(reader.poll(-1)).toBe(2);
    expect(report[Report.Ring]).toBe(ring);
    expect(told()).toEqual([2 * SLOT, SLOT, 0]);
  });

  it('drains nothing into memory that was given away', () => {
    const ring = open(4096);
    const out = new Uint8Array(4096);
    reader.target(out, report);
    program.run(2);
    structuredClone(out.buffer, { transfer: [out.buffer] });
    expect(reader.drain(ring, 1, ALL)).toBe(0);
    expect(report[Report.Needed]).toBe(SLOT);
    expect(drain(ring).seqs).toEqual([0, 1]);
  });

  it('outlives the descriptor it was given', () => {
    const ring = open(4096);
    program.run(3);
    map.close();
    program.run(2);
    expect(drain(ring).seqs).toEqual([0, 1, 2, 3, 4]);
  });

  it('keeps several rings apart, and lets one go', () => {
    const first = open(4096);
    const other = ringMap(4096);
    const second = reader.add(other.fd);
    program.run(2);
    expect(drain(second).seqs).toEqual([]);
    expect(reader.wait(0)).toBe(1);
    expect(reader.drain(second, 2, 1)).toBe(1);
    expect(report[Report.Ring]).toBe(first);
    reader.remove(first);
    expect(reader.wait(0)).toBe(0);
    expect(reader.drain(first, 2, ALL)).toBe(0);
    expect(() => reader.takeLost(first)).toThrow('no such ring');
    expect(() => reader.takeLost(99)).toThrow('no such ring');
    other.close();
  });

  it('refuses what is no ring, or no descriptor', () => {
    open(4096);
    const hash = runtime().createMap({ type: 1, name: 'h', keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 });
    expect(() => reader.add(hash.fd)).toThrow(expect.objectContaining({ errno: 22 }));
    expect(() => reader.add(9999)).toThrow(expect.objectContaining({ errno: 9 }));
    hash.close();
  });

  it('is finished once closed', () => {
    const ring = open(4096);
    reader.close();
    reader.close();
    expect(() => reader.drain(ring, 1, ALL)).toThrow('closed');
    expect(() => reader.wait(0)).toThrow('closed');
    expect(() => reader.poll(0)).toThrow('closed');
    expect(() => reader.add(map.fd)).toThrow('closed');
  });
});

itIf('root', 'a wake-up reaches the event loop, and an idle watcher lets the process be', async () => {
  const map = ringMap(4096);
  const program = new EventProgram(map, 'ring');
  const reader = new (runtime().RingReader)();
  reader.add(map.fd);
  const watcher = new (runtime().FdWatcher)(reader.pollFd);
  let calls = 0;
  const woken = new Promise<void>((resolve) => {
    watcher.start(() => {
      calls++;
      watcher.stop();
      resolve();
    });
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(calls).toBe(0);
  program.run(1);
  await woken;
  watcher.close();
  watcher.close();
  expect(() => watcher.start()).toThrow('closed');
  expect(calls).toBe(1);
  reader.close();
  program.close();
  map.close();
});

itIf('root', 'a watcher drains for its callback as much as is wanted, and nothing unasked', async () => {
  const map = ringMap(4096);
  const program = new EventProgram(map, 'ring');
  const reader = new (runtime().RingReader)();
  reader.add(map.fd);
  const report = new Uint32Array(Report.Words);
  reader.target(new Uint8Array(4096), report);
  const watcher = new (runtime().FdWatcher)(reader.pollFd, reader);
  const calls: number[][] = [];
  const done = new Promise<void>((resolve) => {
    watcher.start((errno, drained) => {
      calls.push([errno, drained]);
      if (calls.length === 2) report[Report.Wanted] = 2;
      if (calls.length === 4) resolve();
    });
  });
  program.run(3);
  await done;
  watcher.close();
  // Twice unasked, then two, and the last one unasked again.
  expect(calls.slice(0, 4)).toEqual([
    [0, 0],
    [0, 0],
    [0, 2],
    [0, 0],
  ]);
  expect(reader.drain(0, 1, ALL)).toBe(1);
  reader.close();
  program.close();
  map.close();
});
