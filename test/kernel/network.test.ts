import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { attachRawSocket, attachXdp, removeXdp } from '../../src/attach/network';
import { interfaceIndex } from '../../src/attach/network-interface';
import { attachTc } from '../../src/attach/tc';
import { BPFProgType, XDPAction, XDPFlags } from '../../src/constants';
import { runtime } from '../../src/native';
import { describeIf, requireRoot, stopProcess } from '../helpers';
import { Counter } from '../helpers/asm';
import { canMakeInterfaces, ip, sendOverLoopback, VethPair } from '../helpers/network';

requireRoot();

const TC_ACT_OK = 0;
const TC_ACT_SHOT = 2;
const xdpCounter = () => new Counter({ type: BPFProgType.XDP }, { result: XDPAction.XDP_PASS, pid: false });
const tcCounter = (result = TC_ACT_OK) => new Counter({ type: BPFProgType.SCHED_CLS }, { result, pid: false });
const qdiscs = (dev: string) => execFileSync('tc', ['qdisc', 'show', 'dev', dev], { encoding: 'utf8' });

describeIf('runtime', 'raw sockets', () => {
  it('run the program for each frame of the interface until detached', async () => {
    const counter = new Counter({ type: BPFProgType.SOCKET_FILTER }, { pid: false });
    const link = attachRawSocket(counter.program, 'lo');
    expect(link.sock).toBeGreaterThan(2);
    await sendOverLoopback(3);
    // Each frame passes lo twice: out and in.
    expect(counter.all).toBeGreaterThanOrEqual(6);
    link.detach();
    expect(link.sock).toBe(-1);
    const left = counter.all;
    await sendOverLoopback(3);
    expect(counter.all).toBe(left);
    counter.close();
  });

  it('on an interface that does not exist are refused with near names', () => {
    const counter = new Counter({ type: BPFProgType.SOCKET_FILTER }, { pid: false });
    expect(() => attachRawSocket(counter.program, 'loo')).toThrow(
      expect.objectContaining({
        code: 'ERR_BCC_INTERFACE_NOT_FOUND',
        hint: expect.stringContaining('did you mean lo'),
      }),
    );
    counter.close();
  });

  it('refuse a program of another type', () => {
    const counter = xdpCounter();
    expect(() => attachRawSocket(counter.program, 'lo')).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_PROGRAM_TYPE', message: expect.stringContaining('XDP') }),
    );
    counter.close();
  });
});

describeIf('runtime', 'XDP', () => {
  it('runs the program for each frame in skb mode until detached', async () => {
    const counter = xdpCounter();
    const link = attachXdp(counter.program, 'lo', XDPFlags.SKB_MODE);
    await sendOverLoopback(3);
    expect(counter.all).toBeGreaterThanOrEqual(3);
    expect(ip('link', 'show', 'lo')).toContain('xdpgeneric');
    link.detach();
    const left = counter.all;
    await sendOverLoopback(3);
    expect(counter.all).toBe(left);
    expect(runtime().xdpQuery(interfaceIndex('lo'), XDPFlags.SKB_MODE)).toBe(0);
    counter.close();
  });

  it('does not take the place of another program where that is asked for', () => {
    const [first, second] = [xdpCounter(), xdpCounter()];
    const link = attachXdp(first.program, 'lo', XDPFlags.SKB_MODE);
    expect(() => attachXdp(second.program, 'lo', XDPFlags.SKB_MODE | XDPFlags.UPDATE_IF_NOEXIST)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_XDP_BUSY', hint: expect.stringContaining('ip link set lo xdp off') }),
    );
    expect(runtime().xdpQuery(interfaceIndex('lo'), 0)).toBe(runtime().programInfo(first.program.fd).id);
    link.detach();
    first.close();
    second.close();
  });

  it('leaves a program alone that took its place', () => {
    const [first, second] = [xdpCounter(), xdpCounter()];
    const link = attachXdp(first.program, 'lo', XDPFlags.SKB_MODE);
    attachXdp(second.program, 'lo', XDPFlags.SKB_MODE);
    link.detach();
    expect(runtime().xdpQuery(interfaceIndex('lo'), 0)).toBe(runtime().programInfo(second.program.fd).id);
    removeXdp('lo', XDPFlags.SKB_MODE);
    expect(runtime().xdpQuery(interfaceIndex('lo'), 0)).toBe(0);
    first.close();
    second.close();
  });

  const onLo = () => runtime().xdpQuery(interfaceIndex('lo'), XDPFlags.SKB_MODE);
  const idOf = ({ program }: Counter) => runtime().programInfo(program.fd).id;

  it('takes the place of a program that stands on no link, and is removed all the same', () => {
    const [foreign, own] = [xdpCounter(), xdpCounter()];
    runtime().xdpAttach(interfaceIndex('lo'), foreign.program.fd, XDPFlags.SKB_MODE);
    const link = attachXdp(own.program, 'lo', XDPFlags.SKB_MODE);
    expect(onLo()).toBe(idOf(own));
    link.detach();
    expect(onLo()).toBe(0);
    foreign.close();
    own.close();
  });

  it('can be attached again after somebody removed it', async () => {
    const counter = xdpCounter();
    const first = attachXdp(counter.program, 'lo', XDPFlags.SKB_MODE);
    removeXdp('lo', XDPFlags.SKB_MODE);
    expect(onLo()).toBe(0);
    removeXdp('lo', XDPFlags.SKB_MODE);
    const second = attachXdp(counter.program, 'lo', XDPFlags.SKB_MODE);
    first.detach();
    await sendOverLoopback(1);
    expect(counter.all).toBeGreaterThan(0);
    second.detach();
    expect(onLo()).toBe(0);
    counter.close();
  });

  it('replaces and removes what another process attached', async () => {
    const [one, two] = await Promise.all([attachElsewhere(), attachElsewhere()]);
    const last = onLo();
    expect([one.id, two.id]).toContain(last);
    const counter = xdpCounter();
    const link = attachXdp(counter.program, 'lo', XDPFlags.SKB_MODE);
    expect(onLo()).toBe(idOf(counter));
    link.detach();
    expect(onLo()).toBe(0);
    const three = await attachElsewhere();
    expect(onLo()).toBe(three.id);
    removeXdp('lo');
    expect(onLo()).toBe(0);
    await Promise.all([one, two, three].map(({ child }) => stopProcess(child)));
    counter.close();
  });

  /** A process of its own that attaches an XDP program to lo and waits. */
  async function attachElsewhere(): Promise<{ child: ChildProcess; id: number }> {
    const script = `
      const { BCC, BPFProgType, XDPFlags } = require(${JSON.stringify(path.join(__dirname, '..', '..', 'lib'))});
      const b = new BCC('int pass(struct xdp_md *ctx) { return XDP_PASS; }');
      const pass = b.loadFunc('pass', BPFProgType.XDP);
      BCC.attachXdp('lo', pass, XDPFlags.SKB_MODE);
      console.log(pass.id);
      // Held: a program that is collected is detached.
      setInterval(() => b, 1000);`;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    return { child, id: Number(said.toString()) };
  }

  it('tells what is wrong', () => {
    const counter = xdpCounter();
    const other = tcCounter();
    expect(() => attachXdp(counter.program, 'nosuchdev0')).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_INTERFACE_NOT_FOUND', errno: 19 }),
    );
    expect(() => attachXdp(other.program, 'lo', XDPFlags.SKB_MODE)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_PROGRAM_TYPE' }),
    );
    expect(() => attachXdp(counter.program, 'lo', XDPFlags.DRV_MODE)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_XDP_UNSUPPORTED', hint: expect.stringContaining('SKB_MODE') }),
    );
    expect(() => removeXdp('nosuchdev0')).toThrow(expect.objectContaining({ code: 'ERR_BCC_INTERFACE_NOT_FOUND' }));
    counter.close();
    other.close();
  });
});

describeIf(
  { when: canMakeInterfaces(), reason: 'no veth interfaces can be made here' },
  'on a pair of interfaces',
  () => {
    const pair = { name: `tst${process.pid % 10000}` };
    let veth: VethPair;
    beforeAll(() => {
      veth = new VethPair(pair.name);
    });
    afterAll(() => veth.remove());

    it('XDP runs in the driver', () => {
      const counter = xdpCounter();
      const link = attachXdp(counter.program, veth.name, XDPFlags.DRV_MODE);
      expect(ip('link', 'show', veth.name)).toMatch(/ xdp /);
      link.detach();
      expect(ip('link', 'show', veth.name)).not.toContain('xdp');
      counter.close();
    });

    it('a link outlives its interface harmlessly', () => {
      const short = new VethPair(`${veth.name}x`);
      const [xdp, tc] = [xdpCounter(), tcCounter()];
      const links = [
        attachXdp(xdp.program, short.name, XDPFlags.SKB_MODE),
        attachTc(tc.program, { dev: short.name, direction: 'egress' }),
      ];
      short.remove();
      for (const link of links) expect(() => link.detach()).not.toThrow();
      xdp.close();
      tc.close();
    });

    it('the clsact qdisc goes with the last filter', () => {
      const counter = tcCounter();
      const ingress = attachTc(counter.program, { dev: veth.name, direction: 'ingress', priority: 1 });
      const egress = attachTc(counter.program, { dev: veth.name, direction: 'egress', priority: 1 });
      ingress.detach();
      expect(qdiscs(veth.name)).toContain('clsact');
      egress.detach();
      expect(qdiscs(veth.name)).not.toContain('clsact');
      counter.close();
    });

    it('the clsact qdisc of somebody else stays, as do his filters on ours', () => {
      const counter = tcCounter();
      execFileSync('tc', ['qdisc', 'add', 'dev', veth.name, 'clsact']);
      attachTc(counter.program, { dev: veth.name, direction: 'ingress', priority: 1 }).detach();
      expect(qdiscs(veth.name)).toContain('clsact');
      execFileSync('tc', ['qdisc', 'del', 'dev', veth.name, 'clsact']);

      const link = attachTc(counter.program, { dev: veth.name, direction: 'ingress', priority: 1 });
      const foreign = runtime().tcAttach(interfaceIndex(veth.name), 2, counter.program.fd, 0, 0, false);
      link.detach();
      expect(qdiscs(veth.name)).toContain('clsact');
      runtime().tcDetach(interfaceIndex(veth.name), 2, foreign.priority, foreign.handle, true);
      expect(qdiscs(veth.name)).not.toContain('clsact');
      counter.close();
    });
  },
);

describeIf('runtime', 'tc', () => {
  it.each(['ingress', 'egress'] as const)('runs the program for each frame until detached: %s', async (direction) => {
    const counter = tcCounter();
    const link = attachTc(counter.program, { dev: 'lo', direction });
    expect(link).toMatchObject({ dev: 'lo', direction, target: `lo ${direction}` });
    await sendOverLoopback(3);
    expect(counter.all).toBeGreaterThanOrEqual(3);
    link.detach();
    const left = counter.all;
    await sendOverLoopback(3);
    expect(counter.all).toBe(left);
    counter.close();
  });

  it('runs before the programs that are there', async () => {
    const [first, second] = [tcCounter(TC_ACT_OK), tcCounter(TC_ACT_OK)];
    const early = attachTc(first.program, { dev: 'lo', direction: 'egress' });
    const late = attachTc(second.program, { dev: 'lo', direction: 'egress' });
    await sendOverLoopback(2);
    expect([first.all, second.all >= 2]).toEqual([0, true]);
    late.detach();
    await sendOverLoopback(2);
    expect(first.all).toBeGreaterThanOrEqual(2);
    early.detach();
    expect(qdiscs('lo')).not.toContain('clsact');
    first.close();
    second.close();
  });

  it('tells the priority and handle of a filter on the qdisc', () => {
    const counter = tcCounter();
    const link = attachTc(counter.program, { dev: 'lo', direction: 'egress', handle: 7 });
    expect(link).toMatchObject({ handle: 7, priority: expect.any(Number) });
    const shown = execFileSync('tc', ['filter', 'show', 'dev', 'lo', 'egress'], { encoding: 'utf8' });
    expect(shown).toContain(`pref ${link.priority} bpf`);
    link.detach();
    expect(qdiscs('lo')).not.toContain('clsact');
    counter.close();
  });

  it('puts filters in order, and takes the place of one when asked', async () => {
    const [first, second, third] = [tcCounter(TC_ACT_OK), tcCounter(), tcCounter(-1)];
    const dev = 'lo';
    const low = attachTc(first.program, { dev, direction: 'egress', priority: 1, handle: 1 });
    const high = attachTc(second.program, { dev, direction: 'egress', priority: 2 });
    await sendOverLoopback(2);
    expect([first.all >= 2, second.all]).toEqual([true, 0]);
    expect(() => attachTc(third.program, { dev, direction: 'egress', priority: 1, handle: 1 })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_ALREADY_ATTACHED', hint: expect.stringContaining('replace') }),
    );
    const replacing = attachTc(third.program, { dev, direction: 'egress', priority: 1, handle: 1, replace: true });
    await sendOverLoopback(2);
    // TC_ACT_UNSPEC (-1) lets the next filter decide.
    expect([third.all >= 2, second.all >= 2]).toEqual([true, true]);
    for (const link of [replacing, low, high]) link.detach();
    for (const counter of [first, second, third]) counter.close();
  });

  it('can drop frames', async () => {
    const dropped = tcCounter(TC_ACT_SHOT);
    const seen = new Counter({ type: BPFProgType.SCHED_CLS }, { pid: false });
    const egress = attachTc(dropped.program, { dev: 'lo', direction: 'egress' });
    const ingress = attachTc(seen.program, { dev: 'lo', direction: 'ingress' });
    await sendOverLoopback(2);
    egress.detach();
    expect(dropped.all).toBeGreaterThanOrEqual(2);
    expect(seen.all).toBe(0);
    ingress.detach();
    dropped.close();
    seen.close();
  });

  it('tells what is wrong', () => {
    const counter = tcCounter();
    const other = xdpCounter();
    expect(() => attachTc(counter.program, { dev: 'nosuchdev0', direction: 'ingress' })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_INTERFACE_NOT_FOUND' }),
    );
    expect(() => attachTc(counter.program, { dev: 'lo', direction: 'inwards' as 'ingress' })).toThrow(TypeError);
    expect(() => attachTc(counter.program, { dev: 'lo', direction: 'ingress', priority: -1 })).toThrow(RangeError);
    expect(() => attachTc(other.program, { dev: 'lo', direction: 'ingress' })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_PROGRAM_TYPE' }),
    );
    expect(qdiscs('lo')).not.toContain('clsact');
    counter.close();
    other.close();
  });
});
