import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCC, type CompileError } from '../../src';
import { compilerFile } from '../../src/program/compiler';
import { requireRoot, withTempDir } from '../helpers';

/* From C text and files to a compiled program: the compiler's messages, and the cache. */

requireRoot();

describe('compile errors', () => {
  const failure = (text: string, options = {}): CompileError => {
    try {
      new BCC({ text, ...options }).close();
    } catch (error) {
      return error as CompileError;
    }
    throw new Error('it compiled');
  };

  it("stand in the user's own lines and columns", () => {
    const error = failure('BPF_PERF_OUTPUT(e);\nint f(void *ctx) {\n  int x = y;\n  return 0;\n}');
    expect(error.name).toBe('CompileError');
    expect(error.diagnostics).toContainEqual(
      expect.objectContaining({ file: '/virtual/main.c', line: 3, column: 11, severity: 'error' }),
    );
    expect(error.message).toContain("undeclared identifier 'y'");
  });

  it('name a function that exists nowhere', () => {
    expect(failure('int f(void *ctx) { return no_such_function(1); }').message).toContain('no_such_function');
  });

  it('come from a compiler that LLVM ends as well', () => {
    const error = failure(
      'int f(void *ctx) { volatile char big[2000]; big[bpf_get_prandom_u32() % 2000] = 1; return big[3]; }',
    );
    expect(error.name).toBe('CompileError');
    expect(error.message).toMatch(/stack/);
  });

  it('are given before anything else for options that make no sense', () => {
    expect(() => new BCC({ text: 'int x;', cflags: ['-DX', '-include'] })).toThrow(
      new TypeError("cflags: '-include' wants a value after it"),
    );
    expect(() => new BCC({ text: 'int f(void *ctx) { return 0; }', cflags: ['-I', '-I'] }).close()).not.toThrow();
    expect(() => new BCC({ txt: 'x' } as never)).toThrow(/unknown option "txt": did you mean text\?/);
    expect(() => new BCC(7 as never)).toThrow(TypeError);
    expect(() => new BCC('int x;', 7 as never)).toThrow(new TypeError('options must be an object, not 7'));
    expect(() => new BCC('int x;', { text: 'int y;' } as never)).toThrow(/text is given twice/);
    expect(() => BCC.compile('int x;', { cflag: ['-DX'] } as never)).toThrow(/did you mean cflags\?/);
    expect(() => new BCC({ text: 'x', srcFile: 'y' })).toThrow(TypeError);
    expect(() => new BCC({ srcFile: '/no/such/file.c' })).toThrow(/file\.c does not exist/);
  });
});

describe('options', () => {
  const text = 'BPF_ARRAY(line, u32, LENGTH);';
  const options = { cflags: ['-DLENGTH=7'] };

  it('follow the text, or stand beside it', async () => {
    using given = new BCC(text, options);
    using beside = new BCC({ text, ...options });
    using loaded = await BCC.load(text, { ...options, signal: new AbortController().signal });
    for (const { program } of [given, beside, loaded, { program: BCC.compile(text, options) }]) {
      expect(program.tables).toEqual([expect.objectContaining({ name: 'line', maxEntries: 7 })]);
    }
  });
});

describe('BCC.load', () => {
  it('rejects options that make no sense', async () => {
    await expect(BCC.load('int x;', { cflag: [] } as never)).rejects.toThrow(/did you mean cflags\?/);
    await expect(BCC.load('int x;', { signal: 7 } as never)).rejects.toThrow('signal must be an AbortSignal, not 7');
  });

  it('leaves the event loop free while it compiles', async () => {
    await withTempDir(async (folder) => {
      // A compiler that begins only when this thread has found the time to tell it to.
      const go = path.join(folder, 'go');
      const patient = path.join(folder, 'compiler');
      const wait = `for i in $(seq 300); do [ -e ${go} ] && exec ${compilerFile()}; sleep 0.1; done; exit 98`;
      writeFileSync(patient, `#!/bin/sh\n${wait}\n`, { mode: 0o755 });
      const own = process.env.TSBCC_COMPILER;
      process.env.TSBCC_COMPILER = patient;
      try {
        const loading = BCC.load({ text: 'BPF_HASH(h); int f(void *ctx) { return 0; }', cache: false });
        setTimeout(() => writeFileSync(go, ''), 50);
        using b = await loading;
        expect(b.functions).toEqual(['f']);
      } finally {
        if (own === undefined) delete process.env.TSBCC_COMPILER;
        else process.env.TSBCC_COMPILER = own;
      }
    });
  });

  it('ends the compiler when it is aborted', async () => {
    const signal = AbortSignal.timeout(50);
    await expect(BCC.load({ text: 'BPF_HASH(h);', cache: false }, { signal })).rejects.toThrow(/abort/i);
  });

  it('loads nothing for a signal that is aborted already, not even from the cache', async () => {
    new BCC('BPF_HASH(h);').close();
    await expect(BCC.load('BPF_HASH(h);', { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
  });
});

describe('files', () => {
  let folder: string;
  let started: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-files-'));
    started = process.cwd();
    mkdirSync(path.join(folder, 'headers'));
    writeFileSync(path.join(folder, 'headers', 'answer.h'), '#define ANSWER 42\r\n');
    process.chdir(folder);
  });
  afterEach(() => {
    process.chdir(started);
    rmSync(folder, { recursive: true });
  });
  const answer = (b: BCC) => b.disassembleFunc('f').includes('r0 = 42');

  it('are found in folders that flags name from where the process works', () => {
    const text = '#include "answer.h"\nint f(void *ctx) { return ANSWER; }';
    for (const cflags of [['-Iheaders'], ['-I', 'headers'], ['-isystem', 'headers']]) {
      using b = new BCC({ text, cflags });
      expect(answer(b)).toBe(true);
    }
    const included = { text: 'int f(void *ctx) { return ANSWER; }', cflags: ['-include', 'headers/answer.h'] };
    using b = new BCC(included);
    expect(answer(b)).toBe(true);
  });

  it('are found beside the file that includes them, in quotes, as C has it', () => {
    const text = '\ufeff#include "answer.h"\r\n#include <linux/sched.h>\r\nint f(void *ctx) { return ANSWER; }\r\n';
    writeFileSync(path.join(folder, 'headers', 'program.c'), text);
    using b = new BCC({ srcFile: 'headers/program.c' });
    expect(answer(b)).toBe(true);
  });
});

it("prints the compiler's warnings once for each program, as Node prints warnings", () => {
  const script = `
    const { BCC } = require(${JSON.stringify(path.join(__dirname, '..', '..', 'lib'))});
    const b = new BCC('int f(void *ctx) {\\n  bpf_trace_printk("%f");\\n  return 0;\\n}');
    process.once('warning', ({ name, message }) => console.log(name, message === b.warnings, b.warnings));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
  expect(stdout).toMatch(
    /^CompileWarning true line 2, column \d+: warning: only %d .* conversion specifiers allowed\n/,
  );
  expect(stderr.match(/CompileWarning/g)).toHaveLength(1);
});

describe('the cache', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-cache-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const text = 'BPF_HASH(h, u32, u32);';
  const source = (options: object) => {
    using b = new BCC({ text, cache: folder, ...options });
    return b.compiledBy;
  };

  it('serves a program again, and not one with other flags', () => {
    expect([source({}), source({}), source({ cflags: ['-DX=1'] })]).toEqual(['process', 'cache', 'process']);
  });

  it('compiles anew where an entry is damaged, a link, or writable by others', () => {
    expect(source({})).toBe('process');
    const [name] = readdirSync(folder);
    const entry = path.join(folder, name!);
    writeFileSync(entry, 'damaged');
    expect(source({})).toBe('process');
    rmSync(entry);
    symlinkSync('/etc/hostname', entry);
    expect(source({})).toBe('process');
  });

  it('sees that a header of the user has changed', () => {
    const header = path.join(folder, 'mine.h');
    const program = { text: '#include "mine.h"\nBPF_HASH(h, u32, struct mine);', cflags: [`-I${folder}`] };
    writeFileSync(header, 'struct mine { u32 a; };');
    expect(source(program)).toBe('process');
    expect(source(program)).toBe('cache');
    writeFileSync(header, 'struct mine { u64 a; u64 b; };');
    expect(source(program)).toBe('process');
  });
});
