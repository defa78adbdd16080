import { once } from 'node:events';
import * as path from 'node:path';
import { Worker } from 'node:worker_threads';
import { BCC } from '../../src/bcc';
import { Loss } from '../../src/events/loss';
import { describeIf, requireRoot } from '../helpers';

requireRoot();

/* Whole programs: what they send is caused by getgid() of this very process. */

const EVENT = `
struct event { u32 pid; u64 number; char comm[16]; };
BPF_ARRAY(sent, u64, 1);
BPF_ARRAY(owner, u32, 1);
static __always_inline void fill(struct event *event, u64 number) {
  event->pid = bpf_get_current_pid_tgid() >> 32;
  event->number = number;
  bpf_get_current_comm(&event->comm, sizeof(event->comm));
}
`;

function program(declaration: string, send: string): string {
  return `
${EVENT}
${declaration}
TRACEPOINT_PROBE(syscalls, sys_enter_getgid) {
  int zero = 0;
  u32 *pid = owner.lookup(&zero);
  if (!pid || bpf_get_current_pid_tgid() >> 32 != *pid) return 0;
  u64 *number = sent.lookup(&zero);
  if (!number) return 0;
  struct event event = {};
  fill(&event, *number);
  *number += 1;
  ${send}
  return 0;
}`;
}

/** The pid is told behind the text's back: the same text is the same program for the cache. */
function load(source: ConstructorParameters<typeof BCC>[0]): BCC {
  const b = new BCC(source);
  b.table('owner').set(0, process.pid);
  return b;
}

function send(count: number): void {
  for (let i = 0; i < count; i++) process.getgid?.();
}

/** A thread that opens a stream of a shared table, 'events', and runs `script`. */
function inWorker(b: BCC, script: string): Worker {
  return new Worker(
    `const { workerData, parentPort } = require('node:worker_threads');
     require(workerData.transform);
     const { openShared } = require(workerData.shared);
     const table = openShared(workerData.table);
     const stream = table.events();
     ${script}`,
    {
      eval: true,
      workerData: {
        transform: path.join(__dirname, '..', 'helpers', 'transform-typescript.cjs'),
        shared: path.join(__dirname, '..', '..', 'src', 'table', 'shared.ts'),
        table: b.table('events').share(),
      },
    },
  );
}

describeIf('syscallTracepoints', 'a program that sends through a ring buffer', () => {
  const text = program('BPF_RINGBUF_OUTPUT(events, 1);', 'events.ringbuf_output(&event, sizeof(event), 0);');

  it('is heard with its struct as the compiler laid it out', async () => {
    const b = load(text);
    try {
      const events = b.table('events');
      const seen: unknown[] = [];
      events.openRingBuffer((_ctx, data) => void seen.push(events.event(data)));
      send(2);
      expect(b.ringBufferPoll(1000)).toBe(2);
      expect(seen).toEqual([
        { pid: process.pid, number: 0n, comm: expect.any(String) },
        { pid: process.pid, number: 1n, comm: expect.any(String) },
      ]);
      events.closeRingBuffer();
      send(1);
      for await (const event of events) {
        expect(event.number).toBe(2n);
        break;
      }
    } finally {
      b.close();
    }
  });

  it('counts what the ring has no room for, on request', async () => {
    const b = load({ text, countLost: true });
    try {
      const stream = b.table('events').events({ lossEvents: true });
      send(500);
      setTimeout(() => send(1), 20);
      let events = 0;
      let lost = 0;
      for await (const event of stream) {
        if (event instanceof Loss) lost += event.lost;
        else events++;
        if (events + lost === 501) break;
      }
      expect(Number(b.table('sent').get(0))).toBe(501);
      expect(lost).toBeGreaterThan(300);
      expect(stream.stats).toMatchObject({ received: events, lost });
    } finally {
      b.close();
    }
  });

  it('ends its streams when it is closed', async () => {
    const b = load(text);
    const next = b.table('events').events().next();
    b.close();
    expect(await next).toEqual({ value: undefined, done: true });
  });

  it('is heard in a worker thread, through a table that was shared', async () => {
    const b = load(text);
    try {
      const worker = inWorker(
        b,
        `parentPort.postMessage('ready');
         (async () => {
           for await (const event of stream) {
             parentPort.postMessage(event);
             if (event.number === 2n) break;
           }
         })();`,
      );
      const received: { number: bigint }[] = [];
      worker.on('message', (message) => (message === 'ready' ? send(3) : received.push(message)));
      await once(worker, 'exit');
      expect(received.map(({ number }) => number)).toEqual([0n, 1n, 2n]);
    } finally {
      b.close();
    }
  });

  it.each([
    ['ends where nobody waits for an event', '', []],
    ['ends where the stream that is waited for is unreferenced', 'stream.next(); stream.unref();', []],
    [
      'stays while somebody waits, and ends when nobody does any more',
      'say("send"); stream.unref().ref().next().then(({ value }) => say(value.number));',
      ['send', 0n],
    ],
  ])('has a thread that %s', async (_what, script, expected) => {
    const b = load(text);
    try {
      const said: unknown[] = [];
      const worker = inWorker(b, `const say = (text) => parentPort.postMessage(text); ${script}`);
      worker.on('message', (text) => {
        said.push(text);
        setTimeout(send, 50, 1);
      });
      expect(await once(worker, 'exit')).toEqual([0]);
      expect(said).toEqual(expected);
    } finally {
      b.close();
    }
  });
});

describeIf('syscallTracepoints', 'a program that sends through a perf buffer', () => {
  it('is heard with its struct, by callbacks and by streams', async () => {
    const b = load(program('BPF_PERF_OUTPUT(events);', 'events.perf_submit(args, &event, sizeof(event));'));
    try {
      const events = b.table('events');
      const numbers: bigint[] = [];
      events.openPerfBuffer((_cpu, data) => void numbers.push(events.event(data).number));
      send(3);
      while (numbers.length < 3) expect(b.perfBufferPoll(1000)).toBeGreaterThan(0);
      expect(numbers.sort()).toEqual([0n, 1n, 2n]);
      events.closePerfBuffer();
      const stream = events.events({ orderBy: 'number' });
      send(3);
      const ordered: bigint[] = [];
      for await (const event of stream) if (ordered.push(event.number) === 3) break;
      expect(ordered).toEqual([3n, 4n, 5n]);
    } finally {
      b.close();
    }
  });
});

describeIf('syscallTracepoints', 'a program that sends several structs through one table', () => {
  it('has them told apart by size or by name', () => {
    const declarations = 'struct small { u32 a; }; struct other { u32 b; };\nBPF_RINGBUF_OUTPUT(events, 1);';
    const b = load(
      program(
        declarations,
        `struct small small = {.a = 1}; struct other other = {.b = 2};
         events.ringbuf_output(&event, sizeof(event), 0);
         events.ringbuf_output(&small, sizeof(small), 0);
         events.ringbuf_output(&other, sizeof(other), 0);`,
      ),
    );
    try {
      const events = b.table('events');
      const seen: unknown[] = [];
      const readers = [
        (data: Buffer) => events.event(data).number,
        (data: Buffer) => events.event(data, { type: 'small' }),
        (data: Buffer) => events.event(data, { type: 'struct other' }),
        (data: Buffer) => events.event(data),
      ];
      events.openRingBuffer((_ctx, data) => void seen.push(readers[seen.length]!(data)));
      send(1);
      b.ringBufferConsume();
      expect(seen).toEqual([0n, { a: 1 }, { b: 2 }]);
      readers.splice(0, 3);
      seen.length = 0;
      readers.unshift((data) => data.length);
      send(1);
      expect(() => b.ringBufferConsume()).toThrow(expect.objectContaining({ code: 'ERR_BCC_EVENT_AMBIGUOUS' }));
    } finally {
      b.close();
    }
  });
});

it('a table that is no ring offers no stream', () => {
  const b = new BCC('BPF_HASH(counts, u32, u64);');
  try {
    expect((b.table('counts') as { events?: unknown }).events).toBeUndefined();
    expect(() => b.ringBufferPoll(0)).toThrow(expect.objectContaining({ code: 'ERR_BCC_NO_BUFFER' }));
  } finally {
    b.close();
  }
});
