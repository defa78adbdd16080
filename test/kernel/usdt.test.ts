import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { attachUprobes, type UprobeLink } from '../../src/attach/uprobe';
import { planUsdt, type UsdtPlanOptions } from '../../src/attach/usdt';
import { USDT, type USDTOptions } from '../../src/usdt';
import { describeIf, outputOf, requireRoot, runProcess } from '../helpers';
import { Interactive } from '../helpers/c-program';
import { PidCounter } from '../helpers/pid-counter';
import { buildUsdtPrograms, type UsdtPrograms } from '../helpers/usdt-programs';

requireRoot();

describeIf(['uprobes', 'cc', 'sdt'], 'USDT', () => {
  let folder: string;
  let programs: UsdtPrograms;
  let counter: PidCounter;
  let links: UprobeLink[];
  let running: Interactive[];

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-usdt-'));
    programs = buildUsdtPrograms(folder);
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  beforeEach(() => {
    counter = new PidCounter();
    links = [];
    running = [];
  });

  afterEach(async () => {
    for (const link of links) link.detach();
    counter.close();
    for (const program of running) await program.stop();
  });

  function start(program: string): Interactive {
    const started = new Interactive(program);
    running.push(started);
    return started;
  }

  function enable(options: USDTOptions, probe: string, how?: UsdtPlanOptions): UprobeLink[] {
    const context = new USDT(options).enableProbe({ probe, fnName: 'count_pids' });
    const made = planUsdt(context, how).map((plan) => attachUprobes(counter, plan));
    links.push(...made);
    return made;
  }

  describe('probes', () => {
    it('are listed with their places and arguments', () => {
      const probes = new USDT({ path: programs.pie }).enumerateProbes();
      expect(probes.map((probe) => probe.shortName()).sort()).toEqual([
        'tsbcc:guarded',
        'tsbcc:plain',
        'tsbcc:several',
      ]);
      const plain = probes.find(({ name }) => name === 'plain')!;
      expect(plain).toMatchObject({ provider: 'tsbcc', binPath: programs.pie, numLocations: 1, numArguments: 5 });
      expect(plain.semaphore).toBe(0n);
      const place = plain.getLocation(0);
      expect(String(place)).toBe(`${programs.pie} 0x${place.address.toString(16)}`);
      expect(place.getArgument(0)).toMatchObject({ size: 4, signed: true });
      expect(place.getArgument(3)).toMatchObject({ size: 2, signed: true });
      expect(place.getArgument(4)).toMatchObject({ size: 4, signed: true, constant: -7n });
      expect(String(place.getArgument(4))).toBe('4 signed   bytes @ -7');
      expect(() => place.getArgument(5)).toThrow(RangeError);
      expect(() => plain.getLocation(1)).toThrow(RangeError);

      const several = probes.find(({ name }) => name === 'several')!;
      expect(several.numLocations).toBe(2);
      const guarded = probes.find(({ name }) => name === 'guarded')!;
      expect(guarded.semaphore).toBeGreaterThan(0n);
      expect(String(guarded)).toBe(`tsbcc:guarded [sema 0x${guarded.semaphore.toString(16)}]`);
    });

    it('of a process are those of all that it has mapped', async () => {
      const program = start(programs.pie);
      await program.ask('p0');
      const context = new USDT({ pid: program.pid });
      const names = context.enumerateProbes().map((probe) => probe.shortName());
      expect(names).toEqual(expect.arrayContaining(['tsbcc:plain', 'tsbcc_library:called']));
    });

    it('tell the C types that hold their arguments everywhere', () => {
      const context = new USDT({ path: programs.pie });
      expect(context.getProbeArgCtype('plain', 0)).toBe('int32_t');
      expect(context.getProbeArgCtype('tsbcc:plain', 1)).toBe('uint64_t');
      expect(context.getProbeArgCtype('several', 0)).toBe('int64_t');
      expect(() => context.getProbeArgCtype('plain', 9)).toThrow(RangeError);
    });
  });

  describe('attaching', () => {
    it.each(['pie', 'fixed'] as const)('counts passes in every process that runs the %s program', async (which) => {
      const [one, other] = [start(programs[which]), start(programs[which])];
      const [link] = enable({ path: programs[which] }, 'plain');
      await one.ask('p4');
      await other.ask('p2');
      expect([counter.of(one.pid), counter.of(other.pid)]).toEqual([4, 2]);
      expect(link).toMatchObject({ kind: 'usdt', target: 'tsbcc:plain', fnName: 'count_pids' });
      link!.detach();
      await one.ask('p4');
      expect(counter.of(one.pid)).toBe(4);
    });

    it('takes all places of a probe', async () => {
      const program = start(programs.pie);
      const [link] = enable({ path: programs.pie }, 'tsbcc:several');
      await program.ask('m3');
      expect(counter.of(program.pid)).toBe(6);
      expect(link!.events).toHaveLength(2);
    });

    it('is for one process where a pid is given, unless told otherwise', async () => {
      const [one, other] = [start(programs.pie), start(programs.pie)];
      await one.ask('p0');
      const [link] = enable({ pid: one.pid }, 'plain');
      await one.ask('p2');
      await other.ask('p2');
      expect([counter.of(one.pid), counter.of(other.pid)]).toEqual([2, 0]);
      expect(link!.target).toBe(`tsbcc:plain (pid ${one.pid})`);
      link!.detach();
      enable({ pid: one.pid }, 'plain', { ignorePid: true });
      await other.ask('p2');
      expect(counter.of(other.pid)).toBe(2);
    });

    it('reaches probes of a shared library, by process and by path', async () => {
      const program = start(programs.fixed);
      await program.ask('l0');
      const [link] = enable({ pid: program.pid }, 'tsbcc_library:called');
      await program.ask('l2');
      expect(counter.of(program.pid)).toBe(2);
      link!.detach();
      enable({ path: programs.library }, 'called');
      await program.ask('l3');
      expect(counter.of(program.pid)).toBe(5);
    });

    it('reaches a process in another mount namespace', async () => {
      const hidden = path.join(folder, 'hidden');
      outputOf('mkdir', [hidden]);
      const copy = path.join(hidden, 'program');
      const script = `mount -t tmpfs none ${hidden} && cp ${programs.pie} ${copy} && exec ${copy}`;
      const program = new Interactive('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script]);
      running.push(program);
      await program.ask('p0');
      expect(() => new USDT({ path: copy })).toThrow(expect.objectContaining({ code: 'ERR_BCC_FILE' }));
      enable({ pid: program.pid }, 'guarded');
      expect(await program.ask('s2')).toBe('2');
      enable({ pid: program.pid, path: copy }, 'plain');
      await program.ask('p3');
      expect(counter.of(program.pid)).toBe(5);
    });

    it('raises a semaphore in running and in later processes, and lowers it', async () => {
      const before = start(programs.pie);
      expect(await before.ask('s3')).toBe('0');
      const [link] = enable({ path: programs.pie }, 'guarded');
      const after = start(programs.pie);
      expect([await before.ask('s3'), await after.ask('s2')]).toEqual(['3', '2']);
      expect([counter.of(before.pid), counter.of(after.pid)]).toEqual([3, 2]);
      link!.detach();
      expect([await before.ask('s3'), await after.ask('s2')]).toEqual(['0', '0']);
    });

    it.each(['pie', 'fixed'] as const)('can raise a semaphore by writing into the %s process', async (which) => {
      const [one, other] = [start(programs[which]), start(programs[which])];
      await one.ask('s0');
      const [link] = enable({ pid: one.pid }, 'guarded', { semaphores: 'written' });
      expect([await one.ask('s3'), await other.ask('s3')]).toEqual(['3', '0']);
      expect(counter.of(one.pid)).toBe(3);
      link!.detach();
      expect(await one.ask('s3')).toBe('0');
      expect(() => enable({ path: programs[which] }, 'guarded', { semaphores: 'written' })).toThrow(
        expect.objectContaining({ code: 'ERR_BCC_UNSUPPORTED' }),
      );
    });
  });

  describe('refuses', () => {
    it('probes that do not exist, naming near ones', () => {
      const context = new USDT({ path: programs.pie });
      const refused = (probe: string) => () => context.enableProbe({ probe, fnName: 'f' });
      const error = (hint: string) =>
        expect.objectContaining({ code: 'ERR_BCC_USDT_PROBE', hint: expect.stringContaining(hint) });
      expect(refused('plai')).toThrow(error('did you mean plain?'));
      expect(refused('tsbc:plain')).toThrow(error('did you mean tsbcc:plain?'));
      expect(refused('nothing')).toThrow(error('it has 3 probes'));
      expect(() => new USDT({ path: '/bin/true' }).enableProbe({ probe: 'x', fnName: 'f' })).toThrow(
        error('no USDT probes at all'),
      );
      context.enableProbe({ probe: 'plain', fnName: 'f' });
      expect(refused('plain')).toThrow(expect.objectContaining({ code: 'ERR_BCC_USDT_ENABLED' }));
    });

    it('what is no process, no file, no ELF', () => {
      const script = path.join(folder, 'script.sh');
      writeFileSync(script, '#!/bin/sh\n');
      const made = (options: USDTOptions) => () => new USDT(options);
      expect(made({})).toThrow(TypeError);
      expect(made({ pid: 0 })).toThrow(RangeError);
      expect(made({ pid: runProcess() })).toThrow(expect.objectContaining({ code: 'ERR_BCC_PROCESS', errno: 3 }));
      expect(made({ path: script })).toThrow(expect.objectContaining({ code: 'ERR_BCC_NOT_ELF' }));
      expect(made({ path: '/nowhere/at/all' })).toThrow(expect.objectContaining({ code: 'ERR_BCC_FILE', errno: 2 }));
      expect(made({ path: 'no_such_program' })).toThrow(expect.objectContaining({ code: 'ERR_BCC_LIBRARY' }));
    });

    it('a process that ended meanwhile, and calls after close()', async () => {
      const program = start(programs.pie);
      await program.ask('p0');
      const context = new USDT({ pid: program.pid });
      await program.stop();
      expect(() => context.enableProbe({ probe: 'plain', fnName: 'f' })).toThrow(
        expect.objectContaining({ code: 'ERR_BCC_PROCESS' }),
      );
      context.close();
      expect(() => context.enumerateProbes()).toThrow(expect.objectContaining({ code: 'ERR_BCC_CLOSED' }));
    });
  });

  it('prints what it is', () => {
    const usdt = new USDT({ path: programs.pie }).enableProbe({ probe: 'plain', fnName: 'on_plain' });
    expect(inspect(usdt)).toBe(`USDT ${programs.pie} (3 probes)\n  tsbcc:plain → on_plain`);
    const guarded = usdt.enumerateProbes().find(({ name }) => name === 'guarded')!;
    expect(inspect(guarded)).toBe('tsbcc:guarded (1 location, 1 argument, semaphore)');
    const place = guarded.getLocation(0);
    expect(inspect(place)).toBe(`${place}\n  1: ${place.getArgument(0)}`);
    usdt.close();
    expect(inspect(usdt)).toBe(`USDT ${programs.pie} (closed)`);
  });

  it('tells places as readelf does', () => {
    const notes = outputOf('readelf', ['-n', programs.fixed]);
    const told = [...notes.matchAll(/Provider: (\w+)\s+Name: (\w+)\s+Location: 0x0*([0-9a-f]+)/g)];
    const found = new USDT({ path: programs.fixed })
      .enumerateProbes()
      .flatMap((probe) =>
        Array.from({ length: probe.numLocations }, (_, i) => [
          probe.provider,
          probe.name,
          probe.getLocation(i).address.toString(16),
        ]),
      );
    expect(found.sort()).toEqual(told.map(([, ...fields]) => fields).sort());
  });
});
