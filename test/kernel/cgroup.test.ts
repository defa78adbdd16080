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

  const deviceCounter = () => {
    const attributes = { type: BPFProgType.CGROUP_DEVICE, expectedAttachType: BPFAttachType.CGROUP_DEVICE };
    return new Counter(attributes, { result: 1, pid: false });
  };

  it('attached without flags give way to the next one, which the first then leaves alone', () => {
    const program = forbidUrandom();
    const counter = deviceCounter();
    const first = attachFunc(program, directory, BPFAttachType.CGROUP_DEVICE);
    const second = attachFunc(counter.program, directory, BPFAttachType.CGROUP_DEVICE);
    expect(openIn(directory, '/dev/urandom')).toBe('ok');
    first.detach();
    const before = counter.all;
    expect(openIn(directory, '/dev/urandom')).toBe('ok');
    expect(counter.all).toBeGreaterThan(before);
    second.detach();
    const after = counter.all;
    openIn(directory, '/dev/random');
    expect(counter.all).toBe(after);
    program.close();
    counter.close();
  });

  describe('below which there is another cgroup', () => {
    let below: string;
    beforeEach(() => {
      below = `${directory}/below`;
      mkdirSync(below);
    });
    afterEach(() => rmdirSync(below));

    it('bear no other program there with the flags 0', () => {
      const counter = deviceCounter();
      const program = forbidUrandom();
      const link = attachFunc(counter.program, directory, BPFAttachType.CGROUP_DEVICE, 0);
      expect(() => attachFunc(program, below, BPFAttachType.CGROUP_DEVICE, 0)).toThrow(
        expect.objectContaining({ code: 'ERR_BCC_ATTACH', errno: 1 }),
      );
      link.detach();
      attachFunc(program, below, BPFAttachType.CGROUP_DEVICE, 0).detach();
      program.close();
      counter.close();
    });

    it('are overridden there where that is allowed', () => {
      const program = forbidUrandom();
      const counter = deviceCounter();
      const above = attachFunc(program, directory, BPFAttachType.CGROUP_DEVICE, CgroupAttachFlag.ALLOW_OVERRIDE);
      const link = attachFunc(counter.program, below, BPFAttachType.CGROUP_DEVICE, CgroupAttachFlag.ALLOW_OVERRIDE);
      expect(openIn(below, '/dev/urandom')).toBe('ok');
      expect(counter.all).toBeGreaterThan(0);
      link.detach();
      expect(openIn(below, '/dev/urandom')).toContain('Operation not permitted');
      above.detach();
      program.close();
      counter.close();
    });

    it('run besides those there without flags', () => {
      const program = forbidUrandom();
      const counter = deviceCounter();
      const links = [
        attachFunc(program, directory, BPFAttachType.CGROUP_DEVICE),
        attachFunc(counter.program, below, BPFAttachType.CGROUP_DEVICE),
      ];
      expect(openIn(below, '/dev/urandom')).toContain('Operation not permitted');
      expect(openIn(below, '/dev/random')).toBe('ok');
      expect(counter.all).toBeGreaterThan(0);
      for (const link of links) link.detach();
      program.close();
      counter.close();
    });
  });

  it('are detached wherever they were attached by another process', () => {
    const program = forbidUrandom();
    const fd = openSync(directory, 'r');
    const { CGROUP_DEVICE } = BPFAttachType;
    const foreign = {
      link: () => runtime().linkCreate(program.fd, fd, CGROUP_DEVICE),
      one: () => runtime().programAttach(program.fd, fd, CGROUP_DEVICE, 0),
      several: () => runtime().programAttach(program.fd, fd, CGROUP_DEVICE, CgroupAttachFlag.ALLOW_MULTI),
    };
    for (const attach of Object.values(foreign)) {
      const link = attach();
      expect(openIn(directory, '/dev/urandom')).toContain('Operation not permitted');
      detachFunc(program, directory, BPFAttachType.CGROUP_DEVICE);
      expect(openIn(directory, '/dev/urandom')).toBe('ok');
      link?.close();
    }
    closeSync(fd);
    program.close();
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
      expect.objectContaining({ code: 'ERR_BCC_PROGRAM_TYPE', errno: 22, hint: expect.stringContaining('CGROUP_SKB') }),
    );
    program.close();
    // The right type, for another of its hooks.
    const { CGROUP_INET4_BIND, CGROUP_INET4_CONNECT } = BPFAttachType;
    const attributes = { type: BPFProgType.CGROUP_SOCK_ADDR, expectedAttachType: CGROUP_INET4_BIND };
    const binding = loadInsns(Buffer.concat([movImm(0, 1), exit]), attributes);
    expect(() => attachFunc(binding, directory, CGROUP_INET4_CONNECT)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_ATTACH', errno: 22, hint: expect.stringContaining('attachType') }),
    );
    binding.close();
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

describeIf('runtime', 'socket lookups', () => {
  it('go to the network namespace, and let a socket through or not', async () => {
    const [SK_DROP, SK_PASS] = [0, 1];
    const attributes = { type: BPFProgType.SK_LOOKUP, expectedAttachType: BPFAttachType.SK_LOOKUP };
    const [passing, dropping] = [SK_PASS, SK_DROP].map((result) => new Counter(attributes, { result, pid: false }));
    const server = createServer((socket) => socket.end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const reach = () =>
      new Promise<string>((resolve) => {
        const client = connect((server.address() as { port: number }).port, '127.0.0.1');
        client.once('connect', () => resolve('connected'));
        client.once('error', (error) => resolve((error as NodeJS.ErrnoException).code ?? ''));
        client.resume();
      });
    const link = attachFunc(passing!.program, '/proc/self/ns/net', BPFAttachType.SK_LOOKUP);
    expect(link).toMatchObject({ kind: 'sk_lookup', target: 'the network namespace /proc/self/ns/net' });
    expect(await reach()).toBe('connected');
    expect(passing!.all).toBeGreaterThan(0);
    const other = attachFunc(dropping!.program, 0, BPFAttachType.SK_LOOKUP);
    expect(await reach()).toBe('ECONNREFUSED');
    detachFunc(dropping!.program, 0, BPFAttachType.SK_LOOKUP);
    expect(await reach()).toBe('connected');
    for (const one of [link, other]) one.detach();
    const before = passing!.all;
    expect(await reach()).toBe('connected');
    expect(passing!.all).toBe(before);
    expect(() => attachFunc(passing!.program, '/no/such/ns', BPFAttachType.SK_LOOKUP)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_NAMESPACE_NOT_FOUND', errno: 2 }),
    );
    server.close();
    passing!.close();
    dropping!.close();
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
    attachFunc(program, 0, BPFAttachType.FLOW_DISSECTOR);
    const other = loadInsns(Buffer.concat([movImm(0, 129), exit]), { type: BPFProgType.FLOW_DISSECTOR });
    const replacing = attachFunc(other, 0, BPFAttachType.FLOW_DISSECTOR);
    expect(() => detachFunc(program, 0, BPFAttachType.FLOW_DISSECTOR)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_NOT_ATTACHED' }),
    );
    expect(attached()).toBe(true);
    replacing.detach();
    expect(attached()).toBe(false);
    other.close();
    program.close();
  });
});
