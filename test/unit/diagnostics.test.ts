import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { explainCompileFailure, MAIN_FILE, parseDiagnostics } from '../../src/program/diagnostics';

const FOLDER = path.join(__dirname, '../fixtures/compile');
const NO_EXIT = { code: 1, signal: null };

/** What libbcc printed for a program that does not compile, explained. */
function explain(name: string) {
  const text = readFileSync(path.join(FOLDER, `${name}.c`), 'utf8');
  return explainCompileFailure(readFileSync(path.join(FOLDER, `${name}.out`), 'utf8'), NO_EXIT, { text });
}

const EXPECTED: Record<string, { code?: string; message: RegExp; hint?: RegExp }> = {
  'attribute-word': { message: /undeclared identifier '__noinline__'/, hint: /write noinline without/ },
  'floating-point': { code: 'ERR_BCC_BUILTIN', message: /^the function hello .*floating-point/, hint: /integers/ },
  'incomplete-key': { message: /line 1, column 1: field has incomplete type 'struct nosuch' \(and 1 more error\)/ },
  'inline-assembly': { message: /invalid register\/token name/ },
  'library-function': { message: /line 4, column 10: .*'strcmp'/, hint: /bounded loop/ },
  'map-refused': { code: 'ERR_BCC_MAP', message: /the map t: Invalid argument/, hint: /at least one element/ },
  'map-type': { message: /line 1, column 1: unsupported map type: maps\/nosuchtype/, hint: /percpu_hash/ },
  'no-include': { message: /line 1, column 10: 'linux\/nosuchthing.h' file not found/, hint: /cflags/ },
  'no-member': { message: /line 4, column 15: no member named 'pidd'.*did you mean 'pid'\?/ },
  'not-static': { message: /line 2, column 31: cannot call non-static/, hint: /static inline/ },
  'signed-division': { code: 'ERR_BCC_SIGNED_DIVISION', message: /divides signed/, hint: /unsigned/ },
  'six-arguments': { code: 'ERR_BCC_ARGUMENTS', message: /hello .*more than five arguments/, hint: /struct/ },
  'table-in-macro': { message: /line 5, column 8: cannot use map function/, hint: /static inline/ },
  'table-method': {
    message: /line 4, column 12: no member named 'incrementt'.*\(and 1 more error\)/,
    hint: /did you mean increment\?/,
  },
  // libbcc puts two structs before the text: the compiler's lines are 14 and 27.
  'tracepoint-field': { message: /line 4, column 17: no member named 'next_pidd'.*\(and 1 more error\)/ },
  'pinned-elsewhere': { message: /line 2, column 35: bpf_table t failed to open/, hint: /mount -t bpf/ },
  'too-few-arguments': {
    message: /line 3, column 78: too few arguments/,
    hint: /called e\.perf_submit\(ctx, &data, sizeof\(data\)\)/,
  },
  'undefined-table': { message: /line 1, column 35: use of undeclared/, hint: /BPF_HASH\(counts, u32, u64\)/ },
  macro: { message: /line 4, column 12: no member named 'nosuch'/ },
  memset: { code: 'ERR_BCC_BUILTIN', message: /hello .*memset/, hint: /__builtin_memset/ },
  redefinition: { message: /line 2, column 5: redefinition of 'hello'/ },
  stack: { code: 'ERR_BCC_STACK_LIMIT', message: /hello keeps more than 512 bytes/, hint: /PERCPU_ARRAY/ },
  syntax: { message: /line 3, column 14: expected ';'/ },
  tracepoint: { code: 'ERR_BCC_TRACEPOINT', message: /sched:nosuch_event is not known/, hint: /mount -t tracefs/ },
};

describe('a compilation that failed', () => {
  it('is tried for every recorded program', () => {
    const recorded = readdirSync(FOLDER).filter((name) => name.endsWith('.out'));
    expect(recorded.map((name) => path.parse(name).name).sort()).toEqual(Object.keys(EXPECTED).sort());
  });

  it.each(Object.entries(EXPECTED))('is explained: %s', (name, { code, message, hint }) => {
    const failure = explain(name);
    expect(failure.message).toMatch(message);
    expect(failure.code).toBe(code ?? 'ERR_BCC_COMPILE');
    if (hint) expect(failure.hint).toMatch(hint);
    expect(failure.diagnostics.some(({ severity }) => severity.endsWith('error'))).toBe(true);
  });

  it('tells which libbcc has a table method, and that tables of other kinds have it', () => {
    const hint = (method: string) =>
      explainCompileFailure(
        `/virtual/main.c:3:10: error: no member named '${method}' in 'struct events_table_t'\n1 error generated.`,
        NO_EXIT,
        { text: '' },
      ).hint;
    expect(hint('ringbuf_query')).toMatch(/since 0\.28/);
    expect(hint('perf_submit')).toMatch(/of another kind/);
  });

  it('shows the line and points at the column', () => {
    expect(explain('syntax').message).toBe(
      "the program does not compile: line 3, column 14: expected ';' at end of declaration\n        int a = 1\n                 ^",
    );
  });

  it('tells that there are no kernel headers', () => {
    const output =
      'modprobe: FATAL: Module kheaders not found\nUnable to find kernel headers. Try rebuilding\nchdir(/lib/modules/6.18/build): No such file or directory\n';
    expect(explainCompileFailure(output, NO_EXIT)).toMatchObject({
      code: 'ERR_BCC_HEADERS',
      hint: /BCC_KERNEL_SOURCE/,
    });
  });

  it('names the nearest helper where a function is not declared', () => {
    const output =
      "/virtual/main.c:3:15: error: implicit declaration of function 'bpf_get_curent_pid_tgid' is invalid in C99\n    u32 pid = bpf_get_curent_pid_tgid() >> 32;\n              ^\n1 error generated.\n";
    expect(explainCompileFailure(output, NO_EXIT).hint).toMatch(/^did you mean bpf_get_current_pid_tgid/);
  });

  it('says of headers made from BTF that they lack inline functions', () => {
    const output = "/virtual/main.c:3:15: error: implicit declaration of function 'inet_twsk' is invalid in C99\n";
    const { hint } = explainCompileFailure(output, NO_EXIT, { text: '\n\n\n', headers: 'btf' });
    expect(hint).toMatch(/inet_twsk .*inline functions/);
  });

  it('names the header of a well-known constant', () => {
    const output = "/virtual/main.c:1:27: error: use of undeclared identifier 'TASK_COMM_LEN'\n";
    expect(explainCompileFailure(output, NO_EXIT).hint).toBe('add #include <linux/sched.h> to the program');
  });

  it("tells a file's name from a program", () => {
    const output = "/virtual/main.c:1:1: error: unknown type name 'hello'\n";
    const { hint } = explainCompileFailure(output, NO_EXIT, { text: 'hello.c' });
    expect(hint).toContain("new BCC({ srcFile: 'hello.c' })");
  });

  it('tells by which signal the compiler ended where it printed nothing', () => {
    expect(explainCompileFailure('', { code: null, signal: 'SIGKILL' }).message).toBe('the compiler ended by SIGKILL');
  });

  it('tells how LLVM gave up, without its addresses', () => {
    const { message, code } = explainCompileFailure('LLVM ERROR: Cannot select: 0x25885300: i64 = frob\n', NO_EXIT);
    expect(code).toBe('ERR_BCC_LLVM');
    expect(message).toBe('LLVM gave up: Cannot select: …: i64 = frob');
  });
});

describe('diagnostics', () => {
  it('stand in the lines of the user where text was put before them', () => {
    const output = "/virtual/main.c:7:5: error: use of undeclared identifier 'x'\n    x = 1;\n    ^\n";
    const [diagnostic] = parseDiagnostics(output, { text: 'int f() {\n    x = 1;\n}', linesBefore: 5 });
    expect(diagnostic).toEqual({
      file: MAIN_FILE,
      line: 2,
      column: 5,
      severity: 'error',
      message: "use of undeclared identifier 'x'",
      source: '    x = 1;',
    });
  });

  it('stand in the lines of the user where libbcc put the structs of tracepoints before them', () => {
    const lines = explain('tracepoint-field').diagnostics.filter(({ severity }) => severity === 'error');
    expect(lines.map(({ file, line, source }) => [file, line, source])).toEqual([
      [MAIN_FILE, 4, '  u32 k = args->next_pidd;'],
      [MAIN_FILE, 10, '  u32 k = args->pidd;'],
    ]);
  });

  it('name the files that the text and the header were read from', () => {
    const output = [
      "/virtual/main.c:2:5: error: use of undeclared identifier 'x'\n    x = 1;\n    ^",
      "/virtual/main.c:5:3: error: use of undeclared identifier 'y'\n  y = 1;\n  ^",
    ].join('\n');
    const program = {
      text: 'int f() {\n  y = 1;\n}',
      linesBefore: 3,
      file: 'prog.c',
      header: { file: 'prog.h', lines: 3 },
    };
    expect(parseDiagnostics(output, program).map(({ file, line }) => [file, line])).toEqual([
      ['prog.h', 2],
      ['prog.c', 2],
    ]);
    expect(explainCompileFailure(output, NO_EXIT, program).message).toMatch(
      /^the program does not compile: prog.h:2:5: /,
    );
  });

  it('about generated lines are told apart', () => {
    const output = '/virtual/main.c:2:1: warning: unused\n/virtual/main.c:9:1: warning: unused too\n';
    const files = parseDiagnostics(output, { text: 'one line', linesBefore: 5 }).map(({ file }) => file);
    expect(files).toEqual(['/virtual/generated.c', '/virtual/generated.c']);
  });

  it('count columns in characters, not bytes', () => {
    const output = "/virtual/main.c:1:16: error: expected ';'\n/* größe */ int a int b;\n               ^\n";
    expect(parseDiagnostics(output)[0]).toMatchObject({ column: 14, line: 1 });
  });

  it('carry notes with them', () => {
    const severities = explain('macro').diagnostics.map(({ severity }) => severity);
    expect(severities).toEqual(['error', 'note']);
  });
});
