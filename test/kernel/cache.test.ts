import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCC, clearCache, listCache } from 'tsbcc';
import { CACHE_BYTES } from '../../src/program/cache';
import { decodeProgram, encodeProgram } from '../../src/program/codec';
import type { CompiledProgram } from '../../src/program/compiled';
import { compilerFile } from '../../src/program/compiler';
import { itIf, requireRoot, runProcess } from '../helpers';

/*
 * The cache of compiled programs and program files, for input that is damaged, hostile or foreign. What is loaded must be
 * the program that was asked for: it counts this process's calls with its own number.
 */

requireRoot();

const NOBODY = 65534;
const LIB = path.join(__dirname, '..', '..', 'lib');
const CLI = path.join(LIB, 'cli', 'main.js');

const TEXT = `BPF_ARRAY(answers, u64, 1);
int on_sync(void *ctx) { int zero = 0; u64 *answer = answers.lookup(&zero); if (answer) *answer = ANSWER; return 0; }`;
const options = { text: TEXT, cflags: ['-DANSWER=42'] };

/** The sanitizers' own, or the host's in a VM. */
const usual = process.env.TSBCC_COMPILER;

function restoreCompiler(): void {
  if (usual === undefined) delete process.env.TSBCC_COMPILER;
  else process.env.TSBCC_COMPILER = usual;
}

let folder: string;
let cache: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-cache-'));
  cache = path.join(folder, 'cache');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Where the program came from, once it has shown that it is the right one. */
function load(changes: object = {}): string {
  using b = new BCC({ ...options, cache, ...changes });
  b.attachTracepoint({ tp: 'syscalls:sys_enter_sync', fnName: 'on_sync' });
  runProcess('/bin/sync');
  expect(b.table('answers').get(0)).toBe(42n);
  return b.compiledBy;
}

/** The file or folder as before, behind a symbolic link. */
function replaceByLink(file: string): void {
  renameSync(file, `${file}.real`);
  symlinkSync(`${file}.real`, file);
}

/** The one entry of a cache that was filled by loading the program once. */
function filledEntry(): string {
  expect(load()).toBe('process');
  const [name, ...others] = readdirSync(cache);
  expect(others).toEqual([]);
  return path.join(cache, name!);
}

describe('a cache folder', () => {
  function mounted(size: string, body: () => void): void {
    mkdirSync(cache, { mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'tsbcc-test', cache]);
    try {
      body();
    } finally {
      execFileSync('umount', [cache]);
    }
  }

  it('that is full costs a compilation each time, and keeps no part of an entry', () => {
    mounted('4k', () => {
      writeFileSync(path.join(cache, 'filler'), Buffer.alloc(statfsSync(cache).bavail * statfsSync(cache).bsize));
      expect([load(), load()]).toEqual(['process', 'process']);
      expect(readdirSync(cache)).toEqual(['filler']);
    });
  });

  it('that is read-only serves what it holds, and compiles what it does not', () => {
    mounted('1m', () => {
      filledEntry();
      execFileSync('mount', ['-o', 'remount,ro', cache]);
      expect(load()).toBe('cache');
      const changed = { cflags: ['-DANSWER=42', '-DMORE'] };
      expect([load(changed), load(changed)]).toEqual(['process', 'process']);
      expect(readdirSync(cache)).toHaveLength(1);
    });
  });

  it('that cannot be made is done without', () => {
    writeFileSync(path.join(folder, 'file'), '');
    expect(load({ cache: path.join(folder, 'file', 'cache') })).toBe('process');
  });

  it.each([
    ['is a symbolic link', () => replaceByLink(cache)],
    ['its group can write', () => chmodSync(cache, 0o770)],
    ['others can write', () => chmodSync(cache, 0o777)],
    ['belongs to another user', () => chownSync(cache, NOBODY, NOBODY)],
  ])('that %s is neither read nor written', (_what, spoil) => {
    filledEntry();
    spoil();
    expect([load(), load({ cflags: ['-DANSWER=42', '-DMORE'] })]).toEqual(['process', 'process']);
    expect(readdirSync(cache)).toHaveLength(1);
  });

  it('is filled by several processes at once, with one whole entry', async () => {
    const script = `
      const { BCC } = require(${JSON.stringify(LIB)});
      const b = new BCC(${JSON.stringify({ ...options, cache })});
      b.table('answers').set(0, 1n);
      b.close();`;
    const children = Array.from({ length: 4 }, () => spawn(process.execPath, ['-e', script], { stdio: 'inherit' }));
    expect(await Promise.all(children.map((child) => once(child, 'exit')))).toEqual(children.map(() => [0, null]));
    expect(readdirSync(cache)).toHaveLength(1);
    decodeProgram(readFileSync(path.join(cache, readdirSync(cache)[0]!)));
  });

  it('is bounded in size: what was used longest ago goes', () => {
    const entry = filledEntry();
    const hoursAgo = (file: string, hours: number) => {
      const then = new Date(Date.now() - hours * 3_600_000);
      utimesSync(file, then, then);
    };
    for (const [index, name] of ['new.tsbcc', 'middle.tsbcc', 'old.tsbcc'].entries()) {
      const file = path.join(cache, name);
      writeFileSync(file, '');
      truncateSync(file, Math.floor(CACHE_BYTES * 0.45));
      hoursAgo(file, index + 1);
    }
    hoursAgo(entry, 9);
    expect(load()).toBe('cache');
    expect(load({ cflags: ['-DANSWER=42', '-DMORE'] })).toBe('process');
    const left = readdirSync(cache);
    expect(left).toHaveLength(4);
    expect(left).toEqual(expect.arrayContaining([path.basename(entry), 'new.tsbcc', 'middle.tsbcc']));
  });

  it('is cleared of entries and of what writers that were killed left', () => {
    const entry = filledEntry();
    writeFileSync(`${entry}.4711.00ff`, readFileSync(entry).subarray(0, 100));
    expect(load()).toBe('cache');
    expect(listCache(cache)).toHaveLength(2);
    expect(clearCache(cache)).toBe(2);
    expect(readdirSync(cache)).toEqual([]);
  });
});

describe('an entry', () => {
  it.each([
    ['is a symbolic link to a good one', (entry: string) => replaceByLink(entry)],
    ['others can write', (entry: string) => chmodSync(entry, 0o622)],
    ['belongs to another user', (entry: string) => chownSync(entry, NOBODY, NOBODY)],
    ['is empty', (entry: string) => writeFileSync(entry, '')],
  ])('that %s is not loaded', (_what, spoil) => {
    const entry = filledEntry();
    spoil(entry);
    expect(load()).toBe('process');
  });

  /** All 10,000 take some minutes: TSBCC_MUTATIONS=10000. */
  const mutations = Number(process.env.TSBCC_MUTATIONS ?? 100);

  it(`with any one byte changed, or cut short, is compiled anew (${mutations} times)`, () => {
    // Stands in for the compiler: from now on an entry that is refused shows by its failure, without 100 ms of LLVM.
    const real = compilerFile();
    const wrapper = path.join(folder, 'compiler');
    writeFileSync(wrapper, `#!/bin/sh\n[ -e ${folder}/stop ] && exit 99\nexec ${real}\n`, { mode: 0o755 });
    process.env.TSBCC_COMPILER = wrapper;
    try {
      const entry = filledEntry();
      const whole = readFileSync(entry);
      writeFileSync(path.join(folder, 'stop'), '');
      const compile = () => BCC.compile({ ...options, cache });
      expect(compile().origin.text).toBe(TEXT);
      // A linear congruential generator: the same mutations at every run.
      let state = 20261123;
      const next = (below: number) => {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0;
        return Math.floor((state / 2 ** 32) * below);
      };
      for (let i = 0; i < mutations; i++) {
        const changed = Buffer.from(whole.subarray(0, i % 5 === 0 ? next(whole.length) : whole.length));
        const at = next(changed.length);
        if (i % 5 !== 0) changed[at] = changed[at]! ^ (1 + next(255));
        writeFileSync(entry, changed);
        expect(compile).toThrow(/status 99/);
      }
      writeFileSync(entry, whole);
      expect(compile().origin.text).toBe(TEXT);
    } finally {
      restoreCompiler();
    }
  }, 1_200_000);

  it.each([
    ['an environment variable of the compiler', () => (process.env.C_INCLUDE_PATH = folder)],
    [
      'another compiler',
      () => {
        writeFileSync(
          path.join(folder, 'compiler'),
          `#!/bin/sh\nexec ${path.join(LIB, '../build/Release/compiler')}\n`,
          { mode: 0o755 },
        );
        process.env.TSBCC_COMPILER = path.join(folder, 'compiler');
      },
    ],
  ])('is not used with %s', (_what, change) => {
    filledEntry();
    change();
    try {
      expect(load()).toBe('process');
    } finally {
      delete process.env.C_INCLUDE_PATH;
      restoreCompiler();
    }
  });
});

describe('an entry is another one', () => {
  it.each([
    ['headers in another mode', { headers: { mode: 'btf', trim: false } }],
    ['text before the program', { hdrFile: 'before.h' }],
    ['losses counted', { countLost: true, text: `BPF_RINGBUF_OUTPUT(ring, 1); ${TEXT}` }],
    ['a limit on locked memory', { allowRlimit: false }],
  ])('for %s', (_what, changes) => {
    const { hdrFile } = changes as { hdrFile?: string };
    if (hdrFile) writeFileSync(path.join(folder, hdrFile), 'static inline u64 reader(void) { return 0; }');
    const all = { ...changes, ...(hdrFile && { hdrFile: path.join(folder, hdrFile) }) };
    expect([load(), load(all), load(all), load()]).toEqual(['process', 'process', 'cache', 'cache']);
  });

  itIf('btf', 'for another build of the kernel', () => {
    const notes = path.join(folder, 'notes');
    writeFileSync(notes, Buffer.concat([readFileSync('/sys/kernel/notes'), Buffer.alloc(4)]));
    const btf = { headers: 'btf' };
    expect([load(btf), load(btf)]).toEqual(['process', 'cache']);
    execFileSync('mount', ['--bind', notes, '/sys/kernel/notes']);
    try {
      expect(load(btf)).toBe('process');
    } finally {
      execFileSync('umount', ['/sys/kernel/notes']);
    }
    expect(load(btf)).toBe('cache');
  });
});

describe('a program file', () => {
  let file: string;
  beforeEach(() => {
    file = path.join(folder, 'program.tsbcc');
    writeFileSync(path.join(folder, 'program.c'), TEXT);
    execFileSync(process.execPath, [CLI, 'compile', path.join(folder, 'program.c'), '-D', 'ANSWER=42', '-o', file]);
  });

  const change = (how: (program: CompiledProgram) => void) => {
    const program = decodeProgram(readFileSync(file));
    how(program);
    writeFileSync(file, encodeProgram(program));
  };

  it('is loaded without a compiler', () => {
    process.env.TSBCC_COMPILER = '/nonexistent/compiler';
    try {
      using b = new BCC({ program: file });
      expect(b.compiledBy).toBe('file');
      b.attachTracepoint({ tp: 'syscalls:sys_enter_sync', fnName: 'on_sync' });
      runProcess('/bin/sync');
      expect(b.table('answers').get(0)).toBe(42n);
    } finally {
      restoreCompiler();
    }
  });

  it.each([
    ['architecture', 'the architecture riscv64', (program: CompiledProgram) => (program.origin.arch = 'riscv64')],
    ['kernel', 'the kernel 4.4.0-1-old', (program: CompiledProgram) => (program.origin.kernelRelease = '4.4.0-1-old')],
    [
      'build of the kernel',
      'another build of the kernel',
      (program: CompiledProgram) => (program.origin.btf = 'ff'.repeat(32)),
    ],
  ])('for another %s is refused by name, and compiled where the text is there', (_what, message, how) => {
    change(how);
    const error = expect.objectContaining({
      code: 'ERR_BCC_PROGRAM_KERNEL',
      message: expect.stringContaining(message),
    });
    expect(() => new BCC({ program: file })).toThrow(error);
    const source = { program: file, text: undefined, srcFile: path.join(folder, 'program.c') };
    expect([load(source), load(source)]).toEqual(['process', 'cache']);
  });

  it('for another kernel is compiled with the event loop free by BCC.load', async () => {
    change((program) => (program.origin.kernelRelease = '4.4.0-1-old'));
    const go = path.join(folder, 'go');
    const wrapper = path.join(folder, 'compiler');
    const wait = `for i in $(seq 100); do [ -e ${go} ] && exec ${compilerFile()}; sleep 0.1; done; exit 98`;
    writeFileSync(wrapper, `#!/bin/sh\n${wait}\n`, { mode: 0o755 });
    process.env.TSBCC_COMPILER = wrapper;
    try {
      const loading = BCC.load({ program: file, ...options, cache });
      writeFileSync(go, '');
      using b = await loading;
      expect(b.compiledBy).toBe('process');
    } finally {
      restoreCompiler();
    }
  });

  it('whose extern table is exported with another shape is refused, and compiled where the text is there', () => {
    const text = 'BPF_TABLE("extern", u32, u64, cache_test_shape, 8);';
    {
      using _hash = new BCC('BPF_TABLE_PUBLIC("hash", u32, u64, cache_test_shape, 8);');
      writeFileSync(file, encodeProgram(BCC.compile(text)));
      using _user = new BCC({ program: file });
    }
    using _array = new BCC('BPF_TABLE_PUBLIC("array", u32, u32, cache_test_shape, 8);');
    const error = expect.objectContaining({
      code: 'ERR_BCC_EXTERN_TABLE',
      message: expect.stringContaining('cache_test_shape'),
    });
    expect(() => new BCC({ program: file })).toThrow(error);
    using user = new BCC({ program: file, text });
    user.table('cache_test_shape').set(1, 7);
    expect(user.table('cache_test_shape').get(1)).toBe(7);
  });

  it('of another version of the format, or damaged, is refused by name, and compiled where the text is there', () => {
    const whole = readFileSync(file);
    const other = Buffer.from(whole);
    other.writeUInt32LE(1, 8);
    const flipped = Buffer.from(whole);
    flipped[whole.length - 3]! ^= 1;
    for (const [bytes, message] of [
      [other, /version 1/],
      [flipped, /digest/],
      [whole.subarray(0, 60), /cut short/],
      [Buffer.from('int f(void *ctx)'), /does not begin/],
    ] as const) {
      writeFileSync(file, bytes);
      expect(() => new BCC({ program: file })).toThrow(message);
      expect(load({ program: file })).toMatch(/process|cache/);
    }
  });
});

describe('from the cache too', () => {
  const twice = (use: () => string[]) =>
    expect([use(), use()]).toEqual([
      ['process', 'process'],
      ['cache', 'cache'],
    ]);

  /** A program that writes 4 under 3 into another program's table. */
  const WRITER = `#define THEIRS "extern"
    #define EXTERN(name) BPF_TABLE(THEIRS, u32, u64, name, 64)
    EXTERN(cache_test_counts);
    int on_sync(void *ctx) { u32 key = 3; u64 value = 4; cache_test_counts.update(&key, &value); return 0; }`;

  it.each([
    ['BPF_TABLE_PUBLIC', 'BPF_TABLE_PUBLIC("hash", u32, u64, cache_test_counts, 64);'],
    [
      'BPF_TABLE_PUBLIC behind a macro',
      '#define COUNTS(name) BPF_TABLE_PUBLIC("hash", u32, u64, name, 64)\nCOUNTS(cache_test_counts);',
    ],
    [
      'BPF_TABLE_SHARED behind a macro',
      '#define COUNTS(kind, name) BPF_TABLE_##kind("percpu_array", u32, u64, name, 64)\nCOUNTS(SHARED, cache_test_counts);',
    ],
  ])('extern tables find what %s exports', (_macro, text) => {
    twice(() => {
      using first = new BCC({ text, cache });
      using second = new BCC({ text: WRITER, cache });
      second.attachTracepoint({ tp: 'syscalls:sys_enter_sync', fnName: 'on_sync' });
      runProcess('/bin/sync');
      const value = first.table('cache_test_counts').get(3);
      expect([value].flat().reduce((sum: bigint, one) => sum + (one as bigint), 0n)).toBe(4n);
      return [first.compiledBy, second.compiledBy];
    });
  });

  it('a queue behind a macro that exports it is found by its name', () => {
    twice(() => {
      using first = new BCC({
        text: '#define WORK(name) BPF_QUEUESTACK_PUBLIC("queue", name, u64, 8, 0)\nWORK(cache_test_work);',
        cache,
      });
      using second = new BCC({
        text: `BPF_QUEUESTACK("extern", cache_test_work, u64, 8, 0);
          int on_sync(void *ctx) { u64 value = 5; cache_test_work.push(&value, 0); return 0; }`,
        cache,
      });
      second.attachTracepoint({ tp: 'syscalls:sys_enter_sync', fnName: 'on_sync' });
      runProcess('/bin/sync');
      expect(first.table('cache_test_work').pop()).toBe(5n);
      return [first.compiledBy, second.compiledBy];
    });
  });

  it('an extern table that is exported with another shape is compiled anew', () => {
    const source = (table: string) => {
      using _first = new BCC({ text: `BPF_TABLE_PUBLIC(${table});`, cache });
      using second = new BCC({ text: WRITER, cache });
      second.attachTracepoint({ tp: 'syscalls:sys_enter_sync', fnName: 'on_sync' });
      return second.compiledBy;
    };
    const hash = '"hash", u32, u64, cache_test_counts, 64';
    const array = '"array", u32, u64, cache_test_counts, 8';
    expect([hash, hash, array, array].map(source)).toEqual(['process', 'cache', 'process', 'cache']);
  });

  it("a table of a program's own hides an exported one of its name, and is exported where it says so", () => {
    const own = (macro: string) => `${macro}("hash", u32, u64, cache_test_hidden, 8);\n${WRITER}`;
    twice(() => {
      using _counts = new BCC({ text: 'BPF_TABLE_PUBLIC("hash", u32, u64, cache_test_counts, 64);', cache });
      using other = new BCC({ text: 'BPF_TABLE_PUBLIC("hash", u32, u64, cache_test_hidden, 64);', cache });
      using plain = new BCC({ text: own('BPF_TABLE'), cache });
      using shared = new BCC({ text: own('BPF_TABLE_SHARED'), cache });
      other.table('cache_test_hidden').set(1, 10n);
      plain.table('cache_test_hidden').set(1, 20n);
      shared.table('cache_test_hidden').set(1, 30n);
      const copy = (b: BCC) => b.table('cache_test_hidden').get(1);
      expect([other, plain, shared].map(copy)).toEqual([10n, 20n, 30n]);
      using user = new BCC({ text: 'BPF_TABLE("extern", u32, u64, cache_test_hidden, 8);', cache });
      expect(copy(user)).toBe(30n);
      return [plain.compiledBy, shared.compiledBy];
    });
  });

  itIf('bpffs', 'a pinned table is found again, behind macros too', () => {
    const at = path.join('/sys/fs/bpf', `tsbcc-cache-test-${process.pid}`);
    const text = `#define WHERE "${at}"
      #define KEPT(name) BPF_TABLE_PINNED("hash", u32, u64, name, 8, WHERE)
      KEPT(kept);`;
    try {
      const values = [1n, 2n].map((value) => {
        using b = new BCC({ text, cache });
        const kept = b.table('kept');
        const before = kept.get(1);
        kept.set(1, value);
        return [b.compiledBy, before];
      });
      expect(values).toEqual([
        ['process', undefined],
        ['cache', 1n],
      ]);
    } finally {
      rmSync(at, { force: true });
    }
  });

  it('maps of maps find their template, behind a macro too', () => {
    twice(() => {
      using b = new BCC({
        text: `#define TEMPLATE "inner"
          BPF_ARRAY(inner, u64, 2);
          BPF_HASH_OF_MAPS(outer, u32, TEMPLATE, 4);
          int on_sync(void *ctx) {
            u32 key = 7; int one = 1;
            void *map = outer.lookup(&key);
            if (!map) return 0;
            u64 *value = bpf_map_lookup_elem(map, &one);
            if (value) *value = 9;
            return 0;
          }`,
        cache,
      });
      const outer = b.table('outer');
      outer.set(7, b.table('inner'));
      b.attachTracepoint({ tp: 'syscalls:sys_enter_sync', fnName: 'on_sync' });
      runProcess('/bin/sync');
      expect(b.table('inner').get(1)).toBe(9n);
      return [b.compiledBy, b.compiledBy];
    });
  });

  it('a tracepoint whose format has changed is another program', () => {
    const format = '/sys/kernel/tracing/events/syscalls/sys_enter_sync/format';
    const text = `TRACEPOINT_PROBE(syscalls, sys_enter_sync) { return 0; }`;
    const source = () => {
      using b = new BCC({ text, cache });
      return b.compiledBy;
    };
    const changed = path.join(folder, 'format');
    writeFileSync(changed, readFileSync(format, 'utf8').replace('__syscall_nr', '__syscall_no'));
    const places = ['/sys/kernel/debug/tracing', '/sys/kernel/tracing']
      .map((root) => format.replace('/sys/kernel/tracing', root))
      .filter(existsSync);
    expect([source(), source()]).toEqual(['process', 'cache']);
    for (const place of places) execFileSync('mount', ['--bind', changed, place]);
    try {
      expect(source()).toBe('process');
    } finally {
      for (const place of places) execFileSync('umount', [place]);
    }
    expect(source()).toBe('cache');
  });
});

describe('BCC.load', () => {
  it('compiles several programs at the same time', async () => {
    // Each compiler waits until all three are there: one after the other they would wait in vain.
    const wrapper = path.join(folder, 'compiler');
    writeFileSync(
      wrapper,
      `#!/bin/sh
touch ${folder}/here.$$
for i in $(seq 200); do
  set -- ${folder}/here.*
  [ $# -ge 3 ] && exec ${compilerFile()}
  sleep 0.1
done
exit 98\n`,
      { mode: 0o755 },
    );
    process.env.TSBCC_COMPILER = wrapper;
    try {
      const programs = await Promise.all(
        [1, 2, 3].map((n) => BCC.load({ text: `int f${n}(void *ctx) { return 0; }`, cache })),
      );
      expect(programs.map((b) => [b.compiledBy, b.functions])).toEqual([1, 2, 3].map((n) => ['process', [`f${n}`]]));
      for (const b of programs) b.close();
    } finally {
      restoreCompiler();
    }
  });
});
