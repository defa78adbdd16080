import { execSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCC, BPFProgType, SymbolCache, Table, USDT } from '../../src';
import { compilerFile } from '../../src/program/compiler';
import { describeIf, requireRoot } from '../helpers';

/*
 * Text from users never reaches a shell: whatever takes text is given some that a shell would act on. No file comes of it,
 * and a tracer of our own sees every program that this process and its descendants start: no shell is among them.
 */

requireRoot();

const ROOT = path.join(__dirname, '..', '..');
const EXECS = `
#include <linux/sched.h>
struct event { char file[128]; };
BPF_RINGBUF_OUTPUT(execs, 64);
int tracepoint__syscalls__sys_enter_execve(struct tracepoint__syscalls__sys_enter_execve *args) {
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  int ours = 0;
#pragma unroll
  for (int i = 0; i < 6; i++) {
    if (task->tgid == PID) ours = 1;
    task = task->real_parent;
  }
  if (!ours) return 0;
  struct event event = {};
  bpf_probe_read_user_str(&event.file, sizeof(event.file), args->filename);
  execs.ringbuf_output(&event, sizeof(event), 0);
  return 0;
}
`;
const TEXT = `
BPF_HASH(counts, u32, u64);
int traced(void *ctx) { return 0; }
`;

describeIf('syscallTracepoints', 'a shell', () => {
  let folder: string;
  /** What the texts would make, were they run. */
  let made: string;
  let hostile: string[];
  let watch: BCC;
  let started: string[] = [];
  let b: BCC;

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-shell-'));
    made = path.join(folder, 'made');
    hostile = [`$(touch ${made})\`touch ${made}\`;touch ${made};`, `';touch ${made};'`, `\ntouch ${made}\n`];
    watch = new BCC({ text: EXECS, cflags: [`-DPID=${process.pid}`] });
    const execs = watch.table<never, { file: string }>('execs');
    execs.openRingBuffer((_ctx, data) => started.push((execs.event(data) as { file: string }).file));
    b = new BCC(TEXT);
  });
  afterAll(() => {
    b.close();
    watch.close();
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    watch.ringBufferConsume();
    started = [];
  });

  const shells = () => {
    watch.ringBufferConsume();
    return started.filter((file) => /(^|\/)[a-z]*sh$/.test(file));
  };

  /** Runs each with each text; what they throw is their affair. */
  function tryAll(uses: Readonly<Record<string, (text: string) => unknown>>): void {
    for (const [name, use] of Object.entries(uses)) {
      for (const text of hostile) {
        try {
          use(text);
        } catch {}
        if (existsSync(made)) throw new Error(`${name}: ${JSON.stringify(text)} was run`);
      }
    }
  }

  it('would be seen', () => {
    execSync(hostile[0]!, { stdio: 'ignore', shell: '/bin/sh' });
    expect(existsSync(made)).toBe(true);
    rmSync(made);
    expect(shells()).not.toEqual([]);
  });

  it('is not started for anything that a program is made of', () => {
    const compile = (options: object) => new BCC({ text: TEXT, cache: false, ...options } as never).close();
    tryAll({
      text: (text) => compile({ text }),
      'an #include': (text) => compile({ text: `#include "${text}"\n${TEXT}` }),
      "a table's name": (text) => compile({ text: `BPF_HASH(${text});` }),
      "a pinned table's path": (text) => compile({ text: `BPF_TABLE_PINNED("hash", u32, u32, t, 8, "${text}");` }),
      srcFile: (srcFile) => compile({ text: undefined, srcFile }),
      hdrFile: (hdrFile) => compile({ hdrFile }),
      program: (program) => compile({ text: undefined, program }),
      'a flag': (flag) => compile({ cflags: [flag] }),
      '-D': (text) => compile({ cflags: [`-DNAME=${text}`] }),
      '-I': (text) => compile({ cflags: [`-I${text}`] }),
      device: (device) => compile({ device }),
      headers: (headers) => compile({ headers }),
      'modules of headers': (name) => compile({ headers: { modules: [name] } }),
      'a folder for the cache': (name) => compile({ cache: path.join(folder, name) }),
    });
    expect(shells()).toEqual([]);
    expect(started).toContain(compilerFile());
  });

  it('is not started for names of hooks, files, processes, devices and tables', () => {
    const fnName = 'traced';
    tryAll({
      attachKprobe: (event) => b.attachKprobe({ event, fnName }),
      attachKretprobe: (event) => b.attachKretprobe({ event, fnName }),
      'a pattern of kprobes': (eventRe) => b.attachKprobe({ eventRe, fnName }),
      'the file of an uprobe': (name) => b.attachUprobe({ name, sym: 'f', fnName }),
      'the symbol of an uprobe': (sym) => b.attachUprobe({ name: 'c', sym, fnName }),
      'a pattern of uprobes': (symRe) => b.attachUprobe({ name: 'c', symRe, fnName }),
      'the pid of an uprobe': (pid) => b.attachUprobe({ name: 'c', sym: 'malloc', pid: pid as never, fnName }),
      attachTracepoint: (tp) => b.attachTracepoint({ tp, fnName }),
      'a tracepoint of a category': (name) => b.attachTracepoint({ tp: `syscalls:${name}`, fnName }),
      'a pattern of tracepoints': (tpRe) => b.attachTracepoint({ tpRe, fnName }),
      attachRawTracepoint: (tp) => b.attachRawTracepoint({ tp, fnName }),
      fnName: (name) => b.attachRawTracepoint({ tp: 'sched_switch', fnName: name }),
      loadFunc: (name) => b.loadFunc(name, BPFProgType.TRACEPOINT),
      attachXdp: (device) => BCC.attachXdp(device, b.loadFunc(fnName, BPFProgType.XDP)),
      attachTc: (dev) => b.attachTc({ fn: fnName, dev, direction: 'ingress' }),
      attachRawSocket: (device) => BCC.attachRawSocket(b.loadFunc(fnName, BPFProgType.SOCKET_FILTER), device),
      'a cgroup': (name) => BCC.attachFunc(b.loadFunc(fnName, BPFProgType.CGROUP_SKB), name, 0),
      'the file of USDT': (name) => new USDT({ path: name }).close(),
      'the pid of USDT': (pid) => new USDT({ pid: pid as never }).close(),
      'a probe of USDT': (probe) => new USDT({ path: process.execPath }).enableProbe({ probe, fnName }),
      'functions of a file': (name) => BCC.getUserFunctions(name, 'f'),
      'the pid of symbols': (pid) => new SymbolCache(pid as never).close(),
      'a table': (name) => b.table(name),
      'a pin': (name) => BCC.pin(b.table('counts').getFd(), `/sys/fs/bpf/${name}`),
      'an opened pin': (name) => Table.fromPin(`/sys/fs/bpf/${name}`),
    });
    expect(shells()).toEqual([]);
  });

  it.each([
    ['no command of that name', (text: string) => [text]],
    ['run', (text: string) => ['run', text]],
    ['run, its text', (text: string) => ['run', '-e', text]],
    ['run, a macro', (text: string) => ['run', '-d', '1', '-D', text, '-e', TEXT]],
    ['run, a folder', (text: string) => ['run', '-d', '1', '-I', text, '-e', TEXT]],
    ['run, headers', (text: string) => ['run', '-d', '1', '--headers', text, '-e', TEXT]],
    ['types', (text: string) => ['types', text]],
    ['compile', (text: string) => ['compile', '-e', TEXT, '-o', text]],
    ['compile for another kernel', (text: string) => ['compile', '-e', TEXT, '--kernel-release', text]],
    [
      'compile with its BTF',
      (text: string) => ['compile', '-e', TEXT, '--kernel-release', '6.1.0', '--kernel-btf', text],
    ],
    ['cache', (text: string) => ['cache', text]],
    ['biolatency', (text: string) => ['biolatency', '--duration', '1', '-d', text]],
    ['execsnoop', (text: string) => ['execsnoop', '-d', '1', '-n', text, '-l', text]],
    ['execsnoop, a user', (text: string) => ['execsnoop', '-d', '1', '-u', text]],
    ['funccount', (text: string) => ['funccount', '-d', '1', text]],
    ['funccount, tracepoints', (text: string) => ['funccount', '-d', '1', `t:syscalls:${text}`]],
    ['funccount, functions of a library', (text: string) => ['funccount', '-d', '1', `${text}:f`]],
    ['funccount, USDT', (text: string) => ['funccount', '-d', '1', `u:${text}:f`]],
    ['hist', (text: string) => ['hist', '-d', '1', '-C', `t:syscalls:sys_enter_kill():int:${text}`]],
    ['opensnoop', (text: string) => ['opensnoop', '-d', '1', '-n', text, '--path', text]],
    ['profile', (text: string) => ['profile', '--duration', '1', '--flamegraph', text]],
    ['syscount', (text: string) => ['syscount', '-d', '1', '-e', text]],
    ['tcpconnect', (text: string) => ['tcpconnect', '-d', '1', '-P', text]],
  ])('is not started by the command line: %s', (_name, args) => {
    const main = path.join(ROOT, 'lib', 'cli', 'main.js');
    tryAll({
      arguments: (text) => spawnSync(process.execPath, [main, ...args(text)], { cwd: folder, timeout: 30_000 }),
    });
    expect(shells()).toEqual([]);
    expect(started).toContain(process.execPath);
  });

  it('is not started for an editor that the environment names', () => {
    const main = path.join(ROOT, 'lib', 'cli', 'main.js');
    const EDITOR = `true ${hostile[0]}`;
    spawnSync(process.execPath, [main, 'repl'], { input: '.edit\n', env: { ...process.env, EDITOR }, timeout: 30_000 });
    expect(existsSync(made)).toBe(false);
    expect(shells()).toEqual([]);
    expect(started.some((file) => file.endsWith('/true'))).toBe(true);
  });

  it('is started by libbcc to unpack kheaders, and hears nothing of a TMPDIR that would be a command', () => {
    // A name of the folder may hold no slash.
    const TMPDIR = path.join(folder, '$(touch made)');
    mkdirSync(TMPDIR);
    const script = path.join(folder, 'compile.cjs');
    writeFileSync(
      script,
      `const { BCC } = require(${JSON.stringify(path.join(ROOT, 'lib'))});
       new BCC({ text: ${JSON.stringify(TEXT)}, headers: 'kernel', cache: false });`,
    );
    // A /sys/kernel of the process's own, with kheaders that are none.
    const inNamespace = 'mount -t tmpfs none /sys/kernel && touch /sys/kernel/kheaders.tar.xz && exec "$@"';
    spawnSync('unshare', ['--mount', 'sh', '-c', inNamespace, 'sh', process.execPath, script], {
      cwd: folder,
      env: { ...process.env, TMPDIR },
    });
    expect(existsSync(made)).toBe(false);
    // The shell that made the namespace, and libbcc's.
    expect(shells().length).toBeGreaterThan(1);
    expect(started.some((file) => file.endsWith('/tar'))).toBe(true);
  });
});
