import { declarations, includes } from '../../src/kernel/headers/scan';
import { Catalogue, select } from '../../src/kernel/headers/select';
import { mentions, splitBtfDump, splitOwnHeader } from '../../src/kernel/headers/units';

/** A little kernel, in the form in which libbpf dumps BTF. */
const DUMP = `
typedef unsigned int u32;

struct list_head {
	struct list_head *next;
	struct list_head *prev;
};

struct page;

enum pid_type {
	PIDTYPE_PID = 0,
	PIDTYPE_MAX = 1,
};

enum {
	TASK_COMM_LEN = 16,
};

typedef struct {
	int counter;
} atomic_t;

typedef void (*work_func_t)(struct work *);

typedef int handler_func_t(struct page **);

struct ns {
	u32 inum;
};

struct mm {
	atomic_t users;
	struct page *first;
};

struct page {
	u32 flags;
};

struct work {
	work_func_t func;
	handler_func_t *handler;
};

struct task {
	struct list_head tasks;
	struct mm *mm;
	struct ns ns;
	struct {
		struct work *work;
		u32 low: 3;
		u32 high: 5;
	};
	enum pid_type type;
	char comm[16];
};
`;

const types = splitBtfDump(DUMP);

function selected(program: string, own = '', open: string[] = []): string {
  const catalogue = new Catalogue(types, splitOwnHeader(own, 'own.h', types.length), []);
  const used = new Set(program.match(/\w+/g));
  return select(catalogue, {
    words: used,
    declared: declarations(program),
    base: new Set(['u32']),
    open: (gate) => open.includes(gate),
    everything: false,
  });
}

describe('what a program needs of the kernel', () => {
  it('holds a named type and all that it holds by value', () => {
    const text = selected('int f(struct task *t) { return t->type; }');
    for (const needed of [
      'struct task {',
      'struct list_head {',
      'struct ns {',
      'enum pid_type {',
      'typedef unsigned int u32;',
    ]) {
      expect(text).toContain(needed);
    }
    expect(text).not.toContain('struct mm {');
    expect(text).not.toContain('struct work {');
    expect(text).toContain('struct mm;');
  });

  it('follows the pointers that the program follows, inside anonymous members too', () => {
    const text = selected('int f(struct task *t) { return t->mm->first->flags + (long)t->work->func; }');
    for (const needed of ['struct mm {', 'struct page {', 'struct work {', 'typedef void (*work_func_t)', 'atomic_t']) {
      expect(text).toContain(needed);
    }
  });

  it('keeps the order of declaration', () => {
    const text = selected('struct work *w; struct task *t;');
    expect(text.indexOf('handler_func_t(struct page')).toBeGreaterThan(-1);
    expect(text.indexOf('handler_func_t(struct page')).toBeLessThan(text.indexOf('struct work {'));
    expect(text.indexOf('enum pid_type {')).toBeLessThan(text.indexOf('struct task {'));
  });

  it('finds enumerators of enums without a name', () => {
    expect(selected('char name[TASK_COMM_LEN];')).toContain('TASK_COMM_LEN = 16');
    expect(selected('char name[15];')).not.toContain('TASK_COMM_LEN');
  });

  it('lets a struct of the program win where the kernel only points to it', () => {
    const text = selected('struct mm { int mine; };\nint f(struct task *t) { return t->mm->mine; }');
    expect(text).not.toContain('struct mm {');
    expect(text).toContain('struct mm *mm;');
  });

  it('renames the kernel struct of that name where another one holds it by value', () => {
    const text = selected('struct ns { int mine; };\nint f(struct task *t) { return t->type; }');
    expect(text).toContain('struct ns___kernel {');
    expect(text).toContain('struct ns___kernel ns;');
    expect(text).not.toMatch(/struct ns \{/);
  });

  it('leaves names to the program: tables, functions, enumerators, typedefs', () => {
    expect(selected('BPF_HASH(TASK_COMM_LEN, u32);')).not.toContain('TASK_COMM_LEN');
    expect(selected('enum mine { PIDTYPE_PID = 7 };')).not.toContain('PIDTYPE_PID');
    expect(selected('static int atomic_t(int x) { return x; }')).not.toContain('atomic_t');
    const text = selected(
      'typedef struct { long mine; } atomic_t;\nstruct mm *m; int f(void) { return m->users.mine; }',
    );
    expect(text).toContain('} atomic_t___kernel;');
    expect(text).toContain('atomic_t___kernel users;');
  });

  it('supplies macros with what their text names, unless BTF or the program has them', () => {
    const own = '#define first_flags(t) ((t)->mm->first->flags)\n#define PIDTYPE_MAX 9\n#define LIMIT 5\n';
    expect(selected('int f(struct task *t) { return first_flags(t); }', own)).toContain('struct page {');
    expect(selected('int x = PIDTYPE_MAX;', own)).not.toContain('#define PIDTYPE_MAX');
    expect(selected('int x = LIMIT;', own)).toContain('#define LIMIT 5');
    expect(selected('#define LIMIT 6\nint x = LIMIT;', own)).not.toContain('#define LIMIT 5');
    const redefined = 'enum { KEPT = LIMIT };\n#undef LIMIT\n#define LIMIT KEPT\nint x = LIMIT;';
    expect(selected(redefined, own)).toContain('#define LIMIT 5');
  });

  it('shows short names only to those who include the header that defines them', () => {
    const own =
      '#pragma tsbcc visible_with net/sock.h\n#define sk_family common.family\n#pragma tsbcc visible_with all\n#define A 1\n';
    expect(selected('int f(void) { return x.sk_family + A; }', own)).toBe(`${selected('x.y')}#define A 1\n`);
    expect(selected('int f(void) { return x.sk_family; }', own, ['net/sock.h'])).toContain('#define sk_family');
  });

  it('supplies a macro only to kernels whose types have the member it speaks of', () => {
    const own =
      '#pragma tsbcc requires task.old_name\n#define NAME_LEN 1\n#pragma tsbcc requires task.comm\n#define NAME_LEN 2\n#pragma tsbcc requires nothing\n';
    const text = selected('char name[NAME_LEN];', own);
    expect(text).toContain('#define NAME_LEN 2');
    expect(text).not.toContain('#define NAME_LEN 1');
  });

  it('takes everything where it is told to', () => {
    const catalogue = new Catalogue(types, [], []);
    const text = select(catalogue, {
      words: [],
      declared: declarations('struct page { int mine; };'),
      base: new Set(),
      open: () => true,
      everything: true,
    });
    for (const tag of ['task', 'mm', 'work', 'ns']) expect(text).toContain(`struct ${tag} {`);
    expect(text).not.toContain('struct page {');
  });
});

describe('reading a dump', () => {
  const unit = (tag: string) => types.find((each) => each.tag === tag)!;

  it('tells what is held from what is pointed to', () => {
    const found = mentions(unit('task'));
    expect([...found.tags].sort()).toEqual(['list_head', 'ns', 'pid_type']);
    expect(found.pointers).toEqual(
      expect.arrayContaining([
        ['mm', 'mm'],
        ['work', 'work'],
      ]),
    );
  });

  it('ends runs of padding that are longer than 64 bits', () => {
    const [padded] = splitBtfDump('struct padded {\n\tint count;\n\tlong: 64;\n\tlong: 64;\n\tint after;\n};');
    expect(padded!.text).toBe(
      'struct padded {\n\tint count;\n\tlong: 64;\n\tchar: 0;\n\tlong: 64;\n\tchar: 0;\n\tint after;\n};',
    );
    const bits = Array.from({ length: 70 }, (_, i) => `\tu8 b${i}: 1;`).join('\n');
    const [wide] = splitBtfDump(`struct wide {\n${bits}\n};`);
    expect(wide!.text).toContain('\tu8 b63: 1;\n\tchar: 0;\n\tu8 b64: 1;');
    expect(wide!.text.match(/char: 0/g)).toHaveLength(1);
  });

  it('leaves out what libbpf wrote for CO-RE', () => {
    const [tagged] = splitBtfDump(
      'struct t {\n\tint __attribute__((btf_type_tag("user"))) *p;\n} __attribute__((preserve_access_index));',
    );
    expect(tagged!.text).toBe('struct t {\n\tint *p;\n};');
  });
});

describe('reading a program', () => {
  it('finds what it declares at file scope and nothing else', () => {
    const found = declarations(`
      #define LIMIT(x) \\
        (x)
      struct key_t { u32 pid; struct { int a; } in; };
      typedef struct { int a; } __attribute__((packed)) pair_t;
      typedef int (*callback_t)(void *);
      enum kind { ONE, TWO = 2 };
      BPF_HASH(counts, struct key_t, u64, 100);
      BPF_TABLE("hash", u32, u64, named, 10);
      BPF_PERF_OUTPUT(events);
      static u64 total = 0, limits[4];
      /* struct commented { int x; }; */
      static inline int helper(int x) { int local = x; return local; }
      int probe(struct pt_regs *ctx, struct task_struct *task) { struct key_t key = {}; if (key.pid) return 1; return 0; }
    `);
    expect([...found.tags].sort()).toEqual(['key_t', 'kind']);
    expect([...found.ordinary].sort()).toEqual(
      ['ONE', 'TWO', 'callback_t', 'counts', 'events', 'helper', 'limits', 'named', 'pair_t', 'probe', 'total'].sort(),
    );
    expect([...found.macros]).toEqual(['LIMIT']);
  });

  it('finds includes in lines that end as on Windows', () => {
    expect(includes('#include <a.h>\r\n#include "b.h"\r\n').map(({ name }) => name)).toEqual(['a.h', 'b.h']);
  });

  it('finds its includes, those that depend on something marked', () => {
    const found = includes(
      '#include <a.h>\n# include "b.h" // why\n/* #include <c.h> */\n#ifdef X\n#include <d.h>\n#endif\n#include <e.h>\n#if __has_include(<f.h>)\n#endif\n',
    );
    expect(found).toEqual([
      { name: 'a.h', angled: true, conditional: false },
      { name: 'b.h', angled: false, conditional: false },
      { name: 'd.h', angled: true, conditional: true },
      { name: 'e.h', angled: true, conditional: false },
      { name: 'f.h', angled: true, conditional: true },
    ]);
  });
});
