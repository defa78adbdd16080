import {
  annotateEvents,
  findEventCalls,
  generateAutoIncludes,
  LOST_TABLE,
  newerMacros,
  programText,
} from '../../src/program/source';

describe('the text of a program', () => {
  it('is read whatever editor wrote it', () => {
    expect(programText('\ufeff#include <a.h>\r\n#define X \\\r\n  3\r\n')).toBe('#include <a.h>\n#define X \\\n  3\n');
    expect(programText('// \ufeff in the middle\n')).toBe('// \ufeff in the middle\n');
  });

  it('is refused where the compiler would read only the beginning', () => {
    expect(() => programText('int x;\nint y;\0int z;')).toThrow(
      new TypeError("the program's text has a NUL in line 2"),
    );
  });
});

describe('finding the calls that send events', () => {
  const pointers = (text: string) => findEventCalls(text).map(({ table, method, pointer }) => [table, method, pointer]);

  it('knows every method and which argument points at the event', () => {
    const text = `
      a.perf_submit(ctx, &data, sizeof(data));
      b.perf_submit_skb(skb, skb->len, &meta, sizeof(meta));
      c.ringbuf_output(&data, sizeof(data), 0);
      struct t *e = d.ringbuf_reserve(sizeof(*e));
      d.ringbuf_submit(e, 0);`;
    expect(pointers(text)).toEqual([
      ['a', 'perf_submit', '&data'],
      ['b', 'perf_submit_skb', '&meta'],
      ['c', 'ringbuf_output', '&data'],
      ['d', 'ringbuf_reserve', undefined],
      ['d', 'ringbuf_submit', 'e'],
    ]);
  });

  it('sees calls behind return, else and brackets, and over several lines', () => {
    expect(pointers('return e.perf_submit(ctx,\n  &d, sizeof(d));')).toEqual([['e', 'perf_submit', '&d']]);
    expect(pointers('if (x) y(); else e.perf_submit(ctx, &a[f(1, 2)], 8);')).toEqual([
      ['e', 'perf_submit', '&a[f(1, 2)]'],
    ]);
  });

  it('leaves comments, strings, macros and members of other structs alone', () => {
    const text = `
      // e.perf_submit(ctx, &a, 1);
      /* e.perf_submit(ctx, &b, 1); */
      #define SEND(x) e.perf_submit(ctx, x, \\
                      sizeof(*x))
      bpf_trace_printk("e.perf_submit(ctx, &c, 1)");
      s->e.perf_submit(ctx, &d, 1);`;
    expect(findEventCalls(text)).toEqual([]);
  });

  it('gives up on a call that never ends', () => {
    expect(findEventCalls('e.perf_submit(ctx, &a')).toEqual([]);
  });
});

describe('annotating events', () => {
  it('puts the event type into BTF beside each call and keeps the lines where they were', () => {
    const text = 'int f(void *ctx) {\n  if (1) e.perf_submit(ctx, &d, sizeof(d));\n  return 0;\n}';
    const { text: annotated, eventTables } = annotateEvents(text);
    expect(eventTables).toEqual(['e']);
    expect(annotated).toContain('struct ____btf_map___tsbcc_event_0');
    expect(annotated).toContain('e.perf_submit(ctx, &d, sizeof(d)); })');
    expect(annotated.split('\n')).toHaveLength(text.split('\n').length);
  });

  it('keeps the lines of an event that is written over several', () => {
    const text = 'e.perf_submit(ctx, &(struct d){\n  1, // one\n  2 }, 8);\nf();';
    const { text: annotated, eventTables } = annotateEvents(text);
    expect(eventTables).toEqual(['e']);
    expect(annotated.split('\n')).toHaveLength(4);
    expect(annotated.split('\n')[3]).toBe('f();');
  });

  it('leaves alone an event that is chosen by the preprocessor', () => {
    const text = 'e.perf_submit(ctx,\n#ifdef A\n&a\n#else\n&b\n#endif\n, 8);';
    expect(annotateEvents(text)).toEqual({ text, eventTables: [], lostTables: [] });
  });

  it('counts failures only where that is asked for', () => {
    const text = 'r.ringbuf_output(&d, sizeof(d), 0); s.ringbuf_reserve(8);';
    expect(annotateEvents(text).lostTables).toEqual([]);
    const counted = annotateEvents(text, true);
    expect(counted.lostTables).toEqual(['r', 's']);
    expect(counted.text).toContain(`${LOST_TABLE}.increment(1)`);
  });

  it('returns a text without events unchanged', () => {
    const text = 'BPF_HASH(h);\nint f(void *ctx) { h.increment(1); return 0; }';
    expect(annotateEvents(text, true)).toEqual({ text, eventTables: [], lostTables: [] });
  });
});

it('chooses includes by the words of a program', () => {
  expect(generateAutoIncludes(['struct', 'bio', 'sk_buff'])).toBe(
    '#include <linux/blkdev.h>\n#include <linux/netdevice.h>\n',
  );
  expect(generateAutoIncludes(['u64'])).toBe('');
});

it('brings macros that only newer versions of BCC have, where the program uses them', () => {
  expect(newerMacros('KFUNC_PROBE(vfs_read) { return 0; }')).toBe('');
  const macros = newerMacros('MODULE_KRETFUNC_PROBE(overlay, ovl_open) { return 0; }');
  expect(macros).toMatch(/^#ifndef MODULE_KRETFUNC_PROBE\n#define MODULE_KRETFUNC_PROBE\(.*kretfunc__.*\n#endif\n$/);
});
