import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmdirSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { attachFunc, CgroupAttachFlag, detachFunc } from '../../src/attach/cgroup';
import { BPFAttachType, BPFMapType, BPFProgType } from '../../src/constants';
import { runtime } from '../../src/native';
import { describeIf, requireRoot } from '../helpers';
import { Counter, exit, insn, loadInsns, movImm } from '../helpers/asm';

requireRoot();

const cgroupRoot = () =>
  readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .find((words) => words[2] === 'cgroup2')![1]!;

/** What a child in that cgroup says when it opens a device. */
function openIn(cgroup: string, device: string): string {
  const script = `echo $$ > "$1/cgroup.procs" && head -c 1 "$2" > /dev/null`;
  const { status, stderr } = spawnSync('sh', ['-c', script, 'sh', cgroup, device], { encoding: 'utf8' });
  return status === 0 ? 'ok' : stderr.trim();
}

describeIf(['cgroup2', 'runtime'], 'programs on a cgroup', () => {
  let directory: string;
  beforeEach(() => {
    directory = `${cgroupRoot()}/tsbcc-test-${process.pid}`;
    mkdirSync(directory);
  });
  afterEach(() => rmdirSync(directory));

  /** Forbids the character device 1:9 (/dev/urandom) and nothing else: `ctx->minor` is at offset 8. */
  const forbidUrandom = () =>
    loadInsns(Buffer.concat([insn(0x61, 2, 1, 8), movImm(0, 1), insn(0x55, 2, 0, 1, 9), movImm(0, 0), exit]), {
      type: BPFProgType.CGROUP_DEVICE,
      expectedAttachType: BPFAttachType.CGROUP_DEVICE,
    });

  it('decide what its processes may do, until detached', () => {
    const program = forbidUrandom();
    const link = attachFunc(program, directory, BPFAttachType.CGROUP_DEVICE);
    expect(link).toMatchObject({ kind: 'cgroup_device', target: directory });
    expect(openIn(directory, '/dev/random')).toBe('ok');
    expect(openIn(directory, '/dev/urandom')).toContain('Operation not permitted');
    link.detach();
    expect(openIn(directory, '/dev/urandom')).toBe('ok');
    program.close();
  });

  it('take an open directory, which may be closed meanwhile', () => {
    const program = forbidUrandom();
    const fd = openSync(directory, 'r');
    const link = attachFunc(program, fd, BPFAttachType.CGROUP_DEVICE);
    closeSync(fd);
    expect(openIn(directory, '/dev/urandom')).toContain('Operation not permitted');
    link.detach();
    expect(openIn(directory, '/dev/urandom')).toBe('ok');
    program.close();
  });

  it('are detached by what they are attached to as well', () => {
    const program = forbidUrandom();
    attachFunc(program, directory, BPFAttachType.CGROUP_DEVICE);
    detachFunc(program, directory, BPFAttachType.CGROUP_DEVICE);
    expect(openIn(directory, '/dev/urandom')).toBe('ok');
    expect(() => detachFunc(program, directory, BPFAttachType.CGROUP_DEVICE)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_NOT_ATTACHED' }),
    );
    program.close();
  });

  it('go together where that is asked for', () => {
    const attributes = { type: BPFProgType.CGROUP_DEVICE, expectedAttachType: BPFAttachType.CGROUP_DEVICE };
    const counters = [0, 1].map(() => new Counter(attributes, { result: 1, pid: false }));
    const links = counters.map(({ program }) => {
      return attachFunc(program, directory, BPFAttachType.CGROUP_DEVICE, CgroupAttachFlag.ALLOW_MULTI);
    });
    expect(openIn(directory, '/dev/random')).toBe('ok');
    expect(counters.every(({ all }) => all > 0)).toBe(true);
    for (const link of links) link.detach();
    for (const counter of counters) counter.close();
  });

  it('tell what is wrong', () => {
    const program = forbidUrandom();
    const attach = (target: string | number, type: number = BPFAttachType.CGROUP_DEVICE) => {
      return () => attachFunc(program, target, type);
    };
    expect(attach(`${directory}/none`)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_CGROUP_NOT_FOUND', errno: 2 }),
    );
    expect(attach('/proc')).toThrow(expect.objectContaining({ code: 'ERR_BCC_NOT_CGROUP2' }));
    expect(attach(-3)).toThrow(TypeError);
    expect(attach(directory, BPFAttachType.CGROUP_INET_INGRESS)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_ATTACH', errno: 22 }),
    );
    program.close();
  });
});

describeIf('runtime', 'programs on a socket map', () => {
  const makeMap = () => {
    return runtime().createMap({
      type: BPFMapType.SOCKMAP,
      name: 'socks',
      keySize: 4,
      valueSize: 4,
      maxEntries: 4,
      flags: 0,
    });
  };
  const put = (mapFd: number, index: number, fd: number) => {
    const [key, value] = [index, fd].map((word) => new Uint8Array(Uint32Array.of(word).buffer));
    const { MapAccess } = runtime();
    expect(new MapAccess(mapFd, key!, value!).update(0)).toBe(0);
  };
  const fdOf = (socket: Socket) => (socket as unknown as { _handle: { fd: number } })._handle.fd;

  it('see what its sockets send and receive, until detached', async () => {
    const map = makeMap();
    const SK_PASS = 1;
    const sent = new Counter({ type: BPFProgType.SK_MSG }, { result: SK_PASS, pid: false });
    const received = new Counter({ type: BPFProgType.SK_SKB }, { result: SK_PASS, pid: false });
    const links = [
      attachFunc(sent.program, map.fd, BPFAttachType.SK_MSG_VERDICT),
      attachFunc(received.program, map.fd, BPFAttachType.SK_SKB_VERDICT),
    ];
    expect(links[0]!.target).toBe('the map socks');

    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
    const client = connect((server.address() as { port: number }).port, '127.0.0.1');
    const peer = await accepted;
    put(map.fd, 0, fdOf(client));
    const say = async (text: string) => {
      const heard = new Promise((resolve) => peer.once('data', resolve));
      client.write(text);
      expect(String(await heard)).toBe(text);
    };
    await say('one');
    expect(sent.all).toBe(1);
    const answered = new Promise((resolve) => client.once('data', resolve));
    peer.write('answer');
    expect(String(await answered)).toBe('answer');
    expect(received.all).toBe(1);
    for (const link of links) link.detach();
    expect(() => detachFunc(sent.program, map.fd, BPFAttachType.SK_MSG_VERDICT)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_NOT_ATTACHED' }),
    );
    client.destroy();
    peer.destroy();
    server.close();
    sent.close();
    received.close();
    map.close();
  });
});

describeIf(['runtime', 'bpftool'], 'flow dissectors', () => {
  it('are put on the network namespace and taken away', () => {
    // BPF_FLOW_DISSECTOR_CONTINUE leaves the work to the kernel.
    const program = loadInsns(Buffer.concat([movImm(0, 129), exit]), { type: BPFProgType.FLOW_DISSECTOR });
    const attached = () =>
      execFileSync('bpftool', ['net', 'show'], { encoding: 'utf8' }).includes('flow_dissector:\nid');
    const link = attachFunc(program, 0, BPFAttachType.FLOW_DISSECTOR);
    expect(link.target).toBe('this network namespace');
    expect(attached()).toBe(true);
    link.detach();
    expect(attached()).toBe(false);
    program.close();
  });
});
