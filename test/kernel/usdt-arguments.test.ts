import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCC, USDT } from '../../src';
import { describeIf, requireRoot } from '../helpers';
import { compileC, Interactive } from '../helpers/c-program';
import { buildUsdtPrograms, type UsdtPrograms } from '../helpers/usdt-programs';

const TEXT = `
struct seen_t { u64 count; s64 big; s64 widened; int n; int last; s16 x; char text[8]; };
BPF_HASH(plain, u32, struct seen_t);
BPF_HASH(several, s64, u64);
BPF_HASH(called, int, int);
BPF_HASH(guarded, int, u64);
BPF_HASH(refused, u32, int);

static u32 current(void) { return bpf_get_current_pid_tgid() >> 32; }

int on_plain(struct pt_regs *ctx) {
  u32 pid = current();
  struct seen_t seen = {};
  struct seen_t *before = plain.lookup(&pid);
  seen.count = before ? before->count + 1 : 1;
  bpf_usdt_readarg(1, ctx, &seen.n);
  bpf_usdt_readarg(1, ctx, &seen.widened);
  bpf_usdt_readarg_p(2, ctx, &seen.text, sizeof(seen.text));
  bpf_usdt_readarg(3, ctx, &seen.big);
  bpf_usdt_readarg(4, ctx, &seen.x);
  bpf_usdt_readarg(5, ctx, &seen.last);
  plain.update(&pid, &seen);
  s16 narrow = 0;
  int result = bpf_usdt_readarg(5, ctx, &narrow);
  refused.update(&pid, &result);
  return 0;
}

int on_several(struct pt_regs *ctx) {
  s64 n = 0;
  bpf_usdt_readarg(1, ctx, &n);
  several.increment(n);
  return 0;
}

int on_called(struct pt_regs *ctx) {
  int n = 0, twice = 0;
  bpf_usdt_readarg(1, ctx, &n);
  bpf_usdt_readarg(2, ctx, &twice);
  called.update(&n, &twice);
  return 0;
}

int on_guarded(struct pt_regs *ctx) {
  int n = -1;
  bpf_usdt_readarg(1, ctx, &n);
  guarded.increment(n);
  return 0;
}
`;

requireRoot();

describeIf(['uprobes', 'cc', 'sdt'], 'BPF programs at USDT probes', () => {
  let folder: string;
  let programs: UsdtPrograms;
  let running: Interactive[] = [];

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-usdt-arguments-'));
    programs = buildUsdtPrograms(folder);
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  afterEach(async () => {
    for (const program of running) await program.stop();
    running = [];
  });

  function start(program: string): Interactive {
    const started = new Interactive(program);
    running.push(started);
    return started;
  }

  it('read arguments through the text of getText(), wherever it is put', async () => {
    const usdt = new USDT({ path: programs.fixed }).enableProbe({ probe: 'several', fnName: 'on_several' });
    const text = usdt.getText();
    // BCC's reader of a function's first argument, and what bpf_usdt_readarg becomes.
    expect(text).toContain('_bpf_readarg_on_several_1(');
    const b = new BCC(`
BPF_HASH(several, s64, u64);
${text}
int on_several(struct pt_regs *ctx) {
  s64 n = 0;
  bpf_usdt_readarg(1, ctx, &n);
  several.increment(n);
  return 0;
}`);
    try {
      const places = usdt.enumerateActiveProbes();
      expect(places).toHaveLength(2);
      for (const [name, fnName, addr] of places) b.attachUprobe({ name, addr, fnName });
      await start(programs.fixed).ask('m2');
      expect([...b.table('several').keys()].sort()).toEqual([0n, 1n, 100n, 101n]);
    } finally {
      b.close();
    }
  });

  it.each(['pie', 'fixed'] as const)('read registers, memory, variables, constants and text: %s', async (which) => {
    const file = programs[which];
    const usdt = new USDT({ path: file })
      .enableProbe({ probe: 'plain', fnName: 'on_plain' })
      .enableProbe({ probe: 'tsbcc:several', fnName: 'on_several' })
      .enableProbe({ probe: 'guarded', fnName: 'on_guarded' });
    const library = new USDT({ path: programs.library }).enableProbe({ probe: 'called', fnName: 'on_called' });
    const b = new BCC({ text: TEXT, usdtContexts: [usdt, library] });
    try {
      const program = start(file);
      await program.ask('p5');
      expect(b.table('plain').get(program.pid)).toEqual({
        count: 5n,
        n: 4,
        widened: 4n,
        text: 'hello',
        big: -5000000000n,
        x: -300,
        last: -7,
      });
      expect(b.table('refused').get(program.pid)).toBe(-1);

      await program.ask('m3');
      const several = [...b.table('several').entries()];
      expect(new Map(several as [bigint, bigint][])).toEqual(
        new Map([0n, 1n, 2n, 100n, 101n, 102n].map((n) => [n, 1n])),
      );

      await program.ask('l4');
      expect([...b.table('called').entries()].sort()).toEqual([
        [0, 0],
        [1, 2],
        [2, 4],
        [3, 6],
      ]);

      expect(await program.ask('s2')).toBe('2');
      expect([...b.table('guarded').entries()].sort()).toEqual([
        [0, 1n],
        [1, 1n],
      ]);
      expect(b.links.map(({ kind, target }) => `${kind} ${target}`)).toEqual([
        'usdt tsbcc:plain',
        'usdt tsbcc:several',
        'usdt tsbcc:guarded',
        'usdt tsbcc_library:called',
      ]);
      expect(b.numOpenUprobes()).toBe(5);
      b.close();
      expect(await program.ask('s2')).toBe('0');
    } finally {
      b.close();
    }
  });

  it('run in the process of the context only, or in all where its pid is to be ignored', async () => {
    const [one, other] = [start(programs.pie), start(programs.pie)];
    await one.ask('p0');
    const text = `
      BPF_HASH(last, u32, int);
      int on_plain(struct pt_regs *ctx) {
        u32 pid = bpf_get_current_pid_tgid() >> 32;
        int n = 0;
        bpf_usdt_readarg(1, ctx, &n);
        last.update(&pid, &n);
        return 0;
      }`;
    const usdt = new USDT({ pid: one.pid }).enableProbe({ probe: 'plain', fnName: 'on_plain' });
    for (const attachUsdtIgnorePid of [false, true]) {
      const b = new BCC({ text, usdtContexts: [usdt], attachUsdtIgnorePid });
      await one.ask('p3');
      await other.ask('p4');
      expect(b.table('last').get(one.pid)).toBe(2);
      expect(b.table('last').get(other.pid)).toBe(attachUsdtIgnorePid ? 3 : undefined);
      b.close();
    }
  });

  it('tell places apart that lie at the same distance into a page, where that can be done', async () => {
    const source = `
      #include <stdio.h>
      #include <sys/sdt.h>
      #define PAGE __attribute__((noinline, aligned(4096)))
      PAGE void first(long n, long m) { DTRACE_PROBE1(tsbcc, twin, n); }
      PAGE void second(long n, long m) { DTRACE_PROBE1(tsbcc, twin, m); }
      int main(void) {
        char line[64];
        while (fgets(line, sizeof line, stdin)) { first(1, 2); second(3, 4); puts("done"); fflush(stdout); }
      }`;
    const pie = compileC(folder, 'twin-pie', source, ['-fPIE', '-pie', '-fcf-protection=none']);
    const fixed = compileC(folder, 'twin-fixed', source, ['-fno-pie', '-no-pie', '-fcf-protection=none']);
    const text = `
      BPF_HASH(seen, s64, u64);
      int on_twin(struct pt_regs *ctx) {
        s64 n = 0;
        bpf_usdt_readarg(1, ctx, &n);
        seen.increment(n);
        return 0;
      }`;
    const enable = (usdt: USDT) => usdt.enableProbe({ probe: 'twin', fnName: 'on_twin' });
    expect(() => enable(new USDT({ path: pie })).getText()).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_USDT_ARGUMENTS', hint: expect.stringContaining('pid') }),
    );
    const running = start(pie);
    await running.ask('');
    for (const usdt of [new USDT({ pid: running.pid, path: pie }), new USDT({ path: fixed })]) {
      const b = new BCC({ text, usdtContexts: [enable(usdt)] });
      await (usdt.pid === -1 ? start(fixed) : running).ask('');
      expect([...b.table('seen').keys()].sort()).toEqual([1n, 4n]);
      b.close();
    }
  });
});
