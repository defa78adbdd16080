import { type NativeFd, type NativeRingReader, runtime } from '../../src/native';
import { itIf, requireRoot } from '../helpers';
import { EVENT_SIZE, EventProgram, readEvent, ringMap, variedSize } from '../helpers/event-program';

const SLOT = 8 + EVENT_SIZE;
const ALL = 0xffffffff;

requireRoot();

describe('the ring buffer reader', () => {
  let map: NativeFd;
  let reader: NativeRingReader;
  let program: EventProgram;

  function open(bytes: number, options = {}): number {
    map = ringMap(bytes);
    program = new EventProgram(map, 'ring', options);
    reader = new (runtime().RingReader)();
    return reader.add(map.fd);
  }

  /** Drains everything; the numbers and sizes of the events. */
  function drain(ring: number, out = new Uint8Array(65536), most = ALL): { seqs: number[]; sizes: number[] } {
    const seqs: number[] = [];
    const sizes: number[] = [];
    const view = new DataView(out.buffer, out.byteOffset);
    while (reader.drain(ring, out, most) > 0) {
      for (let at = 0; at < reader.bytes; ) {
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
    expect(reader.available(ring)).toBe(0);
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
    expect(reader.stride).toBe(0);
  });

  it('stops where the buffer is full, or enough has come, and goes on from there', () => {
    const ring = open(1 << 16);
    program.run(100);
    const out = new Uint8Array(3 * SLOT + 8);
    expect(reader.drain(ring, out, ALL)).toBe(3);
    expect([reader.bytes, reader.stride, reader.needed]).toEqual([3 * SLOT, SLOT, 0]);
    expect(reader.drain(ring, out, 2)).toBe(2);
    expect(readEvent(out.subarray(8)).seq).toBe(3);
    expect(reader.drain(ring, out.subarray(0, 16), ALL)).toBe(0);
    expect(reader.needed).toBe(SLOT);
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
    reader.remove(first);
    expect(reader.wait(0)).toBe(0);
    expect(() => reader.available(first)).toThrow('no such ring');
    expect(() => reader.available(99)).toThrow('no such ring');
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
    expect(() => reader.drain(ring, new Uint8Array(64), ALL)).toThrow('no such ring');
    expect(() => reader.wait(0)).toThrow('closed');
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
