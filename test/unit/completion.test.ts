import type { BCC } from '../../src';
import { complete } from '../../src/cli/completion';
import type { Layout } from '../../src/layout/layout';

const u32: Layout = { kind: 'int', size: 4, signed: false };
const inner: Layout = { kind: 'struct', size: 4, fields: [{ name: 'port', offset: 0, type: u32 }] };
const keyLayout: Layout = {
  kind: 'struct',
  size: 12,
  fields: [
    { name: 'pid', offset: 0, type: u32 },
    { name: 'op', offset: 4, type: u32 },
    { name: '', offset: 8, type: inner },
  ],
};
const b = {
  tables: { counts: { keyLayout }, events: { keyLayout: undefined } },
  functions: ['on_open', 'on_close'],
} as unknown as BCC;

describe('Tab in the REPL', () => {
  test('completes tables and functions of the program inside strings', () => {
    expect(complete(b, "b.table('co")).toEqual([['counts'], 'co']);
    expect(complete(b, 'b.attachTracepoint({ fnName: "on_')).toEqual([['on_close', 'on_open'], 'on_']);
    expect(complete(b, "b.loadFunc('on_o")).toEqual([['on_open'], 'on_o']);
  });

  test('completes functions of a library once it is named', () => {
    const [hits] = complete(b, "b.attachUprobe({ name: 'c', sym: 'mall")!;
    expect(hits).toContain('malloc');
    expect(complete(b, "b.attachUprobe({ sym: 'mall")).toBeUndefined();
  });

  test('offers the options of an attach call, and none twice', () => {
    expect(complete(b, 'b.attachKprobe({ ')![0]).toEqual(['event: ', 'eventOff: ', 'eventRe: ', 'fnName: ']);
    expect(complete(b, "b.attachKprobe({ event: 'vfs_read', ")![0]).toEqual(['eventOff: ', 'eventRe: ', 'fnName: ']);
    expect(complete(b, 'b.attachTracepoint({ t')).toEqual([['tp: ', 'tpRe: '], 't']);
  });

  test("offers the fields of a table's key, those of anonymous members among them", () => {
    expect(complete(b, "b.table('counts').get({ ")![0]).toEqual(['op: ', 'pid: ', 'port: ']);
    expect(complete(b, 'b.tables.counts.set({ pid: 1, o')).toEqual([['op: '], 'o']);
    expect(complete(b, 'b.tables.events.get({ ')).toBeUndefined();
  });

  test('leaves everything else to JavaScript', () => {
    for (const line of [
      'b.att',
      'const x = { ',
      'console.log({ ',
      '(await e.next()).va',
      'b.attachKprobe({ event: f(',
    ]) {
      expect(complete(b, line)).toBeUndefined();
    }
    expect(complete(undefined, "b.table('")).toEqual([[], '']);
  });
});
