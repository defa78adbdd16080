import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ElfFile } from '../../src/kernel/elf';
import { kernelSymbols } from '../../src/kernel/kallsyms';
import { processMappings } from '../../src/kernel/processes';
import { BuildSymbolCache, buildSymbols, ksym, ksymname, SymbolCache, sym } from '../../src/symbols';
import { describeIf, itIf, outputOf, PYTHON, requireRoot, runProcess, stopProcess, waitFor } from '../helpers';
import { compileC, Interactive } from '../helpers/c-program';

requireRoot();

describe('kernel addresses', () => {
  it('have the names that /proc/kallsyms gives them', () => {
    const [address] = /^(\w+) [tT] do_nanosleep$/m.exec(readFileSync('/proc/kallsyms', 'latin1'))!.slice(1);
    const start = BigInt(`0x${address}`);
    expect(ksymname('do_nanosleep')).toBe(start);
    expect(ksym(start)).toBe('do_nanosleep');
    expect(ksym(start + 5n, { showOffset: true })).toBe('do_nanosleep+0x5');
    expect(ksym(start + 0x12n, { showOffset: true, showModule: true })).toBe('do_nanosleep+0x12 [kernel]');
    expect(sym(start, -1, { showModule: true })).toBe('do_nanosleep [kernel]');
    expect(new SymbolCache(-1).resolve(start + 5n)).toEqual({ name: 'do_nanosleep', offset: 5n, module: 'kernel' });
    expect(new SymbolCache(-1).resolveName(null, 'do_nanosleep')).toBe(start);
  });

  it('are [unknown] where nothing is, and names -1n', () => {
    expect(ksym(0x1000)).toBe('[unknown]');
    expect(ksym(0x1000n, { showOffset: true, showModule: true })).toBe('[unknown]');
    expect(ksymname('no_such_kernel_function')).toBe(-1n);
    expect(() => ksym(-1)).toThrow(RangeError);
    expect(() => ksym(Number.MAX_SAFE_INTEGER * 2)).toThrow(/bigint/);
  });

  itIf('bcc', "are what BCC's Python makes of them", () => {
    // Of several names of one address either may be taken: those are left out.
    const functions = [...kernelSymbols().functions()];
    const names = new Map<bigint, number>();
    for (const { address } of functions) names.set(address, (names.get(address) ?? 0) + 1);
    const single = functions.filter(({ address }) => names.get(address) === 1);
    const addresses = single.filter((_, i) => i % 200 === 0).map(({ address }) => address + 1n);
    const script = `
import sys
from bcc import BPF
for line in sys.stdin: print(BPF.ksym(int(line), show_module=True, show_offset=True).decode())`;
    const theirs = outputOf(PYTHON, ['-c', script], addresses.join('\n')).trimEnd().split('\n');
    expect(addresses.length).toBeGreaterThan(50);
    expect(addresses.map((address) => ksym(address, { showModule: true, showOffset: true }))).toEqual(theirs);
  });
});

const LIBRARY = `
__attribute__((noinline)) int late_function(int n) { __asm__ volatile(""); return n * 2; }
`;

/** Prints an address for each line: of a function by name, or of one in a library that it loads now. */
const PROGRAM = `
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int plain_function(int n) { return n + 1; }
int _ZN5space6methodEi(int n) { return n + 2; }
static int hidden_function(int n) { return n + 3; }
int main(int argc, char **argv) {
  char line[512];
  while (fgets(line, sizeof line, stdin)) {
    void *address = 0;
    line[strcspn(line, "\\n")] = 0;
    if (!strcmp(line, "plain")) address = plain_function;
    if (!strcmp(line, "method")) address = _ZN5space6methodEi;
    if (!strcmp(line, "hidden")) address = hidden_function;
    if (line[0] == '/') { void *library = dlopen(line, RTLD_NOW); address = library ? dlsym(library, "late_function") : 0; }
    if (!strcmp(line, "exec")) { execv(argv[1], argv + 1); }
    printf("%p\\n", address);
    fflush(stdout);
  }
  return 0;
}
`;

describeIf('cc', 'user addresses', () => {
  let folder: string;
  let library: string;
  const programs: Record<string, string> = {};
  let running: Interactive[] = [];

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-symbols-'));
    library = compileC(folder, 'liblate.so', LIBRARY, ['-shared', '-fPIC', '-Wl,--build-id=sha1']);
    programs.pie = compileC(folder, 'pie', PROGRAM, ['-fPIE', '-pie', '-ldl', '-Wl,--build-id=sha1']);
    programs.fixed = compileC(folder, 'fixed', PROGRAM, ['-fno-pie', '-no-pie', '-ldl', '-Wl,--build-id=sha1']);
    programs.stripped = compileC(folder, 'stripped', PROGRAM, ['-fPIE', '-pie', '-ldl', '-s']);
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  afterEach(async () => {
    for (const program of running) await program.stop();
    running = [];
  });

  function start(program: string, ...args: string[]): Interactive {
    const started = new Interactive(program, args);
    running.push(started);
    return started;
  }

  it.each(['pie', 'fixed'])('are named in a %s executable, demangled or not', async (which) => {
    const file = programs[which]!;
    const program = start(file);
    const plain = BigInt(await program.ask('plain'));
    const method = BigInt(await program.ask('method'));
    const hidden = BigInt(await program.ask('hidden'));
    const cache = new SymbolCache(program.pid);
    expect(cache.resolve(plain)).toEqual({ name: 'plain_function', offset: 0n, module: file });
    expect(cache.resolve(hidden + 1n)).toEqual({ name: 'hidden_function', offset: 1n, module: file });
    expect(cache.resolve(method).name).toBe('space::method(int)');
    expect(cache.resolve(method, { demangle: false }).name).toBe('_ZN5space6methodEi');
    expect(cache.resolveName(file, 'plain_function')).toBe(plain);
    expect(cache.resolveName(path.basename(file), 'hidden_function')).toBe(hidden);
    expect(cache.resolveName(file, 'nothing')).toBe(-1n);
    expect(cache.resolve(4096n)).toEqual({ name: undefined, offset: 4096n, module: undefined });

    const all = { showModule: true, showOffset: true };
    expect(sym(plain + 1n, program.pid, all)).toBe(`plain_function+0x1 [${which}]`);
    expect(sym(plain, program.pid)).toBe('plain_function');
    expect(sym(method, program.pid, { demangle: false })).toBe('_ZN5space6methodEi');
    expect(sym(4096n, program.pid, all)).toBe('[unknown]');
  });

  it('tell the module and the place in it where a file has no symbols', async () => {
    const program = start(programs.stripped!);
    const hidden = BigInt(await program.ask('hidden'));
    const symbol = new SymbolCache(program.pid).resolve(hidden);
    expect(symbol).toMatchObject({ name: undefined, module: programs.stripped });
    const mapping = processMappings(program.pid).find(({ start, end }) => hidden >= start && hidden < end)!;
    expect(symbol.offset).toBe(hidden - mapping.start + mapping.offset);
    expect(sym(hidden, program.pid, { showModule: true, showOffset: true })).toBe('[unknown] [stripped]');
  });

  it('are found in libraries that are loaded later, and after the process has ended', async () => {
    const program = start(programs.pie!);
    const cache = new SymbolCache(program.pid);
    await program.ask('plain');
    const late = BigInt(await program.ask(library));
    await waitFor('the library to be seen', () => cache.resolve(late).name !== undefined);
    expect(cache.resolve(late)).toEqual({ name: 'late_function', offset: 0n, module: library });
    await program.stop();
    expect(cache.resolve(late).name).toBe('late_function');
    cache.close();
    expect(() => cache.resolve(late)).toThrow(expect.objectContaining({ code: 'ERR_BCC_CLOSED' }));
  });

  it('follow a process that becomes another program', async () => {
    const program = start(programs.pie!, programs.fixed!);
    const before = BigInt(await program.ask('plain'));
    const cache = new SymbolCache(program.pid);
    expect(cache.resolve(before).module).toBe(programs.pie);
    program.tell('exec');
    await waitFor('exec', () => processMappings(program.pid).some((mapping) => mapping.path === programs.fixed));
    const plain = BigInt(await program.ask('plain'));
    await waitFor('the new program to be seen', () => cache.resolve(plain).module === programs.fixed);
    expect(cache.resolve(plain).name).toBe('plain_function');
  });

  it('are looked up in the file system of the process', async () => {
    const inside = path.join(folder, 'inside');
    outputOf('mkdir', [inside]);
    const copy = path.join(inside, 'program');
    const script = `mount -t tmpfs none ${inside} && cp ${programs.pie} ${copy} && exec ${copy}`;
    const program = start('unshare', '--mount', '--propagation', 'private', 'sh', '-c', script);
    const plain = BigInt(await program.ask('plain'));
    const cache = new SymbolCache(program.pid);
    expect(cache.resolve(plain)).toEqual({ name: 'plain_function', offset: 0n, module: copy });
  });

  it('are named where the file has been deleted', async () => {
    const copy = path.join(folder, 'deleted');
    outputOf('cp', [programs.pie!, copy]);
    const program = start(copy);
    const plain = BigInt(await program.ask('plain'));
    rmSync(copy);
    expect(new SymbolCache(program.pid).resolve(plain)).toEqual({ name: 'plain_function', offset: 0n, module: copy });
  });

  it('are named in the vDSO', () => {
    const cache = new SymbolCache(process.pid);
    const { start } = processMappings(process.pid).find((mapping) => mapping.path === '[vdso]')!;
    const address = cache.resolveName('[vdso]', '__vdso_getcpu');
    expect(address).toBeGreaterThan(start);
    expect(cache.resolve(address)).toMatchObject({ offset: 0n, module: '[vdso]' });
  });

  it('of a process that has gone are [unknown], and no cache can be made for it', () => {
    const pid = runProcess();
    expect(sym(0x401000n, pid)).toBe('[unknown]');
    expect(() => new SymbolCache(pid)).toThrow(expect.objectContaining({ code: 'ERR_BCC_PROCESS', errno: 3 }));
    expect(() => new SymbolCache(1.5)).toThrow(TypeError);
  });

  itIf('bcc', "are what BCC's Python makes of them", async () => {
    const program = start(programs.pie!);
    const addresses = [await program.ask('plain'), await program.ask('method'), await program.ask('hidden')].map(
      (text) => BigInt(text) + 1n,
    );
    const script = `
import sys
from bcc import BPF
for a in sys.argv[2:]: print(BPF.sym(int(a), int(sys.argv[1]), show_module=True, show_offset=True).decode())`;
    const theirs = outputOf(PYTHON, ['-c', script, String(program.pid), ...addresses.map(String)]);
    const ours = addresses.map((address) => sym(address, program.pid, { showModule: true, showOffset: true }));
    expect(`${ours.join('\n')}\n`).toBe(theirs);
  });

  describe('by build id', () => {
    it('are named without a process', () => {
      for (const file of [programs.pie!, programs.fixed!, library]) {
        const cache = new BuildSymbolCache();
        expect(cache.addModule(file)).toBe(true);
        const { id, offset, name } = ElfFile.with(file, (elf) => {
          const symbol = elf.functions().find((one) => /^(plain|late)_function$/.test(one.name))!;
          return { id: elf.buildId()!, offset: elf.addressToOffset(symbol.address)!, name: symbol.name };
        });
        expect(cache.resolve(id, offset + 1n)).toEqual({ name, offset: 1n, module: file });
        expect(cache.resolve(Buffer.from(id, 'hex'), offset)?.name).toBe(name);
        expect(cache.resolve('00'.repeat(20), offset)).toBeUndefined();

        expect(sym({ buildId: id, offset }, -1)).toBe('[unknown]');
        buildSymbols.addModule(file);
        expect(sym({ buildId: id, offset: offset + 2n }, -1, { showModule: true, showOffset: true })).toBe(
          `${name}+0x2 [${path.basename(file)}]`,
        );
      }
    });

    it('need a file with one', () => {
      const cache = new BuildSymbolCache();
      expect(
        cache.addModule(compileC(folder, 'anonymous', 'int main(void) { return 0; }', ['-Wl,--build-id=none'])),
      ).toBe(false);
      expect(() => cache.addModule('/etc/passwd')).toThrow(expect.objectContaining({ code: 'ERR_BCC_NOT_ELF' }));
    });
  });
});

describe('compiled JavaScript', () => {
  let child: ChildProcess | undefined;
  const written: string[] = [];

  afterEach(async () => {
    if (child) await stopProcess(child);
    for (const file of written.splice(0)) rmSync(file, { recursive: true, force: true });
  });

  it('is named through the perf map that Node writes', async () => {
    const code = 'function aJavaScriptFunction(n) { return n + 1; } for (let i = 0; ; i++) aJavaScriptFunction(i);';
    // Node also leaves a log in its working folder.
    const folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-perf-map-'));
    written.push(folder);
    child = spawn(process.execPath, ['--perf-basic-prof', '--no-opt', '-e', code], { stdio: 'ignore', cwd: folder });
    const pid = child.pid!;
    const map = `/tmp/perf-${pid}.map`;
    written.push(map);
    const line = /^([0-9a-f]+) ([0-9a-f]+) (\S*aJavaScriptFunction.*)$/m;
    await waitFor('the function to be compiled', () => {
      try {
        return line.test(readFileSync(map, 'latin1'));
      } catch {
        return false;
      }
    });
    const [, start, , name] = line.exec(readFileSync(map, 'latin1'))!;
    const symbol = new SymbolCache(pid).resolve(BigInt(`0x${start}`) + 1n);
    expect(symbol).toEqual({ name, offset: 1n, module: map });
    expect(sym(BigInt(`0x${start}`), pid, { showModule: true })).toBe(`${name} [perf-${pid}.map]`);
  });

  it('is found when it is compiled later, and under its newest name', async () => {
    child = spawn('/bin/sleep', ['600'], { stdio: 'ignore' });
    const pid = child.pid!;
    const map = `/tmp/perf-${pid}.map`;
    written.push(map);
    const cache = new SymbolCache(pid);
    const name = () => cache.resolve(0x1040n).name;
    expect(name()).toBeUndefined();
    writeFileSync(map, '1000 80 first version\n');
    await waitFor('the first name', () => name() === 'first version');
    writeFileSync(map, '1000 80 first version\n0x1000 0x80 second version\n2000 10 other\nnot a line\n');
    await waitFor('the second name', () => name() === 'second version');
    expect(cache.resolve(0x2000n)).toEqual({ name: 'other', offset: 0n, module: map });
  });
});
