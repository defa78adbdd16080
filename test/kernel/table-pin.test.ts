import { existsSync, mkdtempSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { BPFProgType } from '../../src/constants';
import { runtime } from '../../src/native';
import { openTable } from '../../src/table/factory';
import { pin } from '../../src/table/pin';
import { Table } from '../../src/table/table';
import { describeIf, requireRoot } from '../helpers';
import { loadInsns, returns } from '../helpers/asm';
import { makeTable, S32, struct, U32, U64 } from '../helpers/tables';

requireRoot();

describeIf('bpffs', 'pins', () => {
  let folder: string;
  let at: string;

  beforeAll(() => {
    folder = mkdtempSync('/sys/fs/bpf/tsbcc-test-');
    at = path.join(folder, 'counts');
  });
  afterEach(() => existsSync(at) && unlinkSync(at));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('a pinned table outlives the one who made it', () => {
    const made = makeTable({ type: 'HASH', key: U32, leaf: struct({ n: U64 }) });
    made.set(1, { n: 2n });
    pin(made, at);
    made.close();
    const table = Table.fromPin(at, { keyType: U32, leafType: struct({ n: U64 }) });
    expect(table.name).toBe('counts');
    expect(table.items()).toEqual([[1, { n: 2n }]]);
    table.set(3, { n: 4n });
    table.close();
    expect(() => table.get(1)).toThrow(/table 'counts' is closed/);
    expect(Table.fromPin(at).size).toBe(2);
  });

  test('without types, a map that carries none is read as bytes', () => {
    const made = makeTable({ type: 'HASH', key: U32, leaf: U64 });
    made.set(1, 2n);
    pin(made.getFd(), at);
    expect(Table.fromPin(at).items()).toEqual([[Uint8Array.of(1, 0, 0, 0), Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0)]]);
    expect(() => Table.fromPin(at, { leafType: S32 })).toThrow(expect.objectContaining({ code: 'ERR_BCC_TABLE_SIZE' }));
  });

  test('a path on another file system, or taken, or empty is refused with a hint', () => {
    const made = makeTable({ type: 'HASH', key: U32, leaf: U64 });
    expect(() => pin(made, path.join(tmpdir(), 'map'))).toThrow(/is on no BPF file system\n {2}hint: .*mount -t bpf/);
    expect(() => pin(made, '/no/such/folder/map')).toThrow(expect.objectContaining({ code: 'ERR_BCC_PIN', errno: 2 }));
    pin(made, at);
    expect(() => pin(made, at)).toThrow(expect.objectContaining({ code: 'ERR_BCC_PIN', errno: 17 }));
    expect(() => Table.fromPin(path.join(folder, 'other'))).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_PIN', errno: 2 }),
    );
    expect(() => pin(made, 7 as never)).toThrow(TypeError);
    expect(() => pin({} as never, at)).toThrow(TypeError);
  });

  test('a pinned program is no table', () => {
    const program = loadInsns(returns(0), { type: BPFProgType.SOCKET_FILTER, name: 'nothing' });
    pin(program, at);
    program.close();
    expect(() => Table.fromPin(at)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_TABLE_TYPE', message: `${at} is no map but a program` }),
    );
  });
});

test('a map opened by id reads as the one it is', () => {
  const made = makeTable({ type: 'ARRAY', name: 'numbers', key: U32, leaf: U64, maxEntries: 2 });
  made.set(1, 5n);
  const { id } = runtime().mapInfo(made.getFd());
  const table = openTable(runtime().fdById('map', id), { leafType: U64 });
  expect(table.name).toBe('numbers');
  expect(table.items()).toEqual([
    [0, 0n],
    [1, 5n],
  ]);
  table.close();
});
