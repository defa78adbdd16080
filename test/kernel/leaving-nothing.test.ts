import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { runtime } from '../../src/native';
import { describeIf, outputOf, requireRoot, waitFor } from '../helpers';

/* However a tracer ends: seen from outside, by the kernel's own ids. */

requireRoot();

const lib = JSON.stringify(path.join(__dirname, '..', '..', 'lib'));

/** Loads and attaches, tells the ids of its program and map, and then does what `then` says. */
const script = (then: string) => `
  const { BCC, BPFProgType, XDPFlags } = require(${lib});
  const { runtime } = require(${lib} + '/native');
  const b = new BCC('BPF_ARRAY(left_behind, u64, 1); int f(void *ctx) { return 0; } int x(struct xdp_md *ctx) { return XDP_PASS; }');
  b.attachTracepoint({ tp: 'syscalls:sys_enter_sync', fnName: 'f' });
  const ids = { program: b.loadFunc('f', BPFProgType.TRACEPOINT).id, map: runtime().mapInfo(b.table('left_behind').getFd()).id };
  process.stdout.write(JSON.stringify(ids) + '\\n');
  ${then}`;

/** Runs it to its end; `signal` is sent once it has told its ids. */
async function live(then: string, signal?: NodeJS.Signals): Promise<{ program: number; map: number }> {
  const child = spawn(process.execPath, ['-e', script(then)], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
  const ids = JSON.parse(chunk.toString());
  if (signal) child.kill(signal);
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return ids;
}

async function expectNothing({ program, map }: { program: number; map: number }): Promise<void> {
  await waitFor('the program to go', () => !runtime().ids('program').includes(program));
  await waitFor('the map to go', () => !runtime().ids('map').includes(map));
}

const WAIT = 'setInterval(() => {}, 1000);';

describeIf('syscallTracepoints', 'nothing is left in the kernel after', () => {
  it.each([
    ['close()', 'b.close();', undefined],
    ['an end without close()', '', undefined],
    ['an uncaught exception', 'throw new Error("over");', undefined],
    ['process.exit() inside a timer', 'setTimeout(() => process.exit(3), 1);', undefined],
    ['SIGINT', WAIT, 'SIGINT'],
    ['SIGTERM', WAIT, 'SIGTERM'],
    ['SIGKILL', WAIT, 'SIGKILL'],
  ] as const)('%s', async (_how, then, signal) => {
    await expectNothing(await live(then, signal));
  });

  it('a worker thread that ends', async () => {
    const inWorker = `new (require('node:worker_threads').Worker)(${JSON.stringify(script('process.exit();'))}, { eval: true });`;
    const child = spawn(process.execPath, ['-e', inWorker], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
    await once(child, 'exit');
    await expectNothing(JSON.parse(chunk.toString()));
  });

  it('an object that nobody holds any more', () => {
    const ids = outputOf(process.execPath, [
      '--expose-gc',
      '-e',
      `
      const { BCC } = require(${lib});
      const { runtime } = require(${lib} + '/native');
      const before = runtime().ids('map');
      (() => { new BCC('BPF_ARRAY(left_behind, u64, 1); int f(void *ctx) { return 0; }').table('left_behind').size; })();
      const own = runtime().ids('map').filter((id) => !before.includes(id) && isOwn(id));
      function isOwn(id) { const fd = runtime().fdById('map', id); const { name } = runtime().mapInfo(fd.fd); fd.close(); return name === 'left_behind'; }
      (async () => {
        for (let i = 0; i < 200 && runtime().ids('map').some((id) => own.includes(id)); i++) {
          gc();
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        console.log(own.length, runtime().ids('map').filter((id) => own.includes(id)).length);
      })();`,
    ]);
    expect(ids.trim()).toMatch(/^[1-9]\d* 0$/);
  });

  it('a normal end, of what outlives descriptors: an XDP program', async () => {
    const ids = await live("BCC.attachXdp('lo', b.loadFunc('x', BPFProgType.XDP), XDPFlags.SKB_MODE);");
    await expectNothing(ids);
    expect(runtime().xdpQuery(1, 2)).toBe(0);
  });
});
