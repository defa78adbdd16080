import { closeSync, mkdirSync, openSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { inspect } from 'node:util';
import { attachTracepoint } from '../../src/attach/tracepoint';
import { attachTrampoline, trampolineTarget } from '../../src/attach/trampoline';
import { BPFMapFlag, BPFProgType } from '../../src/constants';
import { TableError, UnsupportedError } from '../../src/errors';
import { runtime } from '../../src/native';
import { callKill, describeIf, requireRoot, sleeper, withTempDir } from '../helpers';
import { call, exit, insn, loadInsns, loadMap, movImm } from '../helpers/asm';
import { integerBtf, makeTable, S32, U64 } from '../helpers/tables';

/* Leaves that live in tasks and inodes: programs write them, and whoever has a descriptor of the object reads them. */

requireRoot();

const Helper = { inodeStorageGet: 145, taskStorageGet: 156, currentTaskBtf: 158 };
const CREATE = 1;

function storage(type: 'TASK_STORAGE' | 'INODE_STORAGE') {
  return makeTable({
    ...{ type, name: 'visits', key: S32, leaf: U64, maxEntries: 0, flags: BPFMapFlag.NO_PREALLOC },
    attributes: { btfFd: integerBtf().fd, btfKeyTypeId: 1, btfValueTypeId: 2 },
  });
}

/** Adds one to the leaf of the object in r2, and returns 0. */
const addOne = (table: { getFd(): number }, helper: number) =>
  Buffer.concat([
    ...[loadMap(1, table.getFd()), movImm(3, 0), movImm(4, CREATE), call(helper)],
    ...[insn(0x15, 0, 0, 2, 0), movImm(1, 1), insn(0xdb, 0, 1), movImm(0, 0), exit],
  ]);

describeIf(['syscallTracepoints', 'btf'], 'TASK_STORAGE', () => {
  /** Counts in each task its calls of kill(2). */
  const countKills = () => {
    const table = storage('TASK_STORAGE');
    const insns = Buffer.concat([call(Helper.currentTaskBtf), insn(0xbf, 2, 0), addOne(table, Helper.taskStorageGet)]);
    const program = loadInsns(insns, { type: BPFProgType.TRACEPOINT });
    const link = attachTracepoint(program, 'syscalls:sys_enter_kill');
    return {
      table,
      stop() {
        link.detach();
        program.close();
      },
    };
  };

  it('keeps a leaf in each task, read by a pidfd, by a pid or by what has one', () => {
    const { table, stop } = countKills();
    expect(table.get(process)).toBeUndefined();
    callKill(3);
    const pidfd = runtime().pidfdOpen(process.pid);
    for (const owner of [pidfd, pidfd.fd, process, { pid: process.pid }]) {
      expect(table.get(owner)).toBe(3n);
      expect(table.has(owner)).toBe(true);
    }
    pidfd.close();
    stop();
  });

  it('is written and deleted, and the program goes on from there', () => {
    const { table, stop } = countKills();
    table.set(process, 10n);
    callKill();
    expect(table.get(process)).toBe(11n);
    expect(table.delete(process)).toBe(true);
    expect(table.delete(process)).toBe(false);
    expect(table.has(process)).toBe(false);
    callKill();
    expect(table.get(process)).toBe(1n);
    expect(() => table.set(process, 1n, { flags: 'noexist' })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_TABLE_EXISTS' }),
    );
    expect(table.get(process)).toBe(1n);
    stop();
  });

  it('ends with its task', async () => {
    const table = storage('TASK_STORAGE');
    const other = sleeper();
    table.set(other, 7n);
    expect([table.get(other), table.get(process)]).toEqual([7n, undefined]);
    await other.stop();
    expect(() => table.get(other)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_TABLE_OWNER', errno: 3, hint: expect.stringContaining('has gone') }),
    );
  });

  it('asks for a process', () => {
    const table = storage('TASK_STORAGE');
    const fd = openSync('/dev/null', 'r');
    expect(() => table.set(fd, 1n)).toThrow(TableError);
    closeSync(fd);
    expect(() => table.set('1', 1n)).toThrow(TypeError);
    expect(() => table.set({ path: '/' }, 1n)).toThrow(TypeError);
    expect(() => table.set({ pid: 'self' }, 1n)).toThrow(TypeError);
    expect(() => table.size).toThrow(UnsupportedError);
    expect(inspect(table)).toBe("LocalStorageTable 'visits' (TASK_STORAGE, keyed by descriptor)");
  });
});

describeIf('lsm', 'INODE_STORAGE', () => {
  it('keeps a leaf in each inode, read by a descriptor or a path', async () => {
    const table = storage('INODE_STORAGE');
    const { progType, expectedAttachType, attachBtfId } = trampolineTarget('inode_mkdir', 'lsm');
    // The hook's first argument is the directory in which one is made.
    const program = loadInsns(Buffer.concat([insn(0x79, 2, 1, 0), addOne(table, Helper.inodeStorageGet)]), {
      type: progType,
      expectedAttachType,
      attachBtfId,
    });
    const link = attachTrampoline(program, 'lsm', 'inode_mkdir');
    await withTempDir((folder) => {
      const make = (name: string) => {
        mkdirSync(path.join(folder, name));
        rmdirSync(path.join(folder, name));
      };
      expect(table.get({ path: folder })).toBeUndefined();
      make('a');
      make('b');
      const fd = openSync(folder, 'r');
      for (const owner of [fd, { fd }, { path: folder }]) {
        expect(table.get(owner)).toBe(2n);
        expect(table.has(owner)).toBe(true);
      }
      closeSync(fd);
      table.set({ path: folder }, 40n);
      make('c');
      expect(table.get({ path: folder })).toBe(41n);
      expect(table.delete({ path: folder })).toBe(true);
      expect(table.delete({ path: folder })).toBe(false);
      make('d');
      expect(table.get({ path: folder })).toBe(1n);
      link.detach();
      make('e');
      expect(table.get({ path: folder })).toBe(1n);
    });
    program.close();
  });

  it('asks for a file', () => {
    const table = storage('INODE_STORAGE');
    expect(() => table.get({ path: '/no/such/file' })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_TABLE_OWNER', errno: 2 }),
    );
    expect(() => table.get({ pid: 1 })).toThrow(TypeError);
    expect(() => table.get(1_000_000)).toThrow(expect.objectContaining({ code: 'ERR_BCC_TABLE_VALUE' }));
  });
});
