import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCC } from '../../src';
import { describeIf, itIf, requireRoot } from '../helpers';
import { compileC, Interactive } from '../helpers/c-program';

const PROGRAM = `
#include <stdio.h>
__attribute__((noinline)) int step_one(int n) { __asm__ volatile(""); return n + 1; }
__attribute__((noinline)) int step_two(int n) { __asm__ volatile(""); return n + 2; }
__attribute__((noinline)) int step_three(int n) { __asm__ volatile(""); return n + 3; }
int main(void) {
  char line[64];
  while (fgets(line, sizeof line, stdin)) {
    printf("%d\\n", step_one(10) + step_two(20) + step_three(30));
    fflush(stdout);
  }
}
`;

const TEXT = `
BPF_HASH(entered, int, u64);
BPF_HASH(returned, int, u64);
int on_entry(struct pt_regs *ctx) { int n = PT_REGS_PARM1(ctx); entered.increment(n); return 0; }
int on_return(struct pt_regs *ctx) { int n = PT_REGS_RC(ctx); returned.increment(n); return 0; }
`;

requireRoot();

describeIf(['uprobes', 'cc'], 'a BCC object and uprobes', () => {
  let folder: string;
  let file: string;
  let program: Interactive;
  let b: BCC;

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-uprobe-bcc-'));
    file = compileC(folder, 'program', PROGRAM);
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  beforeEach(() => {
    program = new Interactive(file);
    b = new BCC(TEXT);
  });

  afterEach(async () => {
    b.close();
    await program.stop();
  });

  const keys = (table: string) => [...b.table(table).keys()].map(Number).sort();

  it('read arguments and return values', async () => {
    b.attachUprobe({ name: file, sym: 'step_one', fnName: 'on_entry' });
    b.attachUretprobe({ name: file, sym: 'step_one', fnName: 'on_return' });
    expect(b.numOpenUprobes()).toBe(2);
    await program.ask('');
    expect(keys('entered')).toEqual([10]);
    expect(keys('returned')).toEqual([11]);

    b.detachUprobe({ name: file, sym: 'step_one' });
    b.table('entered').clear();
    await program.ask('');
    expect(keys('entered')).toEqual([]);
    expect(b.table('returned').get(11)).toBe(2n);
    expect(() => b.detachUprobe({ name: file, sym: 'step_one' })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_NOT_ATTACHED' }),
    );
    b.detachUretprobe({ name: file, sym: 'step_one' });
    expect(b.links).toEqual([]);
  });

  it('attach to all functions that fit a pattern, and leave one of them', async () => {
    b.attachUprobe({ name: file, symRe: 'step_', fnName: 'on_entry' });
    expect(b.numOpenUprobes()).toBe(3);
    expect(b.links).toHaveLength(1);
    await program.ask('');
    expect(keys('entered')).toEqual([10, 20, 30]);

    b.detachUprobe({ name: file, sym: 'step_two' });
    expect(b.numOpenUprobes()).toBe(2);
    b.table('entered').clear();
    await program.ask('');
    expect(keys('entered')).toEqual([10, 30]);

    b.detachUprobe({ name: file, symRe: 'step_' });
    b.table('entered').clear();
    await program.ask('');
    expect(keys('entered')).toEqual([]);
    expect(b.numOpenUprobes()).toBe(0);
  });

  itIf('uprobeMulti', 'hold a pattern in one kernel link where the kernel can', () => {
    b.attachUprobe({ name: file, symRe: 'step_', fnName: 'on_entry' });
    b.attachUretprobe({ name: file, symRe: 'step_', fnName: 'on_return' });
    expect(b.links.map((link) => [link.kind, (link as unknown as { method: string }).method])).toEqual([
      ['uprobe', 'uprobe-multi'],
      ['uretprobe', 'uprobe-multi'],
    ]);
  });

  it('put two functions on one place and detach by the name of its event', async () => {
    b.attachUprobe({ name: file, sym: 'step_one', fnName: 'on_entry' });
    b.attachUprobe({ name: file, sym: 'step_one', fnName: 'on_return' });
    await program.ask('');
    expect(keys('entered')).toEqual([10]);
    expect(b.table('returned').size).toBe(1);
    const [event] = (b.links[0] as unknown as { events: string[] }).events;
    b.detachUprobeEvent(event!);
    expect(b.numOpenUprobes()).toBe(0);
    expect(() => b.detachUprobeEvent(event!)).toThrow(expect.objectContaining({ code: 'ERR_BCC_NOT_ATTACHED' }));
  });

  it('detach from a process that has gone', async () => {
    b.attachUprobe({ name: file, sym: 'step_one', fnName: 'on_entry', pid: program.pid });
    const { pid } = program;
    await program.stop();
    b.detachUprobe({ name: file, sym: 'step_one', pid });
    expect(b.links).toEqual([]);
  });

  it('keep what is attached when another attachment fails, and refuse after close()', async () => {
    b.attachUprobe({ name: file, sym: 'step_one', fnName: 'on_entry' });
    expect(() => b.attachUprobe({ name: file, sym: 'step_onn', fnName: 'on_return' })).toThrow(/did you mean step_one/);
    expect(() => b.attachUprobe({ name: file, sym: 'step_one', fnName: 'on_nothing' })).toThrow(/on_nothing/);
    await program.ask('');
    expect(keys('entered')).toEqual([10]);
    expect(b.links).toHaveLength(1);
    b.close();
    expect(() => b.attachUprobe({ name: file, sym: 'step_one', fnName: 'on_entry' })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_CLOSED' }),
    );
  });
});
