import { formatTraceFields, parseTraceLine } from '../../src/events/trace-pipe';

describe('a line of trace_pipe', () => {
  it.each([
    [
      'a line of today',
      '              sh-1234    [001] d..31 12345.678901: bpf_trace_printk: Hello, World!',
      ['sh', 1234, 1, 'd..31', 12345.678901, 'Hello, World!'],
    ],
    [
      'four flags, before Linux 5.x',
      '            node-77      [000] d... 1.000001: bpf_trace_printk: x',
      ['node', 77, 0, 'd...', 1.000001, 'x'],
    ],
    [
      'no symbol, before Linux 4.13',
      '            node-77      [000] d... 1.000001: : x: y',
      ['node', 77, 0, 'd...', 1.000001, 'x: y'],
    ],
    ['no flags', '            node-77      [000] 1.5: bpf_trace_printk: x', ['node', 77, 0, '', 1.5, 'x']],
    [
      'a thread group',
      '            node-77      (     70) [011] d..4. 2.5: bpf_trace_printk: x',
      ['node', 77, 11, 'd..4.', 2.5, 'x'],
    ],
    [
      'an unknown thread group',
      '           <...>-77      (-------) [011] d..4. 2.5: bpf_trace_printk: x',
      ['<...>', 77, 11, 'd..4.', 2.5, 'x'],
    ],
    [
      'blanks and dashes in the name',
      '  my - tool-1 [0]-4321  [003] .N.31 9.25: bpf_trace_printk: m',
      ['my - tool-1 [0]', 4321, 3, '.N.31', 9.25, 'm'],
    ],
    [
      'a message that looks like a line',
      '              sh-1       [000] d..31 7.5: bpf_trace_printk:   a-2 [001] d..31 8.5: f: g',
      ['sh', 1, 0, 'd..31', 7.5, '  a-2 [001] d..31 8.5: f: g'],
    ],
    [
      'an empty message',
      '              sh-1       [000] d..31 7.5: bpf_trace_printk: ',
      ['sh', 1, 0, 'd..31', 7.5, ''],
    ],
    [
      'a name of several bytes a character',
      '        größe-1       [000] d..31 7.5: bpf_trace_printk: ü',
      ['größe', 1, 0, 'd..31', 7.5, 'ü'],
    ],
  ])('%s', (_what, line, fields) => {
    expect(parseTraceLine(line)).toEqual(fields);
  });

  it('is no message where the kernel tells of lost lines', () => {
    expect(parseTraceLine('CPU:0 [LOST 12 EVENTS]')).toBeUndefined();
  });

  it('is formatted by number, in order, and with literal braces', () => {
    const fields = parseTraceLine('              sh-1234    [001] d..31 2.5: bpf_trace_printk: hi')!;
    expect(formatTraceFields('{{{1}}} {5}', fields)).toBe('{1234} hi');
    expect(formatTraceFields('{} {}', fields)).toBe('sh 1234');
    expect(() => formatTraceFields('{6}', fields)).toThrow(RangeError);
  });

  it.each([
    ['{4:.3f}|{4:12.2f}|{4:f}', '12345.679|    12345.68|12345.678901'],
    ['{1:6}|{1:<6}|{1:^6}|{1:06d}|{1:*>6}', '  1234|1234  | 1234 |001234|**1234'],
    ['{0:6}|{0:>6}|{0:-^6s}|{0:.1}', 'sh    |    sh|--sh--|s'],
  ])('is formatted in columns as Python does: %s', (fmt, expected) => {
    expect(formatTraceFields(fmt, ['sh', 1234, 1, 'd...', 12345.678901, 'hi'])).toBe(expected);
  });

  it.each(['{msg}', '{1!r}', '{0:d}', '{1:.2}', '{4:d}', '{1:>6x}', 'a } b', '{'])('has no field %s', (fmt) => {
    const fields: [string, number, number, string, number, string] = ['sh', 1234, 1, 'd...', 12345.678901, 'hi'];
    expect(() => formatTraceFields(fmt, fields)).toThrow(RangeError);
  });
});
