import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { BPFProgType } from '../../src/constants';
import { explainLoadFailure, ownLine, parseVerifierLog } from '../../src/program/verifier-log';

const FOLDER = path.join(__dirname, '../fixtures/verifier');
const EACCES = 13;

const { KPROBE, SOCKET_FILTER, TRACEPOINT, XDP } = BPFProgType;

/** Logs that Linux 6.18 wrote for the programs beside them. */
const RECORDED: Record<string, { type?: number; code: string; message: RegExp; hint?: RegExp; line?: number }> = {
  'argument-type': { code: 'ERR_BCC_ARGUMENT', message: /argument 2 of bpf_map_update_elem is the context/, line: 4 },
  'context-arithmetic': { code: 'ERR_BCC_CONTEXT', message: /at offset 72000/, line: 1 },
  'context-offset': {
    type: SOCKET_FILTER,
    code: 'ERR_BCC_CONTEXT',
    message: /a socket filter may not .* 8 bytes at offset 152/,
    line: 2,
  },
  'context-variable': { code: 'ERR_BCC_CONTEXT', message: /computed at run time/, line: 2 },
  'context-write': { code: 'ERR_BCC_CONTEXT', message: /a tracepoint program may not write the 8 bytes/, line: 2 },
  'division-by-zero': { code: 'ERR_BCC_INSTRUCTION', message: /divides by the constant zero/ },
  'frame-pointer': { code: 'ERR_BCC_INSTRUCTION', message: /R10/, line: 1 },
  'helper-size': {
    code: 'ERR_BCC_STACK_BOUNDS',
    message: /bpf_probe_read_kernel is given up to 127 bytes .* at most 64/,
    line: 4,
  },
  'helper-not-allowed': { type: KPROBE, code: 'ERR_BCC_HELPER', message: /a kprobe may not call bpf_probe_write_user/ },
  'index-not-bounded': { code: 'ERR_BCC_BOUNDS', message: /no bound .* the table cells/, line: 8 },
  'jump-out': { code: 'ERR_BCC_JUMP', message: /a function that does not exist/ },
  'leaf-bounds': { code: 'ERR_BCC_BOUNDS', message: /size 1 at offset 70, and the leaf has 64 bytes/, line: 7 },
  'map-descriptor': { code: 'ERR_BCC_MAP', message: /descriptor 999/ },
  'null-check': { code: 'ERR_BCC_NULL_CHECK', message: /a leaf of the table seen/, line: 5 },
  'packet-bounds': { type: XDP, code: 'ERR_BCC_PACKET_BOUNDS', message: /long enough/, line: 4 },
  'pointer-arithmetic': { code: 'ERR_BCC_POINTER_ARITHMETIC', message: /computes with a pointer/, line: 3 },
  'record-after-submit': { code: 'ERR_BCC_POINTER', message: /it writes memory/, hint: /gone after/, line: 7 },
  'register-not-set': { code: 'ERR_BCC_UNINITIALIZED', message: /never set/, line: 3 },
  'size-not-bounded': { code: 'ERR_BCC_BOUNDS', message: /argument 2 of bpf_probe_read_kernel, a size/, line: 4 },
  'spin-lock': { code: 'ERR_BCC_LOCK', message: /that trace may not use/ },
  'stack-index': { code: 'ERR_BCC_STACK_BOUNDS', message: /an index into a local array/, hint: /mask it/, line: 4 },
  'static-variable': { code: 'ERR_BCC_POINTER', message: /global or static variable/, hint: /BPF_ARRAY/, line: 3 },
  'tail-call': { code: 'ERR_BCC_ARGUMENT', message: /argument 2 of bpf_tail_call/ },
  'write-to-kernel': {
    type: KPROBE,
    code: 'ERR_BCC_POINTER',
    message: /it writes memory/,
    hint: /can write to/,
    line: 2,
  },
  'stack-bounds': { code: 'ERR_BCC_STACK_BOUNDS', message: /to -600/, line: 4 },
  'too-complex': { code: 'ERR_BCC_TOO_COMPLEX', message: /8193 jumps/, line: 6 },
  gpl: { code: 'ERR_BCC_GPL', message: /bpf_trace_printk is for programs under the GPL/ },
  reference: { code: 'ERR_BCC_REFERENCE', message: /bpf_ringbuf_reserve gave is not given back/ },
  shift: { code: 'ERR_BCC_INSTRUCTION', message: /shifts by 70 bits/ },
  unreachable: { code: 'ERR_BCC_UNREACHABLE', message: /instruction 1 can never run/ },
};

/** What kernels between 4.14 and 6.18 say, and the recorded programs do not provoke. */
const PHRASES: [phrase: string, code: string, message: RegExp][] = [
  ["R1 invalid mem access 'inv'", 'ERR_BCC_POINTER', /cannot vouch for/],
  ["R1 invalid mem access 'scalar'", 'ERR_BCC_POINTER', /cannot vouch for/],
  ["R0 invalid mem access 'sock_or_null'", 'ERR_BCC_NULL_CHECK', /may be NULL \(sock\)/],
  ['invalid indirect read from stack off -16+4 size 16', 'ERR_BCC_UNINITIALIZED', /never written/],
  ['invalid indirect read from stack R2 off -16+4 size 16', 'ERR_BCC_UNINITIALIZED', /never written/],
  ['invalid read from stack off -8+0 size 8', 'ERR_BCC_UNINITIALIZED', /never written/],
  ['invalid stack type R1 off=-600 access_size=8', 'ERR_BCC_STACK_BOUNDS', /512 bytes/],
  ['R0 !read_ok', 'ERR_BCC_UNINITIALIZED', /without a return value/],
  ['back-edge from insn 9 to 2', 'ERR_BCC_LOOP', /cannot see the end/],
  ['infinite loop detected at insn 4', 'ERR_BCC_LOOP', /cannot see the end/],
  ['BPF program is too large. Processed 1000001 insn', 'ERR_BCC_TOO_COMPLEX', /1000001 instructions/],
  ['unknown func bpf_get_stackid#27', 'ERR_BCC_HELPER', /may not call bpf_get_stackid/],
  ['invalid func unknown#113', 'ERR_BCC_HELPER', /bpf_probe_read_kernel, which this kernel does not have/],
  ['cannot call GPL only function from proprietary program', 'ERR_BCC_GPL', /under the GPL/],
  ['misaligned stack access off (0x0; 0x0)+0+-7 size 4', 'ERR_BCC_ALIGNMENT', /the stack at an address/],
  ['combined stack size of 2 calls is 576. Too large', 'ERR_BCC_STACK_LIMIT', /use 576 bytes/],
  ['R0 leaks addr as return value', 'ERR_BCC_LEAK', /unprivileged/],
  ['cannot pass map_type 27 into func bpf_map_lookup_elem#1', 'ERR_BCC_MAP_HELPER', /bpf_map_lookup_elem/],
  [
    'At program exit the register R0 has value (0x4d; 0x0) should have been in (0x0; 0x1)',
    'ERR_BCC_RETURN_VALUE',
    /0x1/,
  ],
  [
    'At program exit the register R0 has smin=77 smax=77 should have been in [0, 1]',
    'ERR_BCC_RETURN_VALUE',
    /\[0, 1\]/,
  ],
  ['math between map_value pointer and register with unbounded min value is not allowed', 'ERR_BCC_BOUNDS', /no bound/],
  ['unknown opcode 8d', 'ERR_BCC_OPCODE', /does not know/],
  ['calling kernel function bpf_task_acquire is not allowed', 'ERR_BCC_KFUNC', /bpf_task_acquire/],
  ['helper call might sleep in a non-sleepable prog', 'ERR_BCC_SLEEPABLE', /may sleep/],
];

function explain(name: string, type: number = TRACEPOINT) {
  const text = readFileSync(path.join(FOLDER, `${name}.c`), 'utf8');
  const log = readFileSync(path.join(FOLDER, `${name}.log`), 'utf8');
  return explainLoadFailure({ errno: EACCES, log, fnName: 'f', progType: type, text });
}

describe('a refused load', () => {
  it('is tried for every recorded log', () => {
    const recorded = readdirSync(FOLDER).filter((name) => name.endsWith('.log'));
    expect(recorded.map((name) => path.parse(name).name).sort()).toEqual(Object.keys(RECORDED).sort());
  });

  it.each(Object.entries(RECORDED))('is explained: %s', (name, { type, code, message, hint, line }) => {
    const failure = explain(name, type);
    expect(failure.code).toBe(code);
    expect(failure.message).toMatch(message);
    if (hint) expect(failure.hint).toMatch(hint);
    if (line !== undefined) expect(failure.excerpt).toContain(`\n    line ${line}: `);
  });

  it.each(PHRASES)('is explained: %s', (phrase, code, message) => {
    const failure = explainLoadFailure({
      errno: EACCES,
      log: `3: (95) exit\n${phrase}\n`,
      fnName: 'f',
      progType: TRACEPOINT,
    });
    expect(failure.code).toBe(code);
    expect(failure.message).toMatch(message);
    expect(failure.excerpt).toContain(phrase);
  });

  it('shows a line of the user besides one of a header', () => {
    const log =
      '; int f(void *ctx) { @ main.c:9\n0: (b7) r2 = 3\n; ((void (*)())4)(ctx); @ helpers.h:5\n2: (85) call x#12\nno\n';
    const { excerpt } = explainLoadFailure({
      errno: EACCES,
      log,
      fnName: 'f',
      text: 'int f(void *ctx) {\n  g(ctx);\n}',
    });
    expect(excerpt).toContain('\n    in: ((void (*)())4)(ctx);\n    after line 1: int f(void *ctx) {\n');
  });

  it("shows the user's line, the instruction and the kernel's words", () => {
    expect(explain('null-check').excerpt).toBe(
      "\n    line 5: *value += 1;\n    instruction 7: r1 = *(u64 *)(r0 +0)\n    R0 invalid mem access 'map_value_or_null'",
    );
  });

  it.each([
    [1, 'ERR_BCC_PRIVILEGE'],
    [7, 'ERR_BCC_TOO_COMPLEX'],
    [12, 'ERR_BCC_MEMORY'],
    [22, 'ERR_BCC_LOAD'],
    [524, 'ERR_BCC_UNSUPPORTED'],
  ])('without a log is told by its errno %d', (errno, code) => {
    const failure = explainLoadFailure({ errno, log: '', fnName: 'f', progType: XDP });
    expect(failure.code).toBe(code);
    expect(failure.hint).toBeDefined();
  });

  it('for a reason that is not known gives the words of the kernel', () => {
    const failure = explainLoadFailure({ errno: EACCES, log: '0: (95) exit\nthe stars are wrong\n', fnName: 'f' });
    expect(failure).toMatchObject({ code: 'ERR_BCC_LOAD', message: 'the stars are wrong' });
  });
});

describe('the log of the verifier', () => {
  it('of kernels before 6.8 has source lines without numbers', () => {
    const log =
      '; *value += 1;\n7: (79) r1 = *(u64 *)(r0 +0)\n R0=inv(id=0) R10=fp0\nR0 invalid mem access\nprocessed 7 insns (limit 1000000)\n';
    expect(parseVerifierLog(log)).toMatchObject({
      source: { text: '*value += 1;', line: 0 },
      instruction: { index: 7, text: 'r1 = *(u64 *)(r0 +0)' },
      reason: ['R0 invalid mem access'],
      processed: 7,
    });
  });

  it('cut anywhere is still read', () => {
    const log = readFileSync(path.join(FOLDER, 'too-complex.log'), 'utf8');
    for (let end = 0; end < log.length; end += 7) expect(() => parseVerifierLog(log.slice(0, end))).not.toThrow();
  });

  it('places a line that libbcc rewrote by the lines around it', () => {
    const text = 'int f(void *ctx) {\n    u32 a = 1;\n    t.increment(a);\n    return 0;\n}';
    const annotations = [
      { text: 'u32 a = 1;', line: 14 },
      { text: '({ bpf_map_update_elem(1, &a); });', line: 15 },
      { text: 'return 0;', line: 16 },
    ];
    expect(annotations.map((one) => ownLine(one, annotations, text))).toEqual([2, 3, 4]);
  });

  it('does not guess between two like lines without a number', () => {
    expect(ownLine({ text: 'a++;', line: 0 }, [], 'a++;\na++;')).toBe(0);
  });
});
