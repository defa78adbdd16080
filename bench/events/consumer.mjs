/*
 * tsbcc's side: node consumer.mjs '{"mode":"drain","buffer":"ring","pages":16384,"events":1000000,…}' prints what it
 * measured as one line of JSON. consumer.py and consumer.cc take and print the same.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { BCC } from '../../lib/index.js';

const job = JSON.parse(process.argv[2]);
const { mode, buffer, pages, perCall = 1, perSecond = 0, seconds = 0 } = job;

const producer = spawn(job.producer, [String(job.producerCpu)], { stdio: ['pipe', 'pipe', 'inherit'] });
const answers = createInterface({ input: producer.stdout })[Symbol.asyncIterator]();
await answers.next();

/** Has the producer cause events; resolves when it has, to the seconds that it took. */
async function produce(events, eventsPerSecond = 0) {
  producer.stdin.write(`${Math.floor(events / perCall)} ${Math.floor(eventsPerSecond / perCall)}\n`);
  const { value } = await answers.next();
  return Number(value.split(' ')[1]) / 1e9;
}

const b = new BCC({
  text: readFileSync(new URL('program.c', import.meta.url), 'utf8'),
  cflags: [
    `-DPRODUCER=${producer.pid}`,
    `-DPER_CALL=${perCall}`,
    ...(buffer === 'ring' ? [`-DRING_PAGES=${pages}`] : []),
  ],
});
const events = b.table('events');
// A full perf buffer is filled quickest where not every event interrupts the producer to wake somebody.
const wakeupEvents = mode === 'drain' ? 1000 : 1;
const ringOptions = buffer === 'ring' ? {} : { pageCnt: pages, wakeupEvents };
const counter = (name) => Number(b.table(name).get(0));

/** Reads every field; what was read last is printed at the end, so that no side can leave any out. */
const last = { pid: 0, cpu: 0, seq: 0n, ts: 0n, address: 0n, comm: '' };
function use(event) {
  last.pid = event.pid;
  last.cpu = event.cpu;
  last.seq = event.seq;
  last.ts = event.ts;
  last.address = event.address;
  last.comm = event.comm;
}

/** Fills the buffer again and again, and keeps the best time in which it was emptied: a shared machine disturbs some. */
class Rounds {
  best = { perSecond: 0, perCpuSecond: 0 };
  /** Events of this round still to come. */
  #left = 0;
  #done = 0;
  #start = 0n;
  #cpu;

  async begin() {
    await produce(job.events);
    this.#left = job.events;
    this.#cpu = process.cpuUsage();
    this.#start = process.hrtime.bigint();
  }

  /** Counts events; whether that was the whole round. */
  empty(count) {
    this.#left -= count;
    return this.#left <= 0;
  }

  /** After each round; resolves to true after the last one. */
  async next() {
    const ns = Number(process.hrtime.bigint() - this.#start);
    const { user, system } = process.cpuUsage(this.#cpu);
    this.best.events = job.events;
    this.best.perSecond = Math.max(this.best.perSecond, (job.events / ns) * 1e9);
    this.best.perCpuSecond = Math.max(this.best.perCpuSecond, (job.events / (user + system)) * 1e6);
    if (++this.#done >= (job.rounds ?? 3)) return true;
    await this.begin();
    return false;
  }
}

const ways = {
  async batches(rounds) {
    const stream = events.batches(ringOptions);
    await rounds.begin();
    for await (const batch of stream) {
      for (const event of batch.toArray()) use(event);
      if (rounds.empty(batch.length) && (await rounds.next())) break;
    }
  },
  async field(rounds) {
    const stream = events.batches(ringOptions);
    await rounds.begin();
    for await (const batch of stream) {
      for (let i = 0; i < batch.length; i++) last.pid = batch.at(i).pid;
      if (rounds.empty(batch.length) && (await rounds.next())) break;
    }
  },
  async stream(rounds) {
    const stream = events.events(ringOptions);
    await rounds.begin();
    for await (const event of stream) {
      use(event);
      if (rounds.empty(1) && (await rounds.next())) break;
    }
  },
  async callback(rounds) {
    let empty = false;
    const each = (data) => {
      use(events.event(data));
      empty = rounds.empty(1);
    };
    if (buffer === 'ring') events.openRingBuffer((_ctx, data) => each(data));
    else events.openPerfBuffer((_cpu, data) => each(data), ringOptions);
    await rounds.begin();
    do {
      for (empty = false; !empty; ) buffer === 'ring' ? b.ringBufferConsume() : b.perfBufferConsume();
    } while (!(await rounds.next()));
  },
};

async function drain() {
  const rounds = new Rounds();
  await ways[job.way](rounds);
  return rounds.best;
}

/** A steady producer; what was lost, and how full the consumer's core was. */
async function live() {
  const stream = events.batches(ringOptions);
  const before = process.cpuUsage();
  const finished = produce(perSecond * seconds, perSecond).then(async (took) => {
    for (let seen = -1; seen !== stream.stats.received; await sleep(100)) seen = stream.stats.received;
    stream.close();
    return took;
  });
  for await (const batch of stream) for (const event of batch.toArray()) use(event);
  const producerSeconds = await finished;
  const { user, system } = process.cpuUsage(before);
  const lost = buffer === 'ring' ? counter('refused') : stream.stats.lost;
  const cpuSeconds = (user + system) / 1e6;
  return { received: stream.stats.received, sent: counter('sent'), lost, producerSeconds, cpuSeconds };
}

/** From the kernel's clock in the event to the moment it is seen, one event at a time. */
async function latency() {
  const count = perSecond * seconds;
  const times = [];
  const stream = job.way === 'stream' ? events.events(ringOptions) : undefined;
  const seen = (now, event) => times.push(Number(now - event.ts) / 1000);
  if (!stream) {
    if (buffer === 'ring')
      events.openRingBuffer((_ctx, data) => void seen(process.hrtime.bigint(), events.event(data)));
    else events.openPerfBuffer((_cpu, data) => seen(process.hrtime.bigint(), events.event(data)), ringOptions);
  }
  const finished = produce(count, perSecond);
  if (stream) {
    for await (const event of stream) {
      seen(process.hrtime.bigint(), event);
      if (times.length === count) break;
    }
  } else {
    await sleep(0);
    while (times.length < count) buffer === 'ring' ? b.ringBufferPoll(-1) : b.perfBufferPoll(-1);
  }
  await finished;
  times.sort((x, y) => x - y);
  return { medianUs: times[times.length >> 1], p99Us: times[Math.floor(times.length * 0.99)], events: times.length };
}

/** Until V8's memory reducer has been at work. */
const V8_SETTLES_MS = 12_000;

/** Processor time of an open stream to which nothing comes. */
async function idle() {
  const stream = events.events(ringOptions);
  const waiting = stream.next();
  // Some eight seconds after the last large collection V8 tidies up once, on its own: that is not what waiting costs.
  globalThis.gc?.();
  await sleep(V8_SETTLES_MS);
  const before = process.cpuUsage();
  await sleep(seconds * 1000);
  const { user, system } = process.cpuUsage(before);
  stream.close();
  await waiting;
  return { cpuMs: (user + system) / 1000, seconds };
}

/** Resident memory before and after very many events: as many as are to be received, whatever is lost meanwhile. */
async function memory() {
  const stream = events.batches(ringOptions);
  const resident = () => {
    globalThis.gc?.();
    return process.memoryUsage().rss;
  };
  let before = 0;
  let after = 0;
  let seen = 0;
  const producing = (async () => {
    while (seen < job.events) await produce(job.events / 20, perSecond);
  })();
  for await (const batch of stream) {
    for (const event of batch.toArray()) use(event);
    seen += batch.length;
    // What the process needs at all it has by then.
    if (before === 0 && seen > job.events / 20) before = resident();
    if (seen < job.events) continue;
    // The ring's own memory belongs to both.
    after = resident();
    break;
  }
  const growthMiB = (after - before) / 2 ** 20;
  await producing;
  return { events: seen, sent: counter('sent'), growthMiB, residentMiB: before / 2 ** 20 };
}

const result = await { drain, live, latency, idle, memory }[mode]();
producer.stdin.end();
await once(producer, 'exit');
b.close();
console.log(JSON.stringify({ ...result, last: Object.values(last).join(' ') }));
