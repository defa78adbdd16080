import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { resolveHeaders } from '../../src/kernel/headers';
import { compilerFile } from '../../src/program/compiler';
import { decodeResult, encodeRequest } from '../../src/program/wire';
import { describeIf, requireRoot } from '../helpers';

const { CompileServer } = require('../../scripts/vm/compile-server.mjs');

requireRoot();

/* The way of a program from a VM to the host's compiler and back, without a VM: a pty stands for the virtio port. */

const BUSYBOX = spawnSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).stdout.trim();
const PORT = `
import os, pty, select, sys, tty
master, slave = pty.openpty()
tty.setraw(slave)
os.write(2, os.ttyname(slave).encode())
def copy(source, target):
    data = os.read(source, 65536)
    if not data: sys.exit()
    while data: data = data[os.write(target, data):]
while True:
    ready, _, _ = select.select([0, master], [], [])
    if 0 in ready: copy(0, master)
    if master in ready: copy(master, 1)
`;
const TEXT = 'BPF_HASH(counts, u32, u64); int f(void *ctx) { return 0; }';

describeIf({ when: BUSYBOX !== '', reason: 'busybox is not installed' }, 'a compilation that a VM asks for', () => {
  let folder: string;
  let script: string;
  let port: ChildProcess;
  let server: { compiled: { programs: number }; close(): Promise<void> };

  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-vm-compile-'));
    port = spawn('python3', ['-c', PORT], { stdio: ['pipe', 'pipe', 'pipe'] });
    const [terminal] = await once(port.stderr!, 'data');
    const duplex = Duplex.from({ readable: port.stdout!, writable: port.stdin! });
    duplex.on('error', () => {});
    server = new CompileServer(duplex);
    // The guest's own script, with what is found in a VM put in its place.
    script = path.join(folder, 'scripts/vm/guest/compiler');
    mkdirSync(path.dirname(script), { recursive: true });
    mkdirSync(path.join(folder, 'build/Release'), { recursive: true });
    symlinkSync(compilerFile(), path.join(folder, 'build/Release/compiler'));
    const guest = readFileSync(path.join(__dirname, '../../scripts/vm/guest/compiler'), 'utf8')
      .replaceAll('/run/tsbcc/busybox', BUSYBOX)
      .replaceAll('/run/tsbcc', folder)
      .replaceAll('/sys/kernel/tracing', path.join(folder, 'tracing'))
      .replace(/for named in.*?done/s, `port=${terminal}`);
    writeFileSync(script, guest, { mode: 0o755 });
  });
  afterAll(async () => {
    await server.close();
    port.kill();
    rmSync(folder, { recursive: true });
  });

  async function compile(text: string) {
    const env = { ...process.env, BCC_KERNEL_SOURCE: resolveHeaders('btf', TEXT).path };
    const child = spawn(script, { env, stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
    child.stdin!.end(
      encodeRequest({
        debug: 0,
        allowRlimit: true,
        helpers: 'ask',
        device: undefined,
        cflags: [],
        exported: [],
        texts: [text],
      }),
    );
    const streams = [child.stderr!, child.stdio[3] as NodeJS.ReadableStream].map((stream) => buffer(stream));
    const [[code], messages, result] = await Promise.all([once(child, 'close'), ...streams]);
    return { code, messages: String(messages), result };
  }

  it('is done by the host with the headers that were sent along', async () => {
    const { code, messages, result } = await compile(TEXT);
    expect({ code, messages }).toEqual({ code: 0, messages: '' });
    expect(decodeResult(result!)).toMatchObject({ functions: [{ name: 'f' }], tables: [{ name: 'counts' }] });
    expect(server.compiled.programs).toBe(1);
  });

  it("knows the VM's tracepoints, not the host's", async () => {
    const event = path.join(folder, 'tracing/events/sched/sched_switch');
    mkdirSync(event, { recursive: true });
    const common = '\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n';
    const fields = '\tfield:int of_the_guest;\toffset:8;\tsize:4;\tsigned:1;\n';
    writeFileSync(
      path.join(event, 'format'),
      `name: sched_switch\nID: 1\nformat:\n${common}${fields}\nprint fmt: ""\n`,
    );
    const probe = await compile('TRACEPOINT_PROBE(sched, sched_switch) { return args->of_the_guest; }');
    const own = await compile('int f(struct tracepoint__sched__sched_switch *args) { return args->of_the_guest; }');
    expect([probe, own].map(({ code, messages }) => [code, messages])).toEqual([
      [0, ''],
      [0, ''],
    ]);
  });

  it('is done by the VM where the host cannot', async () => {
    const before = server.compiled.programs;
    const { code, messages } = await compile('int f(void *ctx) { return x; }');
    expect(code).toBe(65);
    expect(messages).toContain("undeclared identifier 'x'");
    expect(server.compiled.programs).toBe(before);
  });

  it('is not mixed up with that of an asker who was killed', async () => {
    const killed = spawn(script, { stdio: ['pipe', 'ignore', 'ignore', 'ignore'] });
    killed.stdin!.end('nonsense');
    setTimeout(() => killed.kill('SIGKILL'), 30);
    await once(killed, 'close');
    const answers = await Promise.all([compile(TEXT), compile(TEXT.replace('counts', 'others'))]);
    expect(answers.map(({ result }) => decodeResult(result!).tables[0]!.name)).toEqual(['counts', 'others']);
  });

  it('leaves nothing behind', () => {
    expect(readdirSync(folder).filter((name) => name.startsWith('compile.')).length).toBeLessThanOrEqual(1);
  });
});
