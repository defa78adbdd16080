import {
  addPrefix,
  getProbeLimit,
  namePattern,
  type ProbeFunctionSources,
  reserveProbes,
  selectProbeFunctions,
} from '../../src/kernel/probe-functions';

const KALLSYMS = `0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff81000010 T vfs_read
ffffffff81000020 t vfs_read_helper
ffffffff81000030 W vfs_weak
ffffffff81000040 t vfs_cold.cold
ffffffff81000041 t vfs_cold.cold.12
ffffffff81000050 t perf_vfs
ffffffff81000060 T __perf_vfs
ffffffff81000070 t _kbl_addr_vfs
ffffffff81000080 t __SCT__vfs
ffffffff81000090 T vfs_forbidden
ffffffff81000100 T __irqentry_text_start
ffffffff81000110 T vfs_irq
ffffffff81000120 T vfs_twice
ffffffff81000130 T __irqentry_text_end
ffffffff81000140 t vfs_twice
ffffffff82000000 D vfs_data
ffffffff83000000 D __init_begin
ffffffff83000010 t vfs_init
ffffffff83000020 D __init_end
ffffffffc0000000 t vfs_module	[vfs]
`;

const sources = (more: Partial<ProbeFunctionSources> = {}): ProbeFunctionSources => ({
  kallsyms: () => Buffer.from(KALLSYMS),
  available: undefined,
  blacklist: new Set(['vfs_forbidden']),
  ...more,
});

describe('the functions that take a kprobe', () => {
  it('are code outside of the init and irq sections that no list forbids', () => {
    expect(selectProbeFunctions('.*vfs.*', sources())).toEqual([
      'vfs_read',
      'vfs_read_helper',
      'vfs_weak',
      'vfs_twice',
      'vfs_module',
    ]);
  });

  it('are those of ftrace where it tells them', () => {
    const available = ['vfs_read', 'vfs_forbidden', 'vfs_module', 'vfs_module', '__ftrace_invalid_address___64'];
    const kallsyms = () => {
      throw new Error('both lists are there: kallsyms has nothing to add');
    };
    expect(selectProbeFunctions('.*', sources({ available, kallsyms }))).toEqual(['vfs_read', 'vfs_module']);
  });

  it('are checked against the sections where no blacklist is to be had', () => {
    const available = ['vfs_read', 'vfs_irq', 'vfs_init', 'vfs_twice'];
    expect(selectProbeFunctions('.*', sources({ available, blacklist: undefined }))).toEqual(['vfs_read', 'vfs_twice']);
  });

  it('fit the pattern as a whole', () => {
    expect(selectProbeFunctions('vfs_read', sources())).toEqual(['vfs_read']);
    expect(selectProbeFunctions('vfs_re', sources())).toEqual([]);
    expect(selectProbeFunctions('^vfs_read$|vfs_weak', sources())).toEqual(['vfs_read', 'vfs_weak']);
    expect(selectProbeFunctions(/VFS_r\w+d/i, sources())).toEqual(['vfs_read']);
  });
});

describe('patterns', () => {
  it('are bound to the start or to the whole name', () => {
    expect(namePattern('sched:', 'start')('sched:sched_switch')).toBe(true);
    expect(namePattern('sched:', 'whole')('sched:sched_switch')).toBe(false);
    expect(namePattern('switch', 'start')('sched:sched_switch')).toBe(false);
    expect(namePattern('a|ab', 'whole')('ab')).toBe(true);
  });

  it("understand Python's inline flags and named groups", () => {
    expect(namePattern('(?i)VFS_.*', 'whole')('vfs_read')).toBe(true);
    expect(namePattern('(?P<kind>vfs)_.*', 'whole')('vfs_read')).toBe(true);
  });

  it('keep no state between names', () => {
    const fits = namePattern(/vfs/g, 'start');
    expect([fits('vfs_read'), fits('vfs_read')]).toEqual([true, true]);
  });

  it('that are none are refused', () => {
    expect(() => namePattern('vfs_(', 'whole')).toThrow(TypeError);
  });
});

describe('the limit of probes', () => {
  const before = process.env['BCC_PROBE_LIMIT'];
  afterEach(() => {
    if (before === undefined) delete process.env['BCC_PROBE_LIMIT'];
    else process.env['BCC_PROBE_LIMIT'] = before;
  });

  it.each([
    [undefined, 1000],
    ['5', 5],
    ['-5', 1000],
    ['many', 1000],
  ])('is BCC_PROBE_LIMIT=%s → %i', (value, limit) => {
    if (value === undefined) delete process.env['BCC_PROBE_LIMIT'];
    else process.env['BCC_PROBE_LIMIT'] = value;
    expect(getProbeLimit()).toBe(limit);
  });

  it('counts what is open, and what is given back only once', () => {
    process.env['BCC_PROBE_LIMIT'] = '3';
    const giveBack = reserveProbes(2);
    expect(() => reserveProbes(2)).toThrow(expect.objectContaining({ code: 'ERR_BCC_PROBE_LIMIT' }));
    giveBack(1);
    const second = reserveProbes(2);
    giveBack();
    giveBack();
    expect(() => reserveProbes(2)).toThrow(/2 are open/);
    second();
    reserveProbes(3)();
  });
});

describe('prefixes', () => {
  it('are not put before a name twice', () => {
    expect(addPrefix('kfunc__', 'vfs_read')).toBe('kfunc__vfs_read');
    expect(addPrefix('kfunc__', 'kfunc__vfs_read')).toBe('kfunc__vfs_read');
  });
});
