import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { runtime } from '../../src/native';
import { requireRoot, waitFor } from '../helpers';

/*
 * Several threads and processes at once, each compiling, attaching, reading its own events and closing, with one cache
 * between them; and threads that are ended in the middle. libbcc's compiler is not known to be safe for threads: it runs
 * in processes of its own. TSBCC_THREAD_ROUNDS makes more rounds of it.
 */

requireRoot();

const ROUNDS = Number(process.env.TSBCC_THREAD_ROUNDS ?? 3);
const ROOT = path.join(__dirname, '../..');
const THREADS = 4;

/** Each round has a program of its own: `number` is in its text and in every event. */
const TRACER = `
const { BCC } = require(${JSON.stringify(ROOT)});
function round(number, cache) {
  const b = new BCC({ cache, text: \`
BPF_HASH(seen, u32, u64); BPF_RINGBUF_OUTPUT(ring, 4);
int traced(void *ctx) {
  u32 key = \${number}; u64 pid = bpf_get_current_pid_tgid() >> 32;
  if (pid != \${process.pid}) return 0;
  seen.increment(key);
  ring.ringbuf_output(&key, sizeof(key), 0);
  return 0;
}\` });
  b.attachRawTracepoint({ tp: 'sys_enter', fnName: 'traced' });
  let own = 0;
  let others = 0;
  b.table('ring').openRingBuffer((ctx, data) => (Buffer.from(data).readUInt32LE() === number ? own++ : others++));
  for (let tries = 0; own === 0 && tries < 100; tries++) b.ringBufferPoll(20);
  const counted = b.table('seen').get(number);
  b.close();
  if (own === 0 || others !== 0 || counted === undefined) throw new Error(\`round \${number}: \${own} own events, \${others} others\`);
}
`;

/** Of this process and its children: what carries the names in TRACER. */
function ours(): string[] {
  const native = runtime();
  return native.ids('program').flatMap((id) => {
    try {
      const fd = native.fdById('program', id);
      const { name } = native.programInfo(fd.fd);
      fd.close();
      return name === 'traced' ? [name] : [];
    } catch {
      // It has gone meanwhile.
      return [];
    }
  });
}

function thread(from: number, rounds: number, cache: string): Worker {
  const code = `${TRACER}
const { parentPort } = require('node:worker_threads');
for (let i = 0; i < ${rounds}; i++) { round(${from} + i, ${JSON.stringify(cache)}); parentPort.postMessage(i); }`;
  return new Worker(code, { eval: true });
}

async function ended(worker: Worker): Promise<number> {
  const [code] = (await once(worker, 'exit')) as [number];
  return code;
}

describe('many tracers at once', () => {
  let cache: string;
  beforeEach(() => {
    cache = mkdtempSync(path.join(tmpdir(), 'tsbcc-threads-'));
  });
  afterEach(() => rmSync(cache, { recursive: true, force: true }));

  it('in threads of one process see their own events, each', async () => {
    const workers = Array.from({ length: THREADS }, (_, i) => thread(1000 * (i + 1), ROUNDS, cache));
    const errors: unknown[] = [];
    for (const worker of workers) worker.on('error', (error) => errors.push(error));
    expect(await Promise.all(workers.map(ended))).toEqual(workers.map(() => 0));
    expect(errors).toEqual([]);
    await waitFor('programs to go', () => ours().length === 0);
  }, 600_000);

  it('leave nothing where threads are terminated in the middle, and do not disturb the others', async () => {
    const steady = thread(1000, ROUNDS, cache);
    const errors: unknown[] = [];
    steady.on('error', (error) => errors.push(error));
    const done = ended(steady);
    for (let i = 0; i < ROUNDS; i++) {
      const victim = thread(10_000 * (i + 1), 1000, cache);
      victim.on('error', (error) => errors.push(error));
      // While it compiles, or while it is attached: a different moment each time.
      if (i % 2 === 0) await once(victim, 'message');
      await new Promise((resolve) => setTimeout(resolve, 37 * i));
      await victim.terminate();
    }
    expect(await done).toBe(0);
    expect(errors).toEqual([]);
    await waitFor('programs to go', () => ours().length === 0);
  }, 600_000);

  it('in several processes share one cache', async () => {
    const code = `${TRACER} for (let i = 0; i < ${ROUNDS}; i++) round(7 + i, ${JSON.stringify(cache)});`;
    const children = Array.from({ length: THREADS }, () => spawn(process.execPath, ['-e', code], { stdio: 'inherit' }));
    const codes = await Promise.all(children.map(async (child) => (await once(child, 'exit'))[0] as number));
    expect(codes).toEqual(children.map(() => 0));
    await waitFor('programs to go', () => ours().length === 0);
  }, 600_000);
});
