import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import path from 'node:path';
import { attachIter } from '../../src/attach/iterator';
import { attachTrampoline, type TrampolineKind, trampolineKind, trampolineTarget } from '../../src/attach/trampoline';
import { BPFProgType } from '../../src/constants';
import { getSyscallFnname } from '../../src/kernel/probe-functions';
import type { Layout } from '../../src/layout/layout';
import { describeIf, kernelHas, requireRoot } from '../helpers';
import { Counter, call, exit, insn, loadInsns, movImm } from '../helpers/asm';

requireRoot();

const EPERM_RESULT = -1;

function countAt(fnName: string, kind: TrampolineKind, result = 0) {
  const { progType, expectedAttachType, attachBtfId, name } = trampolineTarget(fnName, kind);
  const counter = new Counter({ type: progType, expectedAttachType, attachBtfId, name: 'count' }, { result });
  return { counter, attach: () => attachTrampoline(counter.program, kind, name) };
}

describeIf('btf', 'the targets of trampolines', () => {
  it('are found by name, with and without a prefix', () => {
    const plain = trampolineTarget('vfs_read', 'kfunc');
    expect(plain).toMatchObject({ kind: 'kfunc', name: 'vfs_read', progType: BPFProgType.TRACING });
    expect(plain.attachBtfId).toBeGreaterThan(0);
    for (const same of ['kfunc__vfs_read', 'kfunc__vmlinux__vfs_read', 'vmlinux:vfs_read']) {
      expect(trampolineTarget(same, 'kfunc').attachBtfId).toBe(plain.attachBtfId);
    }
    expect(trampolineTarget('lsm__file_open', 'lsm').attachBtfId).toBeGreaterThan(0);
    expect(trampolineTarget('bpf_iter__task', 'bpf_iter').attachBtfId).toBeGreaterThan(0);
    expect(trampolineTarget('__x64_sys_getpriority', 'kfunc').name).toBe('__x64_sys_getpriority');
  });

  it('that do not exist are refused with near names', () => {
    const find = (name: string, kind: TrampolineKind) => () => trampolineTarget(name, kind);
    const code = 'ERR_BCC_ATTACH_UNKNOWN_FUNCTION';
    expect(find('vfs_reed', 'kfunc')).toThrow(
      expect.objectContaining({ code, hint: expect.stringContaining('vfs_read') }),
    );
    expect(find('file_opem', 'lsm')).toThrow(
      expect.objectContaining({ code, hint: expect.stringContaining('file_open') }),
    );
    expect(find('tasc', 'bpf_iter')).toThrow(expect.objectContaining({ code, hint: expect.stringContaining('task') }));
    expect(find('nomodule:vfs_read', 'kfunc')).toThrow(expect.objectContaining({ code }));
  });

  it('are told by the names of functions', () => {
    expect(trampolineKind('kretfunc__vfs_read')).toBe('kretfunc');
    expect(trampolineKind('kmod_ret__x')).toBe('kmod_ret');
    expect(trampolineKind('kprobe__vfs_read')).toBeUndefined();
  });
});

describeIf(['kfunc', 'runtime'], 'kfuncs', () => {
  it.each(['kfunc', 'kretfunc'] as const)('run the program at each call until detached: %s', (kind) => {
    const { counter, attach } = countAt(getSyscallFnname('getpriority'), kind);
    const link = attach();
    expect(link).toMatchObject({ kind, target: getSyscallFnname('getpriority') });
    getPriority();
    getPriority();
    expect(counter.own).toBe(2);
    link.detach();
    getPriority();
    expect(counter.own).toBe(2);
    counter.close();
  });

  it('with a verdict decide the result: kmod_ret', () => {
    const { counter, attach } = countAt('security_task_setnice', 'kmod_ret', EPERM_RESULT);
    const link = attach();
    expect(() => setPriority(getPriority())).toThrow(/EPERM|not permitted/);
    expect(counter.own).toBe(1);
    link.detach();
    setPriority(getPriority());
    counter.close();
  });

  it('refuse a program of another type', () => {
    const counter = new Counter({ type: BPFProgType.KPROBE });
    expect(() => attachTrampoline(counter.program, 'kfunc', 'vfs_read')).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_PROGRAM_TYPE' }),
    );
    counter.close();
  });
});

/** A module of which a file operation runs at each open of a file on a filesystem of its type. */
const MODULE = { name: 'overlay', fn: 'ovl_open', filesystem: 'overlay' };
const overlayFolder = () => {
  const mount = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .find(([, , type]) => type === MODULE.filesystem);
  return existsSync(`/sys/kernel/btf/${MODULE.name}`) && kernelHas('kfunc') ? mount?.[1] : undefined;
};

describeIf(
  { when: overlayFolder() !== undefined, reason: 'no module with BTF is in use here' },
  'kfuncs of modules',
  () => {
    const { name, fn } = MODULE;
    const open = () => closeSync(openSync(path.join(overlayFolder()!, 'etc/hostname'), 'r'));
    /** With the module's BTF, which says whose ids these are. */
    const countInModule = (kind: TrampolineKind) => {
      const { attachBtfObj, progType, expectedAttachType, attachBtfId } = trampolineTarget(`${name}:${fn}`, kind);
      const attributes = { type: progType, expectedAttachType, attachBtfId, attachBtfObjFd: attachBtfObj!.fd };
      const counter = new Counter(attributes);
      attachBtfObj!.close();
      return counter;
    };

    it.each(['kfunc', 'kretfunc'] as const)('run the program at each call until detached: %s', (kind) => {
      const counter = countInModule(kind);
      const link = attachTrampoline(counter.program, kind, fn);
      open();
      open();
      expect(counter.own).toBe(2);
      link.detach();
      open();
      expect(counter.own).toBe(2);
      counter.close();
    });

    it('are told from functions of the kernel, and named when they do not exist', () => {
      const target = trampolineTarget(`kfunc__${name}__${fn}`, 'kfunc');
      expect(target).toMatchObject({ name: fn, attachBtfObj: expect.anything() });
      target.attachBtfObj!.close();
      expect(() => trampolineTarget(fn, 'kfunc')).toThrow(
        expect.objectContaining({
          code: 'ERR_BCC_ATTACH_UNKNOWN_FUNCTION',
          hint: expect.stringContaining(`${name}:${fn}`),
        }),
      );
      expect(() => trampolineTarget(`${name}:ovl_opne`, 'kfunc')).toThrow(
        expect.objectContaining({ code: 'ERR_BCC_ATTACH_UNKNOWN_FUNCTION', hint: expect.stringContaining(fn) }),
      );
    });
  },
);

describeIf(['lsm', 'runtime'], 'LSM programs', () => {
  it('decide what is allowed until detached', () => {
    const { counter, attach } = countAt('task_setnice', 'lsm', EPERM_RESULT);
    const link = attach();
    expect(() => setPriority(getPriority())).toThrow(/EPERM|not permitted/);
    expect(counter.own).toBe(1);
    link.detach();
    setPriority(getPriority());
    expect(counter.own).toBe(1);
    counter.close();
  });
});

/** Kernels may allow iterators and forbid the other programs of their type. */
function iteratorsLoad(): boolean {
  if (!kernelHas('btf') || !kernelHas('runtime')) return false;
  try {
    countAt('task', 'bpf_iter').counter.close();
    return true;
  } catch {
    return false;
  }
}

describeIf({ when: iteratorsLoad(), reason: 'this kernel loads no iterators' }, 'iterators', () => {
  const SEQ_WRITE = 127;
  const u64 = { kind: 'int', size: 8, signed: false } as const;
  const record: Layout = {
    kind: 'struct',
    size: 16,
    fields: [
      { name: 'number', offset: 0, type: u64 },
      { name: 'isEnd', offset: 8, type: u64 },
    ],
  };

  /** Writes for each task the iterator's own number of it and whether there is no task, as 16 bytes. */
  const taskIterator = () => {
    const { progType, expectedAttachType, attachBtfId } = trampolineTarget('bpf_iter__task', 'bpf_iter');
    const insns = Buffer.concat([
      insn(0x79, 6, 1, 0),
      insn(0x79, 2, 1, 8),
      movImm(3, 0),
      insn(0x55, 2, 0, 1),
      movImm(3, 1),
      insn(0x7b, 10, 3, -8),
      insn(0x79, 3, 6, 16),
      insn(0x7b, 10, 3, -16),
      insn(0x79, 1, 6, 0),
      insn(0xbf, 2, 10),
      insn(0x07, 2, 0, 0, -16),
      movImm(3, 16),
      call(SEQ_WRITE),
      movImm(0, 0),
      exit,
    ]);
    return loadInsns(insns, { type: progType, expectedAttachType, attachBtfId, name: 'tasks' });
  };

  it('give records, anew at each reading', () => {
    const program = taskIterator();
    const link = attachIter(program, 'task');
    for (let reading = 0; reading < 2; reading++) {
      const records = [...link.records<{ number: bigint; isEnd: bigint }>(record)];
      expect(records.length).toBeGreaterThan(5);
      const tasks = records.slice(0, -1);
      expect(tasks.map(({ number }) => number)).toEqual(tasks.map((_, index) => BigInt(index)));
      expect(records.at(-1)).toMatchObject({ isEnd: 1n });
    }
    expect(link.readBytes().length % 16).toBe(0);
    link.close();
    expect(() => link.read()).toThrow(expect.objectContaining({ code: 'ERR_BCC_CLOSED' }));
    program.close();
  });

  it('go over one process where that is asked for', () => {
    const program = taskIterator();
    const all = attachIter(program, 'task');
    const one = attachIter(program, 'task', { tid: process.pid });
    expect([...one.records(record)]).toHaveLength(2);
    expect([...all.records(record)].length).toBeGreaterThan(2);
    one.close();
    all.close();
    expect(() => attachIter(program, 'task', { tid: 1, pid: 1 })).toThrow(TypeError);
    program.close();
  });

  it('give text, by the line as well', () => {
    const { progType, expectedAttachType, attachBtfId } = trampolineTarget('task', 'bpf_iter');
    // "ab\ncd\n" for each task.
    const insns = Buffer.concat([
      insn(0x79, 6, 1, 0),
      insn(0x62, 10, 0, -8, Buffer.from('ab\nc').readInt32LE()),
      insn(0x62, 10, 0, -4, Buffer.from('d\n\0\0').readInt32LE()),
      insn(0x79, 1, 6, 0),
      insn(0xbf, 2, 10),
      insn(0x07, 2, 0, 0, -8),
      movImm(3, 6),
      call(SEQ_WRITE),
      movImm(0, 0),
      exit,
    ]);
    const program = loadInsns(insns, { type: progType, expectedAttachType, attachBtfId, name: 'text' });
    const link = attachIter(program, 'task');
    expect(link.read()).toMatch(/^(ab\ncd\n){5,}$/);
    const lines = [...link.lines()];
    expect(lines.filter((line) => line === 'ab')).toHaveLength(lines.length / 2);
    for (const line of link) {
      expect(line).toBe('ab');
      break;
    }
    const longer: Layout = { kind: 'array', element: { kind: 'int', size: 1, signed: false }, length: 1e6, size: 1e6 };
    expect(() => [...link.records(longer)]).toThrow(expect.objectContaining({ code: 'ERR_BCC_ITERATOR' }));
    link.detach();
    program.close();
  });

  it('refuse a program of another type', () => {
    const counter = new Counter({ type: BPFProgType.KPROBE });
    expect(() => attachIter(counter.program, 'task')).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_PROGRAM_TYPE' }),
    );
    counter.close();
  });
});
