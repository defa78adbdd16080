import { spawnSync } from 'node:child_process';
import { chownSync, cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describeIf, requireRoot } from '../helpers';

/*
 * As another user with some capabilities and no others: what works, and what an error says is missing. Each child tries
 * everything and tells of each attempt whether it went well, or the error's code and hint.
 */

requireRoot();

const ROOT = path.join(__dirname, '../..');
const NOBODY = 65534;

/** Given the package's folder: a clone in root's own home is closed to others, so that they get a copy. */
const script = (root: string) => `
const { BCC, PerfType, PerfSWConfig } = require(${JSON.stringify(root)});
const told = {};
const attempt = (name, work) => {
  try { told[name] = work() ?? 'done'; }
  catch (error) { told[name] = (error.code ?? error.name) + ': ' + (error.hint ?? error.message); }
};
let b;
const made = () => { if (!b) throw new Error('not compiled'); return b; };
attempt('tables', () => {
  b = new BCC(\`BPF_HASH(seen); BPF_RINGBUF_OUTPUT(ring, 4); BPF_PERF_OUTPUT(perf);
int f(void *ctx) { u64 pid = bpf_get_current_pid_tgid() >> 32; ring.ringbuf_output(&pid, 8, 0); return 0; }
int packet(struct xdp_md *ctx) { return 2; }
int filter(struct __sk_buff *skb) { return 0; }\`);
});
attempt('raw tracepoint', () => {
  let own = 0;
  made().attachRawTracepoint({ tp: 'sys_enter', fnName: 'f' });
  b.table('ring').openRingBuffer((ctx, data) => { if (b.table('ring').event(data) === BigInt(process.pid)) own++; });
  b.ringBufferPoll(1000);
  b.detachRawTracepoint({ tp: 'sys_enter' });
  return own > 0 ? 'own events' : 'no events';
});
attempt('perf event', () => void made().attachPerfEvent({
  evType: PerfType.SOFTWARE, evConfig: PerfSWConfig.CPU_CLOCK, sampleFreq: 50, fnName: 'f' }));
attempt('perf buffer', () => void made().table('perf').openPerfBuffer(() => {}));
attempt('uprobe', () => void made().attachUprobe({ name: 'c', sym: 'getenv', fnName: 'f' }));
attempt('tracepoint', () => void made().attachTracepoint({ tp: 'sched:sched_switch', fnName: 'f' }));
attempt('XDP', () => void made().loadFunc('packet', BCC.XDP));
attempt('tc', () => void made().attachTc({ fn: 'filter', dev: 'lo', direction: 'ingress', priority: 7 }));
attempt('socket map', () => new BCC({ text: 'BPF_SOCKHASH(sockets, u32, 8);', cache: false }).close());
attempt('raw socket', () => BCC.attachRawSocket(made().loadFunc('filter', BCC.SOCKET_FILTER), 'lo'));
attempt('kernel symbols', () => { BCC.ksymname('vfs_read'); });
attempt('statistics', () => BCC.enableStats()[Symbol.dispose]());
b?.close();
process.stdout.write(JSON.stringify(told));
`;

const SETPRIV = spawnSync('setpriv', ['--version']).status === 0;

describeIf({ when: SETPRIV, reason: 'no setpriv here' }, 'a process of another user', () => {
  let home: string;
  beforeAll(() => {
    home = mkdtempSync(path.join(tmpdir(), 'tsbcc-nobody-'));
    chownSync(home, NOBODY, NOBODY);
    for (const part of ['package.json', 'lib', 'headers', 'build/Release', 'binding.gyp']) {
      cpSync(path.join(ROOT, part), path.join(home, 'package', part), { recursive: true });
    }
  });
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  function told(...capabilities: string[]): Record<string, string> {
    const set = capabilities.map((name) => `+${name}`).join(',') || '-all';
    const flags = capabilities.length > 0 ? [`--inh-caps=${set}`, `--ambient-caps=${set}`] : [];
    const { stdout, stderr, status } = spawnSync(
      'setpriv',
      [
        `--reuid=${NOBODY}`,
        `--regid=${NOBODY}`,
        '--clear-groups',
        ...flags,
        process.execPath,
        '-e',
        script(path.join(home, 'package')),
      ],
      { cwd: '/', env: { PATH: process.env.PATH, HOME: home }, encoding: 'utf8' },
    );
    if (status !== 0) throw new Error(`status ${status}: ${stderr}`);
    return JSON.parse(stdout) as Record<string, string>;
  }

  it('without capabilities is told that it lacks CAP_BPF', () => {
    expect(told().tables).toMatch(/^ERR_BCC_(MAP|PRIVILEGE): this process lacks CAP_BPF /);
  });

  it('with CAP_BPF makes tables and is told that it lacks CAP_PERFMON', () => {
    const answers = told('bpf');
    expect(answers.tables).toBe('done');
    for (const hook of ['raw tracepoint', 'perf event', 'perf buffer', 'uprobe', 'tracepoint']) {
      expect(answers[hook]).toMatch(/^ERR_BCC_\w+: this process lacks CAP_PERFMON /);
    }
  });

  it('with CAP_BPF and CAP_PERFMON traces, and is told what the rest needs', () => {
    const answers = told('bpf', 'perfmon');
    // Above 2 there are levels on some distributions' kernels only: they want more for perf_event_open.
    const level = Number(readFileSync('/proc/sys/kernel/perf_event_paranoid', 'utf8'));
    const refused = /^(done$|ERR_BCC_\w+: this process lacks CAP_SYS_ADMIN: .*kernel\.perf_event_paranoid=2)/;
    const perf = level > 2 ? expect.stringMatching(refused) : 'done';
    expect(answers).toMatchObject({
      tables: 'done',
      'raw tracepoint': 'own events',
      'perf event': perf,
      'perf buffer': perf,
      uprobe: perf,
      XDP: expect.stringMatching(/^ERR_BCC_PRIVILEGE: this process lacks CAP_NET_ADMIN:/),
      'socket map': expect.stringMatching(/^ERR_BCC_MAP: this process lacks CAP_NET_ADMIN:/),
      'raw socket': expect.stringMatching(/^ERR_BCC_ATTACH: this process lacks CAP_NET_RAW:/),
      'kernel symbols': expect.stringMatching(/^ERR_BCC_KALLSYMS: .*CAP_SYSLOG/),
      statistics: expect.stringMatching(/^ERR_BCC_STATS: this process lacks CAP_SYS_ADMIN:/),
    });
    // The tracing directory is root's alone unless it was mounted otherwise.
    expect(answers.tracepoint).toMatch(/^(done|ERR_BCC_NO_TRACEFS: run as root or with CAP_DAC_READ_SEARCH)/);
  });

  it('with CAP_SYS_ADMIN alone traces and loads all, and is told of each that it does not stand for', () => {
    expect(told('sys_admin')).toMatchObject({
      tables: 'done',
      'raw tracepoint': 'own events',
      'perf event': 'done',
      'perf buffer': 'done',
      uprobe: 'done',
      XDP: 'done',
      tc: expect.stringMatching(/^ERR_BCC_ATTACH: this process lacks CAP_NET_ADMIN:/),
      'raw socket': expect.stringMatching(/^ERR_BCC_ATTACH: this process lacks CAP_NET_RAW:/),
      'kernel symbols': expect.stringMatching(/^ERR_BCC_KALLSYMS: .*CAP_SYSLOG/),
      statistics: 'done',
    });
  });

  it('with each that was named does all', () => {
    const all = told('bpf', 'perfmon', 'net_admin', 'net_raw', 'syslog', 'dac_read_search', 'sys_admin');
    expect(Object.entries(all).filter(([, answer]) => answer !== 'done')).toEqual([['raw tracepoint', 'own events']]);
  });

  it('keeps what it compiled in files that nobody else can read', () => {
    const folder = path.join(home, '.cache', 'tsbcc', 'programs');
    expect(existsSync(folder)).toBe(true);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    const files = readdirSync(folder);
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) {
      const { mode, uid } = statSync(path.join(folder, file));
      expect([mode & 0o777, uid]).toEqual([0o600, NOBODY]);
    }
  });
});
