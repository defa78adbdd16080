import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCC, CompileError } from 'tsbcc';
import { resolveHeaders } from '../../src/kernel/headers';
import { type CompilerRequest, compilerFile, runCompilerSync } from '../../src/program/compiler';
import { encodeRequest } from '../../src/program/wire';
import { itIf } from '../helpers';

/* The compiler's own process: what it is asked, what it answers, and what becomes of it when something goes wrong. */

const PROGRAM = `struct event { u32 pid; };
BPF_RINGBUF_OUTPUT(events, 1);
BPF_HASH(counts, u32, u64);
int on_call(void *ctx) { struct event e = { 1 }; counts.increment(e.pid); return events.ringbuf_output(&e, sizeof(e), 0); }`;

function request(changes: Partial<CompilerRequest> = {}): CompilerRequest {
  return {
    debug: 0,
    allowRlimit: true,
    helpers: 'ask',
    device: undefined,
    cflags: [],
    exported: [],
    texts: [PROGRAM],
    ...changes,
  };
}

function environment(text = PROGRAM): NodeJS.ProcessEnv {
  const { path } = resolveHeaders(undefined, text);
  return path === '' ? process.env : { ...process.env, BCC_KERNEL_SOURCE: path };
}

it('tells its version without compiling', () => {
  expect(spawnSync(compilerFile(), ['--version'], { encoding: 'utf8' })).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^libbcc \d+\.\d+\.\d+\n$/),
  });
});

itIf('root', 'answers with functions, tables and BTF as plain data', () => {
  const { code, result } = runCompilerSync(request(), environment());
  expect(code).toBe(0);
  expect(result).toMatchObject({
    text: 0,
    license: 'GPL',
    functions: [{ name: 'on_call' }],
    tables: [
      { name: 'counts', type: 1, keySize: 4, leafSize: 8, maxEntries: 10240, keyDesc: '"unsigned int"' },
      { name: 'events', type: 27, maxEntries: 4096 },
    ],
  });
  expect(result!.functions[0]!.insns.length % 8).toBe(0);
});

itIf('root', 'takes the second text where the first does not compile, and keeps its messages alone', () => {
  const { result, messages } = runCompilerSync(request({ texts: ['int broken(', PROGRAM] }), environment());
  expect(result!.text).toBe(1);
  expect(messages).toBe('');
  const refused = runCompilerSync(
    request({ texts: ['struct event broken(', 'int f(void *c) { return x; }'] }),
    environment(),
  );
  expect(refused).toMatchObject({ code: 65, result: undefined });
  expect(refused.messages).toContain("use of undeclared identifier 'x'");
  expect(refused.messages).not.toContain('struct event');
});

itIf('root', 'knows of a kernel without bpf_probe_read_kernel', () => {
  const text = `int on_call(void *ctx) { u64 x = 0; bpf_probe_read_kernel(&x, sizeof(x), ctx); return x; }`;
  /** The helpers that the program calls, by number. */
  const helpers = (given: CompilerRequest['helpers']) => {
    const { insns } = runCompilerSync(request({ helpers: given, texts: [text] }), environment(text)).result!
      .functions[0]!;
    const view = new DataView(insns.buffer);
    return Array.from({ length: insns.length / 8 }, (_, i) => i * 8)
      .filter((at) => insns[at] === 0x85)
      .map((at) => view.getInt32(at + 4, true));
  };
  expect(helpers('present')).toEqual([113]);
  expect(helpers('ask')).toEqual([113]);
  expect(helpers('absent')).toEqual([4]);
});

itIf(
  'root',
  'tells the template of a map of maps and where a map is to be pinned, behind macros too, and pins nothing',
  () => {
    const text = `#define MAPS(name) BPF_HASH_OF_MAPS(name, u32, "inner", 8)
    #define WHERE "/sys/fs/bpf/tsbcc-test-compiler"
    BPF_ARRAY(inner, u32, 4);
    MAPS(outer);
    BPF_TABLE_PINNED("hash", u32, u32, kept, 8, WHERE);`;
    const { tables } = BCC.compile({ text, cache: false });
    expect(tables).toMatchObject([
      { name: 'inner' },
      { name: 'kept', pinned: '/sys/fs/bpf/tsbcc-test-compiler' },
      { name: 'outer', innerMap: 'inner' },
    ]);
    expect(existsSync('/sys/fs/bpf/tsbcc-test-compiler')).toBe(false);
  },
);

it('refuses a request that is cut short', () => {
  const whole = encodeRequest(request());
  for (const length of [0, 3, 20, whole.length - 1]) {
    const { status, stderr } = spawnSync(compilerFile(), { input: whole.subarray(0, length), encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 64, stderr: "the compiler's request: the request is cut short\n" });
  }
});

describe('a compiler that dies', () => {
  const stand = process.env.TSBCC_COMPILER;
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-compiler-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
    if (stand === undefined) delete process.env.TSBCC_COMPILER;
    else process.env.TSBCC_COMPILER = stand;
  });

  itIf('root', 'is a CompileError that says why, for the constructor and for load', async () => {
    // LLVM 14 cannot select an instruction for this and aborts.
    const text = `typedef int __attribute__((address_space(1))) *percpu;
      int on_call(void *ctx) { percpu p = (percpu)bpf_ktime_get_ns(); return *(volatile int *)(int *)p; }`;
    const error = expect.objectContaining({
      name: 'CompileError',
      message: expect.stringMatching(/^LLVM gave up on a per-CPU pointer/),
    });
    expect(() => new BCC({ text, cache: false })).toThrow(error);
    await expect(BCC.load({ text, cache: false })).rejects.toThrow(error);
  });

  /** Has this script of a shell stand in for the compiler. */
  function standIn(script: string): void {
    const file = path.join(folder, 'compiler');
    writeFileSync(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    process.env.TSBCC_COMPILER = file;
  }

  it.each([
    ['is killed', 'kill -KILL $$', /^the compiler ended by SIGKILL/],
    [
      'is killed in the middle of its result',
      'head -c 5 /dev/zero >&3; kill -KILL $$',
      /^the compiler ended by SIGKILL/,
    ],
    ['ends well with half a result', 'head -c 5 /dev/zero >&3', /result of the compiler is cut short/],
    ['ends well without a result', 'cat >/dev/null', /./],
    ['does not read its request', 'exec <&-; echo "main.c: no" >&2; exit 7', /status 7/],
  ])('that %s is an error and leaves nothing in the cache', async (_how, script, message) => {
    standIn(script);
    const cache = path.join(folder, 'cache');
    const options = { text: PROGRAM + '/* '.padEnd(300_000, 'x') + '*/', cache };
    expect(() => BCC.compile(options)).toThrow(message);
    await expect(BCC.load(options)).rejects.toThrow(message);
    expect(readdirSync(cache)).toEqual([]);
  });

  it('is told apart from one that was never built', () => {
    process.env.TSBCC_COMPILER = '/nonexistent/compiler';
    const error: unknown = (() => {
      try {
        return BCC.compile({ text: PROGRAM, cache: false });
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(error).toBeInstanceOf(CompileError);
    expect(error).toMatchObject({ code: 'ERR_BCC_COMPILER_PROCESS', hint: expect.stringContaining('npm run build') });
  });
});
