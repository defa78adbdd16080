import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { BPFProgType } from '../../src/constants';
import type { SourceLine } from '../../src/program/line-info';
import { explainLoadFailure, ownLine, parseVerifierLog } from '../../src/program/verifier-log';

const FOLDER = path.join(__dirname, '../fixtures/verifier');
const TYPES: Record<string, keyof typeof BPFProgType> = JSON.parse(
  readFileSync(path.join(FOLDER, 'types.json'), 'utf8'),
);

interface Expected {
  code: string;
  message: RegExp;
  hint?: RegExp;
  line?: number;
}

/** What is said of the logs that kernels wrote for the programs beside them; an older kernel's where it differs. */
const RECORDED: Record<string, Expected & { '6.1'?: Partial<Expected>; '6.12'?: Partial<Expected> }> = {
  'argument-type': { code: 'ERR_BCC_ARGUMENT', message: /argument 2 of bpf_map_update_elem is the context/, line: 4 },
  'context-arithmetic': { code: 'ERR_BCC_CONTEXT', message: /at offset 72000/, line: 1 },
  'context-offset': {
    code: 'ERR_BCC_CONTEXT',
    message: /a socket filter may not .* 8 bytes at offset 152/,
    line: 2,
  },
  'context-variable': { code: 'ERR_BCC_CONTEXT', message: /computed at run time/, line: 2 },
  'context-write': { code: 'ERR_BCC_CONTEXT', message: /a tracepoint program may not write the 8 bytes/, line: 2 },
  'division-by-zero': { code: 'ERR_BCC_INSTRUCTION', message: /divides by the constant zero/, line: 1 },
  'frame-pointer': { code: 'ERR_BCC_INSTRUCTION', message: /R10/, line: 1 },
  'helper-size': {
    code: 'ERR_BCC_STACK_BOUNDS',
    message: /bpf_probe_read_kernel is given up to 127 bytes .* at most 64/,
    line: 4,
  },
  'helper-not-allowed': { code: 'ERR_BCC_HELPER', message: /a kprobe may not call bpf_probe_write_user/, line: 1 },
  'index-not-bounded': {
    code: 'ERR_BCC_BOUNDS',
    message: /no bound .* the table cells/,
    line: 8,
    '6.1': { message: /no bound .* outside the leaf/ },
  },
  'index-off-by-one': { code: 'ERR_BCC_BOUNDS', message: /size 1 at offset 64, and the leaf has 64 bytes/, line: 9 },
  'index-signed': { code: 'ERR_BCC_BOUNDS', message: /an index .* no bound/, hint: /if \(i >= SIZE\)/, line: 9 },
  'infinite-loop': { code: 'ERR_BCC_LOOP', message: /cannot see the end/, line: 3 },
  'jump-out': { code: 'ERR_BCC_JUMP', message: /a function that does not exist/, line: 2 },
  'key-in-kernel': {
    code: 'ERR_BCC_ARGUMENT',
    message: /argument 2 of bpf_map_lookup_elem is a plain number/,
    hint: /copy the data/,
    line: 3,
  },
  'key-null-check': { code: 'ERR_BCC_ARGUMENT', message: /leaf that may be absent/, hint: /checked for NULL/, line: 6 },
  'leaf-bounds': { code: 'ERR_BCC_BOUNDS', message: /size 1 at offset 70, and the leaf has 64 bytes/, line: 7 },
  'leaf-size': { code: 'ERR_BCC_BOUNDS', message: /size 1023 at offset 0, and the leaf has 256 bytes/, line: 8 },
  'map-descriptor': { code: 'ERR_BCC_MAP', message: /descriptor 999/ },
  'map-helper': { code: 'ERR_BCC_MAP_HELPER', message: /bpf_map_lookup_elem does not work on a table/, line: 4 },
  misaligned: { code: 'ERR_BCC_ALIGNMENT', message: /the stack at an address/, line: 3 },
  'null-check': {
    code: 'ERR_BCC_NULL_CHECK',
    message: /a leaf of the table seen/,
    line: 5,
    '6.1': { message: /a leaf is used without/ },
  },
  'packet-bounds': { code: 'ERR_BCC_PACKET_BOUNDS', message: /long enough/, line: 4 },
  'pointer-arithmetic': { code: 'ERR_BCC_POINTER_ARITHMETIC', message: /computes with a pointer/, line: 3 },
  'pointer-division': { code: 'ERR_BCC_POINTER_ARITHMETIC', message: /computes with a pointer/, line: 5 },
  'record-after-submit': { code: 'ERR_BCC_POINTER', message: /it writes memory/, hint: /gone after/, line: 7 },
  'record-bounds': { code: 'ERR_BCC_BOUNDS', message: /size 1 at offset 9, and there are 4 bytes/, line: 6 },
  'record-null-check': { code: 'ERR_BCC_NULL_CHECK', message: /a reserved record that may be NULL/, line: 5 },
  'register-not-set': { code: 'ERR_BCC_UNINITIALIZED', message: /never set/, line: 3 },
  'return-value': {
    code: 'ERR_BCC_RETURN_VALUE',
    message: /a cgroup device program must return a value in \[0, 1\]/,
    line: 1,
    '6.1': { message: /must return a value in \(0x0; 0x1\)/ },
  },
  'size-not-bounded': { code: 'ERR_BCC_BOUNDS', message: /argument 2 of bpf_probe_read_kernel, a size/, line: 4 },
  'spin-lock': { code: 'ERR_BCC_LOCK', message: /that trace may not use/ },
  'spin-lock-held': { code: 'ERR_BCC_LOCK', message: /a bpf_spin_lock in a way/, hint: /release it/, line: 11 },
  'stack-index': { code: 'ERR_BCC_STACK_BOUNDS', message: /an index into a local array/, hint: /mask it/, line: 4 },
  'static-variable': { code: 'ERR_BCC_POINTER', message: /global or static variable/, hint: /BPF_ARRAY/, line: 3 },
  'tail-call': { code: 'ERR_BCC_ARGUMENT', message: /argument 2 of bpf_tail_call/ },
  'unknown-helper': { code: 'ERR_BCC_HELPER', message: /the helper 900, which this kernel does not have/, line: 2 },
  'write-to-kernel': { code: 'ERR_BCC_POINTER', message: /it writes memory/, hint: /can write to/, line: 2 },
  'stack-bounds': { code: 'ERR_BCC_STACK_BOUNDS', message: /to -600/, line: 4 },
  'too-complex': { code: 'ERR_BCC_TOO_COMPLEX', message: /8193 jumps/, line: 6 },
  'too-many-steps': {
    code: 'ERR_BCC_TOO_COMPLEX',
    message: /1000001 instructions/,
    line: 3,
    // Its log was cut, and the reason with it.
    '6.1': { message: /as many instructions as it is ready to/, hint: /loops shorter/ },
  },
  gpl: { code: 'ERR_BCC_GPL', message: /bpf_trace_printk is for programs under the GPL/, line: 5 },
  reference: { code: 'ERR_BCC_REFERENCE', message: /bpf_ringbuf_reserve gave is not given back/, line: 7 },
  shift: { code: 'ERR_BCC_INSTRUCTION', message: /shifts by 70 bits/, line: 1 },
  unreachable: { code: 'ERR_BCC_UNREACHABLE', message: /instruction 1 can never run/, line: 2 },
};

/** What kernels between 4.14 and 6.18 say, and the recorded programs do not provoke. */
const PHRASES: [phrase: string, code: string, message: RegExp][] = [
  ["R1 invalid mem access 'inv'", 'ERR_BCC_POINTER', /cannot vouch for/],
  ["R1 invalid mem access 'scalar'", 'ERR_BCC_POINTER', /cannot vouch for/],
  ["R0 invalid mem access 'sock_or_null'", 'ERR_BCC_NULL_CHECK', /a socket that may be NULL/],
  ['invalid indirect read from stack off -16+4 size 16', 'ERR_BCC_UNINITIALIZED', /never written/],
  ['invalid indirect read from stack R2 off -16+4 size 16', 'ERR_BCC_UNINITIALIZED', /never written/],
  ['invalid read from stack off -8+0 size 8', 'ERR_BCC_UNINITIALIZED', /never written/],
  ['invalid read from stack R10 off=-16 size=8', 'ERR_BCC_UNINITIALIZED', /never written/],
  ["R0 invalid mem access 'alloc_mem_or_null'", 'ERR_BCC_NULL_CHECK', /a reserved record that may be NULL/],
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
  ['bpf_spin_unlock is missing', 'ERR_BCC_LOCK', /bpf_spin_lock in a way/],
  ['unknown opcode 8d', 'ERR_BCC_OPCODE', /does not know/],
  ['calling kernel function bpf_task_acquire is not allowed', 'ERR_BCC_KFUNC', /bpf_task_acquire/],
  ['helper call might sleep in a non-sleepable prog', 'ERR_BCC_SLEEPABLE', /may sleep/],
];

const EACCES = 13;
const E2BIG = 7;

const LINES: Record<string, string[]> = JSON.parse(readFileSync(path.join(FOLDER, 'lines.json'), 'utf8'));

function linesOf(name: string): SourceLine[] {
  return (LINES[name] ?? []).map((line) => {
    const [, insn, number, text] = /^(\d+) (\d+) (.*)$/.exec(line)!;
    return { insn: Number(insn), line: Number(number), text: text! };
  });
}

function explain(kernel: string, name: string) {
  const text = readFileSync(path.join(FOLDER, `${name}.c`), 'utf8');
  const log = readFileSync(path.join(FOLDER, kernel, `${name}.log`), 'utf8');
  const errno = name === 'too-many-steps' ? E2BIG : EACCES;
  const progType = BPFProgType[TYPES[name] ?? 'TRACEPOINT'];
  return explainLoadFailure({ errno, log, fnName: 'f', progType, text, lines: linesOf(name) });
}

function recordedOn(kernel: string): string[] {
  const logs = readdirSync(path.join(FOLDER, kernel)).filter((name) => name.endsWith('.log'));
  return logs.map((name) => path.parse(name).name).sort();
}

describe('a refused load', () => {
  it('was provoked by every program on the newest kernel', () => {
    expect(recordedOn('6.18')).toEqual(Object.keys(RECORDED).sort());
  });

  describe.each(['6.1', '6.12', '6.18'] as const)('on Linux %s', (kernel) => {
    it.each(recordedOn(kernel))('is explained: %s', (name) => {
      const { '6.1': first, '6.12': second, ...last } = RECORDED[name]!;
      const { code, message, hint, line } = { ...last, ...{ '6.1': first, '6.12': second, '6.18': {} }[kernel] };
      const failure = explain(kernel, name);
      expect(failure.code).toBe(code);
      expect(failure.message).toMatch(message);
      if (hint) expect(failure.hint).toMatch(hint);
      if (line !== undefined) expect(failure.excerpt).toContain(`\n    line ${line}: `);
    });
  });

  it.each(PHRASES)('is explained: %s', (phrase, code, message) => {
    const failure = explainLoadFailure({
      errno: EACCES,
      log: `3: (95) exit\n${phrase}\n`,
      fnName: 'f',
      progType: BPFProgType.TRACEPOINT,
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
    expect(explain('6.18', 'null-check').excerpt).toBe(
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
    const failure = explainLoadFailure({ errno, log: '', fnName: 'f', progType: BPFProgType.XDP });
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
    const log = readFileSync(path.join(FOLDER, '6.18/too-complex.log'), 'utf8');
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

  it('places a rewritten line that stands alone by how it begins', () => {
    const text = 'BPF_HASH(t);\nint f(void *ctx) { u64 a = 1; t.increment(a); return 0; }';
    const rewritten = { text: 'u64 a = 1; ({ bpf_map_update_elem(1, &a); }); return 0; }', line: 9 };
    expect(ownLine(rewritten, [rewritten], text)).toBe(2);
    expect(ownLine({ ...rewritten, text: 'u32 b = bpf_get_prandom_u32();' }, [rewritten], text)).toBe(0);
  });

  it('does not guess between two like lines without a number', () => {
    expect(ownLine({ text: 'a++;', line: 0 }, [], 'a++;\na++;')).toBe(0);
  });
});
