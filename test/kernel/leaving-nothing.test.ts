import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { runtime } from '../../src/native';
import { describeIf, itIf, kernelHas, outputOf, requireRoot, stopProcess, waitFor } from '../helpers';

/* However a tracer ends: seen from outside, by the kernel's own ids. */

requireRoot();

const root = path.join(__dirname, '..', '..');
const lib = JSON.stringify(path.join(root, 'lib'));
/** The addon that lib/ uses, for what is not public. */
const addon = JSON.stringify(process.env.TSBCC_RUNTIME_ADDON ?? path.join(root, 'build', 'Release', 'runtime.node'));

const TEXT = `
BPF_ARRAY(left_behind, u64, 1);
BPF_RINGBUF_OUTPUT(ring, 1);
int f(void *ctx) { u32 pid = bpf_get_current_pid_tgid() >> 32; ring.ringbuf_output(&pid, sizeof(pid), 0); return 0; }
int u(struct pt_regs *ctx) { return 0; }
int x(struct xdp_md *ctx) { return XDP_PASS; }
int t(struct __sk_buff *skb) { return -1; }
int d(struct __sk_buff *skb) { return 129; /* BPF_FLOW_DISSECTOR_CONTINUE */ }
int c(struct bpf_cgroup_dev_ctx *ctx) { return 0; }
`;

/** Loads and attaches, tells the ids of its programs and map, and then does what `then` says. */
const script = (then: string, attach = '') => `
  const { BCC, BPFAttachType, BPFProgType, XDPFlags } = require(${lib});
  const runtime = () => require(${addon});
  const b = new BCC(${JSON.stringify(TEXT)});
  b.attachTracepoint({ tp: 'syscalls:sys_enter_sync', fnName: 'f' });
  b.attachUprobe({ name: 'c', sym: 'getppid', fnName: 'u' });
  ${attach}
  const { TRACEPOINT, KPROBE, XDP, SCHED_CLS, FLOW_DISSECTOR, CGROUP_DEVICE } = BPFProgType;
  const types = { f: TRACEPOINT, u: KPROBE, x: XDP, t: SCHED_CLS, d: FLOW_DISSECTOR, c: CGROUP_DEVICE };
  const ids = { programs: b.functions.map((name) => b.loadFunc(name, types[name]).id), map: runtime().mapInfo(b.table('left_behind').getFd()).id };
  process.stdout.write(JSON.stringify(ids) + '\\n');
  ${then}`;

/** Runs it to its end; `signal` is sent once it has told its ids and `meanwhile` has looked. */
async function live(then: string, signal?: NodeJS.Signals, attach?: string, meanwhile?: () => void): Promise<Ids> {
  const child = spawn(process.execPath, ['-e', script(then, attach)], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
  const ids = JSON.parse(chunk.toString());
  meanwhile?.();
  if (signal) child.kill(signal);
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return ids;
}

interface Ids {
  programs: number[];
  map: number;
}

async function expectNothing({ programs, map }: Ids): Promise<void> {
  await waitFor(
    'the programs to go',
    () =>
      !runtime()
        .ids('program')
        .some((id) => programs.includes(id)),
  );
  await waitFor('the map to go', () => !runtime().ids('map').includes(map));
  if (!kernelHas('bpftool')) return;
  const listed = (kind: string) => JSON.parse(outputOf('bpftool', ['-j', kind, 'list'])) as Record<string, number>[];
  expect(listed('prog').filter(({ id }) => programs.includes(id!))).toEqual([]);
  expect(listed('link').filter(({ prog_id: id }) => programs.includes(id!))).toEqual([]);
  expect(listed('map').filter(({ id }) => id === map)).toEqual([]);
}

/** Probes that stand in tracefs by name. */
function probeEvents(): string {
  return ['kprobe_events', 'uprobe_events']
    .map((name) => path.join('/sys/kernel/tracing', name))
    .filter((file) => existsSync(file))
    .map((file) => readFileSync(file, 'utf8'))
    .join();
}

const WAIT = 'setInterval(() => {}, 1000);';
const SYNC = "require('node:child_process').spawnSync('sync');";

describeIf('syscallTracepoints', 'an object that nobody holds stays open', () => {
  it.each([
    ['a table', "const table = new BCC(text).table('calls');", '() => String(table.get(0) > 0n)'],
    [
      'a stream',
      "const events = new BCC(text).table('ring').events();",
      '() => events.next().then(({ done }) => String(!done))',
    ],
    [
      'a callback',
      "let called; const ring = new BCC(text).table('ring'); ring.openRingBuffer(() => {});",
      '() => String(ring.getFd() > 0)',
    ],
    [
      'lines of trace_pipe',
      'const lines = new BCC(text).trace();',
      '() => lines.next().then(({ done }) => String(!done))',
    ],
  ])('with %s in use', (_what, hold, use) => {
    const said = outputOf(process.execPath, [
      '--expose-gc',
      '-e',
      `
      const { BCC } = require(${lib});
      const text = \`BPF_ARRAY(calls, u64, 1); BPF_RINGBUF_OUTPUT(ring, 1);
        TRACEPOINT_PROBE(syscalls, sys_enter_sync) {
          int zero = 0;
          u64 *count = calls.lookup(&zero);
          if (count) (*count)++;
          ring.ringbuf_output(&zero, sizeof(zero), 0);
          bpf_trace_printk("sync\\\\n");
          return 0;
        }\`;
      ${hold}
      const use = ${use};
      (async () => {
        for (let i = 0; i < 5; i++) {
          gc();
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        ${SYNC}
        console.log(await use());
        process.exit();
      })();`,
    ]);
    expect(said.trim()).toBe('true');
  });
});

describeIf('syscallTracepoints', 'nothing is left in the kernel after', () => {
  it.each([
    ['an end without close()', '', undefined],
    ['an uncaught exception', 'throw new Error("over");', undefined],
    ['process.exit() inside a timer', 'setTimeout(() => process.exit(3), 1);', undefined],
    [
      'process.exit() inside a callback of events',
      `b.table('ring').openRingBuffer(() => process.exit(3)); ${SYNC} b.ringBufferPoll(); ${WAIT}`,
      undefined,
    ],
    [
      'process.exit() inside a loop over events',
      `(async () => { for await (const event of b.table('ring').events()) process.exit(3); })(); ${SYNC} ${WAIT}`,
      undefined,
    ],
    ['SIGINT', WAIT, 'SIGINT'],
    ['SIGTERM', WAIT, 'SIGTERM'],
    ['SIGKILL', WAIT, 'SIGKILL'],
  ] as const)('%s', async (_how, then, signal) => {
    const before = probeEvents();
    await expectNothing(await live(then, signal));
    expect(probeEvents()).toBe(before);
  });

  // What `using` compiles to calls Symbol.dispose.
  it.each(['b.close();', 'b[Symbol.dispose]();'])('%s, while the process goes on', async (end) => {
    const before = probeEvents();
    const child = spawn(process.execPath, ['-e', script(end + WAIT)], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
      await expectNothing(JSON.parse(chunk.toString()));
      expect(probeEvents()).toBe(before);
      expect(child.exitCode).toBeNull();
    } finally {
      await stopProcess(child);
    }
  });

  itIf(['bpffs', 'bpftool'], 'a normal end, but for what was pinned on purpose', async () => {
    const pin = `/sys/fs/bpf/tsbcc-left-${process.pid}`;
    const { map, ...ids } = await live(`BCC.pin(b.table('left_behind'), ${JSON.stringify(pin)});`);
    try {
      expect(JSON.parse(outputOf('bpftool', ['-j', 'map', 'show', 'pinned', pin]))).toMatchObject({ id: map });
    } finally {
      rmSync(pin);
    }
    await expectNothing({ ...ids, map });
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
      const runtime = () => require(${addon});
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

  const endings = [
    ['process.exit()', 'setTimeout(() => process.exit(), 200);', undefined],
    ['SIGTERM', WAIT, 'SIGTERM'],
    ['SIGKILL', WAIT, 'SIGKILL'],
  ] as const;

  describeIf('bpftool', 'on interfaces and namespaces', () => {
    const attach = `
      BCC.attachXdp('lo', b.loadFunc('x', BPFProgType.XDP), XDPFlags.SKB_MODE);
      BCC.attachFunc(b.loadFunc('d', BPFProgType.FLOW_DISSECTOR), 0, BPFAttachType.FLOW_DISSECTOR);`;
    const attached = () => {
      const shown = outputOf('bpftool', ['net', 'show']);
      return { xdp: /lo\(1\) generic id/.test(shown), dissector: /flow_dissector:\nid/.test(shown) };
    };
    it.each(endings)('%s', async (_how, then, signal) => {
      let meanwhile: unknown;
      const ids = await live(then, signal, attach, () => {
        meanwhile = attached();
      });
      await expectNothing(ids);
      expect(meanwhile).toEqual({ xdp: true, dissector: true });
      expect(attached()).toEqual({ xdp: false, dissector: false });
    });
  });

  describeIf('tcx', 'as traffic control', () => {
    const attach = "for (const direction of ['ingress', 'egress']) b.attachTc({ fn: 't', dev: 'lo', direction });";
    it.each(endings)('%s', async (_how, then, signal) => expectNothing(await live(then, signal, attach)));
  });

  itIf('cgroup2', 'SIGKILL, on a cgroup', async () => {
    const mount = outputOf('/bin/sh', ['-c', 'awk \'$3 == "cgroup2" { print $2; exit }\' /proc/mounts']).trim();
    const group = path.join(mount, `tsbcc-killed-${process.pid}`);
    const opened = () =>
      spawnSync('sh', ['-c', 'echo $$ > "$0/cgroup.procs" && : < /dev/urandom', group], { encoding: 'utf8' }).stderr;
    mkdirSync(group);
    try {
      const attach = `BCC.attachFunc(b.loadFunc('c', BPFProgType.CGROUP_DEVICE), '${group}', BPFAttachType.CGROUP_DEVICE);`;
      let meanwhile = '';
      const ids = await live(WAIT, 'SIGKILL', attach, () => {
        meanwhile = opened();
      });
      await expectNothing(ids);
      expect(meanwhile).toContain('Operation not permitted');
      expect(opened()).toBe('');
    } finally {
      rmdirSync(group);
    }
  });
});

describe('a tracer', () => {
  it('catches no signal that it would not catch otherwise', () => {
    const output = outputOf(process.execPath, [
      '-e',
      `
      const caught = () => BigInt('0x' + /SigCgt:\\s*(\\w+)/.exec(require('node:fs').readFileSync('/proc/self/status', 'utf8'))[1]);
      const before = caught();
      ${script(
        `
        b.table('ring').openRingBuffer(() => {});
        b.ringBufferPoll(0);
        const SIGCHLD = 1n << 16n; // Node's own, from the first child process on.
        console.log((caught() & ~SIGCHLD) === (before & ~SIGCHLD), process.eventNames().filter((name) => /^SIG/.test(String(name))));
        b.close();`,
      )}`,
    ]);
    expect(output.trim().split('\n').at(-1)).toBe('true []');
  });

  it('ends by a signal with the status of a signal', async () => {
    const child = spawn(process.execPath, ['-e', script(WAIT)], { stdio: ['ignore', 'pipe', 'ignore'] });
    await once(child.stdout, 'data');
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([null, 'SIGTERM']);
  });
});
