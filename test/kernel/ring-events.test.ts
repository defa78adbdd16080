import { text } from 'node:stream/consumers';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import type { EventStream } from '../../src/events/event-stream';
import { Loss } from '../../src/events/loss';
import { ndjsonWriter } from '../../src/events/ndjson';
import { RingManager } from '../../src/events/ring-manager';
import type { StandaloneHost } from '../../src/table/host';
import { RingBufferTable } from '../../src/table/ring-buffer';
import { requireRoot } from '../helpers';
import { EventProgram, type EventProgramOptions, ringMap } from '../helpers/event-program';
import { eventTableSpec, type NumberedEvent } from '../helpers/event-table';

requireRoot();

let table: RingBufferTable<NumberedEvent>;
let host: StandaloneHost;
let program: EventProgram;

function open(bytes = 1 << 20, options: EventProgramOptions & { counted?: boolean } = {}): void {
  const map = ringMap(bytes);
  program = new EventProgram(map, 'ring', options);
  const spec = eventTableSpec(map, 'RINGBUF', bytes);
  if (options.counted) spec.lost = () => BigInt(program.refused);
  host = spec.host;
  table = new RingBufferTable(spec);
}

afterEach(() => {
  host.close();
  program.close();
});

const turn = (ms = 0) => new Promise((resolve) => setTimeout(resolve, ms));
const upTo = (end: number, from = 0) => Array.from({ length: end - from }, (_, i) => from + i);

describe('callbacks and polls', () => {
  /** A manager of its own for each test; the numbers of the events its callback has seen. */
  function opened(react: (seq: number) => number | void = () => {}): { manager: RingManager; seen: number[] } {
    const seen: number[] = [];
    table.openRingBuffer((_ctx, data) => {
      const seq = Number(table.event(data).seq);
      seen.push(seq);
      return react(seq);
    });
    return { manager: RingManager.of(host), seen };
  }

  it('deliver every event in order, with its context and its size', () => {
    open();
    const sizes = new Set<number>();
    const contexts = new Set<unknown>();
    const seqs: number[] = [];
    table.openRingBuffer((ctx, data, size) => {
      contexts.add(ctx);
      sizes.add(size);
      seqs.push(Number(table.event(data).seq));
    }, 'mine');
    program.run(20_000);
    expect(RingManager.of(host).poll(0)).toBe(18_724);
    expect(seqs).toEqual(upTo(18_724));
    expect([sizes, contexts]).toEqual([new Set([48]), new Set(['mine'])]);
    expect(seqs.length + program.refused).toBe(20_000);
  });

  it('wait no longer than they are told', () => {
    open();
    const { manager } = opened();
    const start = performance.now();
    expect(manager.poll(20)).toBe(0);
    expect(performance.now() - start).toBeGreaterThanOrEqual(19);
    program.run(1);
    expect(manager.poll(-1)).toBe(1);
    program.run(1);
    expect(manager.consume()).toBe(1);
    expect(() => manager.poll(1.5)).toThrow(RangeError);
  });

  it('stop at an exception, which surfaces, and lose nothing that follows', () => {
    open();
    const { manager, seen } = opened((seq) => {
      if (seq % 10 === 9) throw new Error(`at ${seq}`);
    });
    program.run(95);
    for (let round = 0; round < 9; round++) expect(() => manager.poll(0)).toThrow(`at ${round * 10 + 9}`);
    expect(manager.poll(0)).toBe(5);
    expect(seen).toEqual(upTo(95));
  });

  it('stop at a negative number, which they return', () => {
    open();
    const { manager, seen } = opened((seq) => (seq === 2 ? -7 : 0));
    program.run(5);
    expect(manager.poll(0)).toBe(-7);
    expect(seen).toEqual([0, 1, 2]);
    // What is left is there already: nothing is waited for.
    expect(manager.poll(-1)).toBe(2);
    expect(seen).toEqual(upTo(5));
  });

  it('serve several rings with one poll', () => {
    open();
    const { manager, seen } = opened();
    const map = ringMap(4096);
    const second = new EventProgram(map, 'ring');
    const spec = { ...eventTableSpec(map, 'RINGBUF', 4096), host };
    const others: number[] = [];
    new RingBufferTable<NumberedEvent>(spec).openRingBuffer((_ctx, data) => void others.push(data.length));
    program.run(3);
    second.run(2);
    expect(manager.poll(0)).toBe(5);
    expect([seen, others]).toEqual([
      [0, 1, 2],
      [48, 48],
    ]);
    second.close();
    map.close();
  });

  it('let a callback close everything, or its own buffer', () => {
    open();
    const { seen } = opened((seq) => {
      if (seq === 1) host.close();
    });
    program.run(5);
    expect(RingManager.of(host).poll(0)).toBe(2);
    expect(seen).toEqual([0, 1]);
    program.close();
    open();
    const again = opened((seq) => {
      if (seq === 1) table.closeRingBuffer();
    });
    program.run(5);
    expect(again.manager.poll(0)).toBe(2);
    expect(again.seen).toEqual([0, 1]);
    expect(table.opened).toBe(false);
    expect(() => again.manager.poll(0)).toThrow(expect.objectContaining({ code: 'ERR_BCC_NO_BUFFER' }));
  });

  it('do not nest', () => {
    open();
    const { manager } = opened(() => void manager.poll(0));
    program.run(2);
    expect(() => manager.poll(0)).toThrow(expect.objectContaining({ code: 'ERR_BCC_POLL_NESTED' }));
  });

  it('return although the producer never rests', () => {
    open();
    let sent = 0;
    const { manager } = opened(() => {
      if (sent++ < 100_000) program.run(1);
    });
    program.run(10);
    expect(manager.poll(0)).toBe(10);
  });
});

describe('a stream', () => {
  /** Sends `count` events, 30,000 at a time, and closes the stream when it has had time to take the last ones. */
  function closeAfter(stream: EventStream<unknown>, count: number): void {
    let before = -1;
    const producer = setInterval(() => {
      const { received } = stream.stats;
      if (program.produced < count) program.run(30_000);
      else if (received > before) before = received;
      else stream.close();
      if (stream.closed) clearInterval(producer);
    });
  }

  async function take(stream: AsyncIterable<NumberedEvent>, count: number): Promise<number[]> {
    const seqs: number[] = [];
    for await (const event of stream) if (seqs.push(Number(event.seq)) === count) break;
    return seqs;
  }

  it('yields decoded events as they come, and closes when its loop is left', async () => {
    open();
    const stream = table.events();
    program.run(3);
    setTimeout(() => program.run(2), 10);
    expect(await take(stream, 5)).toEqual(upTo(5));
    expect(stream.closed).toBe(true);
    expect(table.opened).toBe(false);
    program.run(2);
    expect(await take(table, 2)).toEqual([5, 6]);
  });

  it('accounts for every event at full load', async () => {
    open(1 << 20, { counted: true });
    const stream = table.events({ lossEvents: true });
    closeAfter(stream, 600_000);
    let told = 0;
    let next = 0n;
    let disorder = 0;
    for await (const event of stream) {
      if (event instanceof Loss) told += event.lost;
      else if (event.seq < next) disorder++;
      else next = event.seq + 1n;
    }
    const { received, lost } = stream.stats;
    expect([disorder, lost]).toEqual([0, program.refused]);
    expect(received + lost).toBe(program.produced);
    expect(told).toBeGreaterThan(0);
    expect(told).toBeLessThanOrEqual(lost);
  });

  it('tells a loss after the events that filled the ring and before those that follow', async () => {
    open(4096, { counted: true });
    const told: (number | string)[] = [];
    const stream = table.events({ onLost: (loss) => told.push(String(loss)) });
    program.run(100);
    setTimeout(() => program.run(1), 10);
    for await (const event of stream) {
      told.push(Number(event.seq));
      if (event.seq === 100n) break;
    }
    expect(told).toEqual([...upTo(73), "27 events lost: the kernel's buffer was full", 100]);
  });

  it('leaves in the kernel what a slow consumer does not take', async () => {
    open(4096);
    const stream = table.events();
    program.run(10);
    expect((await stream.next()).value!.seq).toBe(0n);
    program.run(100);
    await turn(5);
    expect(stream.stats).toMatchObject({ received: 1, buffered: 9, batches: 1 });
    expect(program.refused).toBe(100 - 73);
    stream.close();
  });

  it.each([
    ['drop-oldest' as const, upTo(1000, 990)],
    ['drop-newest' as const, upTo(10)],
  ])('keeps what %s says and counts the rest', async (overflow, kept) => {
    open();
    const stream = table.events({ overflow, maxBuffered: 10, lossEvents: true });
    for (let i = 0; i < 10; i++) {
      program.run(100);
      await turn(2);
    }
    expect(stream.stats).toMatchObject({ received: 0, lost: 990, buffered: 10 });
    const got: (number | string)[] = [];
    for (let i = 0; i < 11; i++) {
      const { value } = await stream.next();
      got.push(value instanceof Loss ? `${value.cause} ${value.lost}` : Number(value!.seq));
    }
    expect(got).toEqual(overflow === 'drop-oldest' ? ['overflow 990', ...kept] : [...kept, 'overflow 990']);
    expect(stream.stats).toMatchObject({ received: 10, lost: 990, buffered: 0 });
    stream.close();
  });

  it('ends when its signal is aborted, in the middle of a batch or while it waits', async () => {
    open();
    const middle = new AbortController();
    program.run(10);
    const seqs: number[] = [];
    for await (const event of table.events({ signal: middle.signal })) {
      seqs.push(Number(event.seq));
      if (event.seq === 3n) middle.abort();
    }
    expect(seqs).toEqual([0, 1, 2, 3]);
    const waiting = new AbortController();
    setTimeout(() => waiting.abort(), 10);
    expect(await take(table.events({ signal: waiting.signal }), 1)).toEqual([]);
    expect(await take(table.events({ signal: AbortSignal.abort() }), 1)).toEqual([]);
    expect(table.opened).toBe(false);
  });

  it('ends when what it belongs to is closed', async () => {
    open();
    const stream = table.events();
    const next = stream.next();
    host.close();
    expect(await next).toEqual({ value: undefined, done: true });
    expect(await stream.next()).toEqual({ value: undefined, done: true });
    expect(() => table.events()).toThrow(expect.objectContaining({ code: 'ERR_BCC_CLOSED' }));
  });

  it('closes when the body of its loop throws', async () => {
    open();
    program.run(2);
    await expect(async () => {
      for await (const event of table) throw new Error(`at ${event.seq}`);
    }).rejects.toThrow('at 0');
    expect(table.opened).toBe(false);
  });

  it('ends with the error of an event that does not decode', async () => {
    open(4096, { varies: 1 });
    program.run(1);
    await expect(take(table, 1)).rejects.toMatchObject({ code: 'ERR_BCC_DATA_SIZE' });
    expect(table.opened).toBe(false);
  });

  it('answers several requests in order', async () => {
    open();
    const stream = table.events();
    const answers = [stream.next(), stream.next(), stream.next()];
    program.run(3);
    expect((await Promise.all(answers)).map(({ value }) => value!.seq)).toEqual([0n, 1n, 2n]);
    stream.close();
  });

  it('is the only consumer of its buffer', () => {
    open();
    const stream = table.events();
    const busy = expect.objectContaining({ code: 'ERR_BCC_BUFFER_OPEN' });
    expect(() => table.events()).toThrow(busy);
    expect(() => table.openRingBuffer(() => 0)).toThrow(busy);
    stream.close();
    table.openRingBuffer(() => 0);
    expect(() => table.batches()).toThrow(busy);
    expect(() => table.openRingBuffer(() => 0)).toThrow(busy);
  });

  it('refuses options it does not know', () => {
    open();
    expect(() => table.events({ overflow: 'explode' as never })).toThrow(TypeError);
    expect(() => table.events({ maxBuffered: 0 })).toThrow(RangeError);
    expect(table.opened).toBe(false);
  });

  it('goes on as a Node stream, a web stream and a text', async () => {
    open();
    program.run(3);
    const { readable } = table.events();
    expect((await readable.take(3).toArray()).map(({ seq }) => seq)).toEqual([0n, 1n, 2n]);
    await turn(1);
    program.run(3);
    const reader = table.events().toWeb().getReader();
    expect((await reader.read()).value!.seq).toBe(3n);
    await reader.cancel();
    expect(table.opened).toBe(false);
    program.run(3);
    const lines = await text(table.events().readable.take(1).pipe(ndjsonWriter()));
    expect(JSON.parse(lines)).toMatchObject({ pid: 0, seq: { $bigint: expect.any(String) } });
  });

  it('gives its memory back when it is closed, although the event loop does not turn', () => {
    open();
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const held = () => {
      // What the first collection finds is freed in the background; the second one waits for it.
      collect();
      collect();
      return process.memoryUsage().arrayBuffers / 2 ** 20;
    };
    const before = held();
    for (let i = 0; i < 200; i++) table.events().close();
    expect(held() - before).toBeLessThan(5);
  });

  it('uses no processor time while nothing comes', async () => {
    open();
    const stream = table.events();
    const next = stream.next();
    await turn(50);
    const before = process.cpuUsage();
    await turn(500);
    const { user, system } = process.cpuUsage(before);
    expect(user + system).toBeLessThan(100_000);
    program.run(1);
    expect((await next).value!.seq).toBe(0n);
    stream.close();
  });
});

describe('batches', () => {
  it('are views over what came, decoded as far as they are read', async () => {
    open();
    program.run(5000);
    const seqs: number[] = [];
    for await (const batch of table.batches()) {
      expect(batch.at(0)!.seq).toBe(BigInt(seqs.length));
      expect(batch.at(-1)!.seq).toBe(BigInt(seqs.length + batch.length - 1));
      expect(batch.at(batch.length)).toBeUndefined();
      expect(batch.decode(1)!.seq).toBe(BigInt(seqs.length + 1));
      expect(batch.raw(0)!.readBigUInt64LE(8)).toBe(BigInt(seqs.length));
      expect([...batch].map(({ seq }) => seq)).toEqual(batch.toArray().map(({ seq }) => seq));
      for (let i = 0; i < batch.length; i++) seqs.push(Number(batch.at(i)!.seq));
      if (seqs.length === 5000) break;
    }
    expect(seqs).toEqual(upTo(5000));
  });

  it('hold records of any sizes', async () => {
    open(1 << 16, { varies: 31 });
    program.run(100);
    for await (const batch of table.batches({ type: 'numbered_t' })) {
      expect(batch.length).toBe(100);
      expect(Array.from({ length: 100 }, (_, i) => batch.raw(i)!.length)).toEqual(
        upTo(100).map((seq) => 24 + (seq & 31)),
      );
      break;
    }
  });

  it('tell what was lost', async () => {
    open(4096, { counted: true });
    program.run(100);
    const stream = table.batches();
    const first = await stream.next();
    expect([first.value!.length, first.value!.lost]).toEqual([73, 0]);
    const second = await stream.next();
    expect([second.value!.length, second.value!.lost]).toEqual([0, 27]);
    expect(stream.stats).toMatchObject({ received: 73, lost: 27, buffered: 0 });
    stream.close();
  });
});

describe('processes and threads', () => {
  it('an end of the thread under an open stream is clean', async () => {
    open();
    const worker = new Worker(
      `const { workerData } = require('node:worker_threads');
       const addon = require(workerData.addon);
       const reader = new addon.RingReader();
       reader.add(workerData.fd);
       const watcher = new addon.FdWatcher(reader.pollFd);
       reader.target(new Uint8Array(4096), new Uint32Array(8));
       watcher.start(() => {
         const count = reader.drain(0, 1, 1000);
         require('node:worker_threads').parentPort.postMessage(count);
         if (count === 2) process.exit(0);
       });
       require('node:worker_threads').parentPort.postMessage('ready');`,
      {
        eval: true,
        workerData: {
          fd: table.getFd(),
          addon: process.env.TSBCC_RUNTIME_ADDON ?? `${__dirname}/../../build/Release/runtime.node`,
        },
      },
    );
    const messages: unknown[] = [];
    worker.on('message', (message) => {
      messages.push(message);
      program.run(message === 'ready' ? 1 : 2);
    });
    const code = await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
    expect([code, messages[0], messages[1]]).toEqual([0, 'ready', 1]);
  });
});
