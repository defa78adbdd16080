import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  attachUprobes,
  findExe,
  findLibrary,
  getUserAddresses,
  getUserFunctions,
  getUserFunctionsAndAddresses,
  planUprobes,
  type UprobeKind,
  type UprobeLink,
  type UprobeOptions,
} from '../../src/attach/uprobe';
import { BPFAttachType } from '../../src/constants';
import { supportsUprobeMultiPid } from '../../src/kernel/features';
import { describeIf, itIf, outputOf, requireRoot, runProcess } from '../helpers';
import { compileC, Interactive } from '../helpers/c-program';
import { PidCounter } from '../helpers/pid-counter';

const LIBRARY = `
int probed_library_call(int n) { __asm__ volatile(""); return n * 3; }
`;

const PROGRAM = `
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
int probed_library_call(int);
int unprobed_data = 5;
__attribute__((noinline)) int probed_one(int n) { __asm__ volatile(""); return n + 1; }
__attribute__((noinline)) int probed_two(int n) { __asm__ volatile(""); return n + 2; }
int probed_alias(int) __attribute__((alias("probed_two")));
__attribute__((noinline)) int unrelated(int n) { __asm__ volatile(""); return n + 3; }
static void *in_thread(void *n) { return (void *)(long)probed_one((long)n); }
int main(int argc, char **argv) {
  char line[64];
  while (fgets(line, sizeof line, stdin)) {
    volatile int sum = 0;
    int n = atoi(line + 1);
    for (int i = 0; i < n; i++) {
      pthread_t thread;
      if (line[0] == 't' && !pthread_create(&thread, NULL, in_thread, (void *)(long)i)) pthread_join(thread, NULL);
      if (line[0] == 'c') sum += probed_one(i);
      if (line[0] == 'a') sum += probed_one(i) + probed_two(i) + probed_alias(i) + unrelated(i);
      if (line[0] == 'l') sum += probed_library_call(i);
    }
    printf("%d\\n", sum);
    fflush(stdout);
  }
  return 0;
}
`;

requireRoot();

/** Each test is run with both ways of holding a probe, as far as the kernel has them. */
describe.each(['one-by-one', 'uprobe-multi'] as const)('%s:', (method) => {
  describeIf(method === 'one-by-one' ? ['uprobes', 'cc'] : ['uprobeMulti', 'cc'], 'uprobes', () => {
    const multi = method === 'uprobe-multi';
    const pidNeed = { when: !multi || supportsUprobeMultiPid(), reason: 'multi-uprobe links miss threads before 6.10' };
    let folder: string;
    let library: string;
    let pie: string;
    let fixed: string;
    let counter: PidCounter;
    let links: UprobeLink[];
    let running: Interactive[];

    beforeAll(() => {
      folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-uprobe-'));
      library = compileC(folder, 'libprobed.so', LIBRARY, ['-shared', '-fPIC']);
      const link = ['-lpthread', library, `-Wl,-rpath,${folder}`];
      pie = compileC(folder, 'pie', PROGRAM, ['-fPIE', '-pie', ...link]);
      fixed = compileC(folder, 'fixed', PROGRAM, ['-fno-pie', '-no-pie', ...link]);
    });

    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    beforeEach(() => {
      counter = new PidCounter(multi ? { expectedAttachType: BPFAttachType.TRACE_UPROBE_MULTI } : {});
      links = [];
      running = [];
    });

    afterEach(async () => {
      for (const link of links) link.detach();
      counter.close();
      for (const program of running) await program.stop();
    });

    function attach(kind: UprobeKind, options: UprobeOptions): UprobeLink {
      const link = attachUprobes(counter, planUprobes(kind, options), { multi });
      links.push(link);
      return link;
    }

    function start(program: string): Interactive {
      const started = new Interactive(program);
      running.push(started);
      return started;
    }

    it.each(['pie', 'fixed'])('count calls of a function in a %s executable, entered and returned', async (name) => {
      const file = path.join(folder, name);
      const program = start(file);
      const link = attach('uprobe', { name: file, sym: 'probed_one' });
      await program.ask('c5');
      expect(counter.of(program.pid)).toBe(5);
      expect(link.target).toBe(`${file}:probed_one`);
      expect(link.events).toEqual([expect.stringMatching(/^p__.*_0x[0-9a-f]+$/)]);

      attach('uretprobe', { name: file, sym: 'probed_one' });
      await program.ask('c2');
      expect(counter.of(program.pid)).toBe(9);

      for (const attached of links) attached.detach();
      await program.ask('c3');
      expect(counter.of(program.pid)).toBe(9);
      expect(link.events).toEqual([]);
      link.detach();
    });

    it('reach a function of a shared library by its path', async () => {
      attach('uprobe', { name: library, sym: 'probed_library_call' });
      const [one, other] = [start(pie), start(fixed)];
      await one.ask('l3');
      await other.ask('l4');
      expect(counter.of(one.pid)).toBe(3);
      expect(counter.of(other.pid)).toBe(4);
    });

    it('find the C library by its short name, in processes that start later', () => {
      attach('uprobe', { name: 'c', sym: 'getpid' });
      const ours = process.pid;
      const pid = runProcess('/bin/bash', ['-c', 'for i in 1 2 3; do :; done']);
      expect(counter.of(pid)).toBeGreaterThan(0);
      expect(counter.of(ours)).toBe(0);
    });

    it('find an executable through PATH', () => {
      attach('uprobe', { name: 'bash', sym: 'main' });
      const pid = runProcess('/bin/bash', ['-c', ':']);
      expect(counter.of(pid)).toBe(1);
    });

    itIf(pidNeed, 'are for one process where a pid is given, all its threads included', async () => {
      const [one, other] = [start(pie), start(pie)];
      attach('uprobe', { name: pie, sym: 'probed_one', pid: one.pid });
      await one.ask('c2');
      await one.ask('t3');
      await other.ask('c7');
      expect(counter.of(one.pid)).toBe(5);
      expect(counter.of(other.pid)).toBe(0);
    });

    it('take an address of the file, and an offset behind a symbol', async () => {
      const program = start(pie);
      const [[, address]] = getUserFunctionsAndAddresses(pie, 'probed_one$') as [[string, bigint]];
      attach('uprobe', { name: pie, addr: address });
      await program.ask('c2');
      expect(counter.of(program.pid)).toBe(2);

      const second = secondInstruction(pie, 'probed_one');
      const link = attach('uprobe', { name: pie, sym: 'probed_one', symOff: second });
      expect(link.target).toBe(`${pie}:probed_one+0x${second.toString(16)}`);
      await program.ask('c2');
      expect(counter.of(program.pid)).toBe(6);
    });

    it('take every function that fits a pattern, aliases once, and leave them one by one', async () => {
      const program = start(fixed);
      const plan = planUprobes('uprobe', { name: fixed, symRe: 'probed_(one|two|alias)' });
      expect(plan.targets).toHaveLength(2);
      const link = attachUprobes(counter, plan, { multi });
      links.push(link);
      expect(link.target).toBe(`${fixed}:/probed_(one|two|alias)/ (2 functions)`);
      await program.ask('a4');
      expect(counter.of(program.pid)).toBe(12);

      const one = planUprobes('uprobe', { name: fixed, sym: 'probed_one' }).targets[0]!.event;
      expect(link.detachEvent(one)).toBe(true);
      expect(link.detachEvent(one)).toBe(false);
      await program.ask('a1');
      expect(counter.of(program.pid)).toBe(14);
      expect(link.events).toHaveLength(1);
    });

    it('return from all functions that fit', async () => {
      const program = start(pie);
      const link = attach('uretprobe', { name: pie, symRe: /^(probed_|unrelated)/ });
      expect(link.method).toBe(method);
      await program.ask('a2');
      expect(counter.of(program.pid)).toBe(8);
      link.detach();
      await program.ask('a2');
      expect(counter.of(program.pid)).toBe(8);
    });

    itIf(pidNeed, 'reach a process in another mount namespace through its own root', async () => {
      // In the process's namespace, the path names another file than here.
      const hidden = path.join(folder, 'hidden');
      outputOf('mkdir', [hidden]);
      const name = path.join(hidden, 'program');
      copyFileSync('/bin/true', name);
      const script = `mount -t tmpfs none ${hidden} && cp ${pie} ${name} && exec ${name}`;
      const program = new Interactive('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script]);
      running.push(program);
      await program.ask('c0');
      expect(() => planUprobes('uprobe', { name, sym: 'probed_one' })).toThrow(/has no function probed_one/);
      attach('uprobe', { name, sym: 'probed_one', pid: program.pid });
      await program.ask('c3');
      expect(counter.of(program.pid)).toBe(3);
    });

    it('leave nothing behind where one of several places is refused', async () => {
      const program = start(pie);
      const plan = planUprobes('uprobe', { name: pie, symRe: 'probed_' });
      const broken = { ...plan, targets: [...plan.targets, { offset: 1n << 40n, event: 'p_beyond' }] };
      expect(() => attachUprobes(counter, broken, { multi })).toThrow(
        expect.objectContaining({ code: expect.stringMatching(/^ERR_BCC_/), errno: 22 }),
      );
      await program.ask('a1');
      expect(counter.of(program.pid)).toBe(0);
    });

    describe('refuse', () => {
      const plan = (options: Partial<UprobeOptions>, kind: UprobeKind = 'uprobe') => {
        return () => planUprobes(kind, { name: pie, ...options });
      };

      it('an unknown symbol, naming near ones', () => {
        expect(plan({ sym: 'probed_on' })).toThrow(
          expect.objectContaining({ code: 'ERR_BCC_SYMBOL', hint: expect.stringContaining('probed_one') }),
        );
      });

      it('a pattern that fits nothing', () => {
        expect(plan({ symRe: 'nothing_like_this' })).toThrow(expect.objectContaining({ code: 'ERR_BCC_SYMBOL' }));
        expect(plan({ symRe: '(' })).toThrow(TypeError);
      });

      it('variables and addresses outside the code', () => {
        expect(plan({ sym: 'unprobed_data' })).toThrow(expect.objectContaining({ code: 'ERR_BCC_ADDRESS' }));
        expect(plan({ addr: 0x7fff_ffff_ffffn })).toThrow(expect.objectContaining({ code: 'ERR_BCC_ADDRESS' }));
      });

      it('files that are missing or no ELF', () => {
        const script = path.join(folder, 'script.sh');
        writeFileSync(script, '#!/bin/sh\n');
        expect(plan({ name: script, sym: 'main' })).toThrow(expect.objectContaining({ code: 'ERR_BCC_NOT_ELF' }));
        expect(plan({ name: script, symRe: '.*' })).toThrow(expect.objectContaining({ code: 'ERR_BCC_NOT_ELF' }));
        expect(plan({ name: folder, sym: 'main' })).toThrow(expect.objectContaining({ code: 'ERR_BCC_NOT_ELF' }));
        const missing = plan({ name: path.join(folder, 'missing'), sym: 'main' });
        expect(missing).toThrow(expect.objectContaining({ code: 'ERR_BCC_FILE', errno: 2 }));
      });

      it('libraries that are not there, telling the short name', () => {
        expect(plan({ name: 'no_such_library', sym: 'f' })).toThrow(
          expect.objectContaining({ code: 'ERR_BCC_LIBRARY' }),
        );
        expect(plan({ name: 'libc.so.6', sym: 'malloc' })).toThrow(
          expect.objectContaining({ code: 'ERR_BCC_LIBRARY', hint: expect.stringContaining('did you mean c?') }),
        );
      });

      it('a process that has gone', () => {
        const pid = runProcess('/bin/true');
        expect(plan({ sym: 'main', pid })).toThrow(expect.objectContaining({ code: 'ERR_BCC_PROCESS', errno: 3 }));
        expect(plan({ sym: 'main', pid: 0 })).toThrow(RangeError);
      });

      it('options that make no sense', () => {
        expect(plan({})).toThrow(TypeError);
        expect(plan({ sym: 'main', addr: 1n })).toThrow(TypeError);
        expect(plan({ addr: 1n, symOff: 4 })).toThrow(TypeError);
        expect(plan({ sym: 'main', symOff: -1 })).toThrow(RangeError);
        expect(plan({ sym: 'main', symOff: 4 }, 'uretprobe')).toThrow(RangeError);
      });

      it('programs of another type', () => {
        const wrong = { name: 'wrong', fd: 0 };
        expect(() => attachUprobes(wrong, planUprobes('uprobe', { name: pie, sym: 'probed_one' }), { multi })).toThrow(
          expect.objectContaining({ code: expect.stringMatching(/^ERR_BCC_/) }),
        );
      });
    });

    describe('look-ups', () => {
      it('list functions and addresses', () => {
        expect(getUserFunctions(pie, 'probed_')).toEqual(new Set(['probed_one', 'probed_two', 'probed_alias']));
        expect(getUserAddresses(pie, 'probed_').size).toBe(2);
        expect(getUserFunctions('c', /^malloc$/)).toEqual(new Set(['malloc']));
        // Text is anchored at the beginning only, as Python's re.match.
        expect(getUserFunctions(pie, 'robed_').size).toBe(0);
      });

      it('find libraries and executables', () => {
        expect(findLibrary('c')).toMatch(/\/libc\.so/);
        expect(findLibrary('no_such_library')).toBeNull();
        expect(findLibrary('c', process.pid)).toMatch(/\/libc\.so/);
        expect(findExe('sh')).toMatch(/\/sh$/);
        expect(findExe('/bin/sh')).toBe('/bin/sh');
        expect(findExe('no_such_program')).toBeNull();
      });
    });
  });
});

/** Where the second instruction of a function begins, as objdump tells. */
function secondInstruction(file: string, sym: string): number {
  const lines = outputOf('objdump', ['-d', `--disassemble=${sym}`, file]);
  const [first, second] = [...lines.matchAll(/^ +([0-9a-f]+):\t/gm)].map((match) => Number.parseInt(match[1]!, 16));
  return second! - first!;
}
