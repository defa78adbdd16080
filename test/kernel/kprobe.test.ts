import { getPriority } from 'node:os';
import {
  attachKprobe,
  attachKprobeMulti,
  attachKprobes,
  type KprobeSet,
  kprobeEventName,
  supportsKprobeMulti,
} from '../../src/attach/kprobe';
import { BPFAttachType, BPFProgType } from '../../src/constants';
import { getKprobeFunctions, getSyscallFnname } from '../../src/kernel/probe-functions';
import { listProbeEvents, probeEventProfile, writeProbeEvents } from '../../src/kernel/tracefs';
import { describeIf, itIf, kernelHas, requireRoot } from '../helpers';
import { Counter } from '../helpers/asm';

requireRoot();

const doCall = () => getPriority();
const KPROBE = { type: BPFProgType.KPROBE };
const MULTI = { ...KPROBE, expectedAttachType: BPFAttachType.TRACE_KPROBE_MULTI };
const ourEvents = () => listProbeEvents('kprobe').filter((line) => line.includes(':tsbcc/'));

describeIf(['kprobes', 'tracefs', 'runtime'], 'kprobes', () => {
  const event = getSyscallFnname('getpriority');

  it.each(['kprobe', 'kretprobe'] as const)('run the program at each call until detached: %s', (kind) => {
    const counter = new Counter(KPROBE);
    const link = attachKprobe(counter.program, { event, kind });
    expect(link).toMatchObject({ kind, target: event, fnName: 'count', attached: true });
    doCall();
    doCall();
    expect(counter.own).toBe(2);
    link.detach();
    doCall();
    expect(counter.own).toBe(2);
    counter.close();
  });

  it('run inside a function, at an offset', () => {
    const counter = new Counter(KPROBE);
    // The first instruction that ftrace leaves alone follows its call, 5 bytes long, behind endbr64 or not.
    const offset = [4, 5, 9].find((eventOff) => {
      try {
        attachKprobe(counter.program, { event, eventOff }).detach();
        return true;
      } catch {
        return false;
      }
    });
    expect(offset).toBeDefined();
    const link = attachKprobe(counter.program, { event: `${event}+${offset}` });
    expect(link.target).toBe(`${event}+0x${offset!.toString(16)}`);
    doCall();
    expect(counter.own).toBe(1);
    link.detach();
    counter.close();
  });

  it('several programs share a function', () => {
    const [first, second] = [new Counter(KPROBE), new Counter(KPROBE)];
    const links = [first, second].map(({ program }) => attachKprobe(program, { event }));
    doCall();
    links[0]!.detach();
    doCall();
    expect([first.own, second.own]).toEqual([1, 2]);
    links[1]!.detach();
    first.close();
    second.close();
  });

  it('with maxactive make an event and take it away again', () => {
    const before = ourEvents();
    const counter = new Counter(KPROBE);
    const link = attachKprobe(counter.program, { event, kind: 'kretprobe', maxactive: 17 });
    const made = ourEvents().filter((line) => !before.includes(line));
    expect(made).toEqual([expect.stringMatching(`^r17:tsbcc/p${process.pid}_\\w+ ${event}$`)]);
    doCall();
    expect(counter.own).toBe(1);
    const name = /tsbcc\/(\w+)/.exec(made[0]!)![1];
    expect(probeEventProfile('kprobe').find((profile) => profile.event === name)?.misses).toBe(0n);
    link.detach();
    expect(ourEvents()).toEqual(before);
    counter.close();
  });

  it('on an unknown function are refused with near names', () => {
    const counter = new Counter(KPROBE);
    for (const kind of ['kprobe', 'kretprobe'] as const) {
      expect(() => attachKprobe(counter.program, { event: 'vfs_reed', kind })).toThrow(
        expect.objectContaining({
          code: 'ERR_BCC_ATTACH_KPROBE_UNKNOWN_SYMBOL',
          hint: expect.stringContaining('vfs_read'),
        }),
      );
    }
    counter.close();
  });

  it('on a forbidden function are refused as such', () => {
    const counter = new Counter(KPROBE);
    expect(() => attachKprobe(counter.program, { event: 'kprobe_ftrace_handler' })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_ATTACH_KPROBE_REFUSED', message: expect.stringContaining('forbidden') }),
    );
    expect(() => attachKprobe(counter.program, { event, eventOff: 1 })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_ATTACH_KPROBE_REFUSED' }),
    );
    counter.close();
  });

  it('refuse a program of another type', () => {
    const counter = new Counter({ type: BPFProgType.TRACEPOINT });
    expect(() => attachKprobe(counter.program, { event })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_PROGRAM_TYPE', message: expect.stringContaining('TRACEPOINT') }),
    );
    counter.close();
  });

  it('are limited by BCC_PROBE_LIMIT', () => {
    process.env['BCC_PROBE_LIMIT'] = '2';
    try {
      const counter = new Counter(KPROBE);
      const link = attachKprobe(counter.program, { event });
      expect(() => attachKprobes(counter.program, ['vfs_read', 'vfs_write'])).toThrow(
        expect.objectContaining({ code: 'ERR_BCC_PROBE_LIMIT' }),
      );
      const second = attachKprobe(counter.program, { event: 'vfs_read' });
      link.detach();
      second.detach();
      attachKprobes(counter.program, ['vfs_read', 'vfs_write']).detach();
      counter.close();
    } finally {
      delete process.env['BCC_PROBE_LIMIT'];
    }
  });

  const many = [event, getSyscallFnname('setpriority'), 'vfs_read', 'vfs_write'];

  const behavesAsSet = (counter: Counter, attach: (symbols: string[]) => KprobeSet) => {
    const set = attach([...many, 'no_such_function_here']);
    expect(set.symbols).toEqual(many);
    expect(set.refused.map(({ symbol }) => symbol)).toEqual(['no_such_function_here']);
    doCall();
    const seen = counter.own;
    expect(seen).toBeGreaterThanOrEqual(1);
    expect(set.detachSymbol('vfs_open')).toBe(false);
    expect(set.detachSymbol('vfs_read')).toBe(true);
    expect(set.detachSymbol('vfs_write')).toBe(true);
    expect(set.symbols).toEqual(many.slice(0, 2));
    const left = counter.own;
    doCall();
    expect(counter.own).toBe(left + 1);
    expect(set.detachSymbol(event)).toBe(true);
    doCall();
    expect(counter.own).toBe(left + 1);
    set.detach();
    expect(set.symbols).toEqual([]);
    counter.close();
  };

  it.each(['kprobe', 'kretprobe'] as const)('on many functions share one event: %s', (kind) => {
    const before = ourEvents();
    const counter = new Counter(KPROBE);
    behavesAsSet(counter, (symbols) => {
      const set = attachKprobes(counter.program, symbols, { kind });
      expect(set.method).toBe('event');
      return set;
    });
    expect(ourEvents()).toEqual(before);
  });

  it('on many functions are attached one by one where the kernel makes no events', () => {
    jest.isolateModules(() => {
      jest.doMock('../../src/kernel/tracefs', () => ({
        ...jest.requireActual('../../src/kernel/tracefs'),
        hasProbeEvents: () => false,
      }));
      const isolated = require('../../src/attach/kprobe') as typeof import('../../src/attach/kprobe');
      const counter = new Counter(KPROBE);
      behavesAsSet(counter, (symbols) => {
        const set = isolated.attachKprobes(counter.program, symbols);
        expect(set.method).toBe('one-by-one');
        return set;
      });
    });
    jest.dontMock('../../src/kernel/tracefs');
  });

  it('sweep events whose makers were killed, and no others', () => {
    const events = [
      `p:tsbcc/p4194305_00000000_0 ${event}`,
      `p:tsbcc/p${process.ppid}_00000000_0 ${event}`,
      `p:others/p4194305_00000000_0 ${event}`,
    ];
    const refused: number[] = [];
    writeProbeEvents('kprobe', events, (_line, errno) => refused.push(errno));
    expect(refused).toEqual([0, 0, 0]);
    jest.isolateModules(() => {
      const fresh = require('../../src/attach/kprobe') as typeof import('../../src/attach/kprobe');
      const counter = new Counter(KPROBE);
      fresh.attachKprobe(counter.program, { event, kind: 'kretprobe', maxactive: 4 }).detach();
      counter.close();
    });
    const left = listProbeEvents('kprobe');
    expect(left).toEqual(expect.arrayContaining(events.slice(1)));
    expect(left).not.toContain(events[0]);
    const removals = events.slice(1).map((line) => `-:${line.slice(2, line.indexOf(' '))}`);
    writeProbeEvents('kprobe', removals, () => {});
  });

  itIf('fprobe', 'on many functions share one multi-kprobe link', () => {
    expect(supportsKprobeMulti()).toBe(true);
    for (const kind of ['kprobe', 'kretprobe'] as const) {
      const counter = new Counter(MULTI);
      behavesAsSet(counter, (symbols) => attachKprobeMulti(counter.program, symbols, { kind }));
    }
  });

  it('tell whether the kernel has multi-kprobe links', () => {
    expect(supportsKprobeMulti()).toBe(kernelHas('fprobe'));
  });

  it('on functions that all are refused leave nothing behind', () => {
    const before = ourEvents();
    const counter = new Counter(KPROBE);
    expect(() => attachKprobes(counter.program, ['no_such_a', 'no_such_b'], { pattern: 'no_such_.' })).toThrow(
      expect.objectContaining({
        code: 'ERR_BCC_ATTACH_KPROBE_NO_MATCH',
        message: expect.stringContaining('no_such_.'),
      }),
    );
    expect(() => attachKprobes(counter.program, [], { pattern: 'nothing' })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_ATTACH_KPROBE_NO_MATCH' }),
    );
    expect(ourEvents()).toEqual(before);
    counter.close();
  });

  it('find the functions of a pattern', () => {
    const functions = getKprobeFunctions('vfs_re[a-z]+');
    expect(functions).toEqual(expect.arrayContaining(['vfs_read', 'vfs_readv', 'vfs_rename']));
    expect(functions.every((name) => /^vfs_re[a-z]+$/.test(name))).toBe(true);
    expect(getKprobeFunctions('kprobe_ftrace_handler|perf_event_open.*')).toEqual([]);
  });

  it('have the names of events that BCC gives them', () => {
    expect(kprobeEventName('kprobe', 'foo.isra.0+4')).toBe('p_foo_isra_0_4');
    expect(kprobeEventName('kretprobe', 'vfs_read')).toBe('r_vfs_read');
  });
});

describeIf(
  { when: !kernelHas('kprobes') && kernelHas('runtime'), reason: 'this kernel has kprobes' },
  'without kprobes',
  () => {
    it('attaching says so', () => {
      const counter = new Counter(KPROBE);
      expect(() => attachKprobe(counter.program, { event: 'vfs_read' })).toThrow(
        expect.objectContaining({ code: 'ERR_BCC_NO_KPROBES' }),
      );
      expect(() => attachKprobes(counter.program, ['vfs_read', 'vfs_write'])).toThrow(
        expect.objectContaining({ code: 'ERR_BCC_NO_KPROBES' }),
      );
      expect(supportsKprobeMulti()).toBe(false);
      counter.close();
    });
  },
);
