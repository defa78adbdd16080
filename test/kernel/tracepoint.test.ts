import { getPriority } from 'node:os';
import { attachRawTracepoint } from '../../src/attach/raw-tracepoint';
import { attachTracepoint, getTracepoints, splitTracepoint, tracepointExists } from '../../src/attach/tracepoint';
import { BPFProgType } from '../../src/constants';
import { tracepointFormat } from '../../src/kernel/tracefs';
import { describeIf, itIf, requireRoot } from '../helpers';
import { Counter } from '../helpers/asm';

requireRoot();

/** One system call that nothing else in this process makes at the same time. */
const doCall = () => getPriority();

describeIf(['tracefs', 'runtime'], 'tracepoints', () => {
  itIf('syscallTracepoints', 'run the program for each event until detached', () => {
    const counter = new Counter({ type: BPFProgType.TRACEPOINT });
    const link = attachTracepoint(counter.program, 'syscalls:sys_enter_getpriority');
    expect(counter.own).toBe(0);
    doCall();
    doCall();
    expect(counter.own).toBe(2);
    link.detach();
    doCall();
    expect(counter.own).toBe(2);
    expect(link.attached).toBe(false);
    counter.close();
  });

  itIf('syscallTracepoints', 'one program serves several tracepoints, each detached alone', () => {
    const counter = new Counter({ type: BPFProgType.TRACEPOINT });
    const entry = attachTracepoint(counter.program, 'syscalls:sys_enter_getpriority');
    const exit = attachTracepoint(counter.program, 'syscalls:sys_exit_getpriority');
    doCall();
    expect(counter.own).toBe(2);
    entry.detach();
    doCall();
    expect(counter.own).toBe(3);
    exit.detach();
    counter.close();
  });

  it('are listed by a pattern that fits from the start', () => {
    const found = getTracepoints('sched:sched_process_.*');
    expect(found).toContain('sched:sched_process_exec');
    expect(found.every((name) => name.startsWith('sched:sched_process_'))).toBe(true);
    expect(getTracepoints(/sched:sched_process/)).toEqual(found);
    expect(getTracepoints('process_exec')).toEqual([]);
    expect(tracepointExists('sched', 'sched_switch')).toBe(true);
    expect(tracepointExists('sched', 'sched_swich')).toBe(false);
    expect(tracepointExists('..', '..')).toBe(false);
  });

  it('have a format', () => {
    const format = tracepointFormat('sched', 'sched_process_exec')!;
    expect(format.name).toBe('sched_process_exec');
    expect(format.fields.find(({ name }) => name === 'filename')).toMatchObject({
      type: 'char',
      dynamic: true,
      size: 4,
    });
    expect(format.fields.find(({ name }) => name === 'pid')).toMatchObject({ type: 'pid_t', size: 4, signed: true });
    expect(tracepointFormat('sched', 'no_such')).toBeUndefined();
  });

  it('that do not exist are refused with near names', () => {
    const counter = new Counter({ type: BPFProgType.TRACEPOINT });
    expect(() => attachTracepoint(counter.program, 'sched:sched_swich')).toThrow(
      expect.objectContaining({
        code: 'ERR_BCC_TRACEPOINT_NOT_FOUND',
        errno: 2,
        hint: expect.stringContaining('sched:sched_switch'),
      }),
    );
    expect(() => attachTracepoint(counter.program, 'sched_switch')).toThrow(/category:event/);
    expect(() => splitTracepoint('a:b:c')).toThrow(expect.objectContaining({ code: 'ERR_BCC_TRACEPOINT_NOT_FOUND' }));
    counter.close();
  });

  it('refuse a program of another type', () => {
    const counter = new Counter({ type: BPFProgType.RAW_TRACEPOINT });
    expect(() => attachTracepoint(counter.program, 'sched:sched_switch')).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_PROGRAM_TYPE', message: expect.stringContaining('RAW_TRACEPOINT') }),
    );
    counter.close();
  });

  it('refuse the same program twice', () => {
    const counter = new Counter({ type: BPFProgType.TRACEPOINT });
    const link = attachTracepoint(counter.program, 'sched:sched_process_exec');
    expect(() => attachTracepoint(counter.program, 'sched:sched_process_exec')).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_ALREADY_ATTACHED', errno: 17 }),
    );
    expect(link.attached).toBe(true);
    link.detach();
    attachTracepoint(counter.program, 'sched:sched_process_exec').detach();
    counter.close();
  });
});

describeIf('runtime', 'raw tracepoints', () => {
  it('run the program for each event until detached', () => {
    const counter = new Counter({ type: BPFProgType.RAW_TRACEPOINT });
    const link = attachRawTracepoint(counter.program, 'sys_enter');
    doCall();
    const seen = counter.own;
    expect(seen).toBeGreaterThanOrEqual(1);
    link.detach();
    const left = counter.own;
    doCall();
    expect(counter.own).toBe(left);
    counter.close();
  });

  it('that do not exist are refused with near names', () => {
    const counter = new Counter({ type: BPFProgType.RAW_TRACEPOINT });
    const attach = (tp: string) => () => attachRawTracepoint(counter.program, tp);
    const code = 'ERR_BCC_TRACEPOINT_NOT_FOUND';
    expect(attach('sched_swich')).toThrow(
      expect.objectContaining({ code, hint: expect.stringContaining('sched_switch') }),
    );
    expect(attach('sched:sched_switch')).toThrow(
      expect.objectContaining({ code, hint: expect.stringContaining('no category') }),
    );
    expect(attach('sys_enter_clone')).toThrow(
      expect.objectContaining({ code, hint: expect.stringContaining('sys_enter and') }),
    );
    counter.close();
  });

  itIf('tracefs', 'refuse a program of another type', () => {
    const counter = new Counter({ type: BPFProgType.TRACEPOINT });
    expect(() => attachRawTracepoint(counter.program, 'sys_enter')).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_PROGRAM_TYPE' }),
    );
    counter.close();
  });
});
