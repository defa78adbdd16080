import { describeIf, requireRoot } from '../helpers';
import { makeTable, struct, U8, U32, U64 } from '../helpers/tables';

/* Keys and leaves by ref's types, as Python users give ctypes classes; the packages are optional. */

requireRoot();

interface Packages {
  ref: { types: Record<string, object> };
  Struct: (
    fields: Record<string, object>,
  ) => object & { new (fields: object): { toObject?(): object; [field: string]: unknown } };
}

const packages = ((): Packages | undefined => {
  try {
    const ref = require('ref-napi');
    return { ref, Struct: require('ref-struct-di')(ref) };
  } catch {
    return undefined;
  }
})();

describeIf({ when: packages !== undefined, reason: 'ref-napi is not installed' }, 'tables read through ref', () => {
  const { ref, Struct } = packages ?? ({} as Packages);

  test("a scalar type takes the place of the program's own", () => {
    const table = makeTable({
      type: 'HASH',
      key: U32,
      leaf: U64,
      keyType: ref.types.int32,
      leafType: ref.types.uint64,
    });
    table.set(-1, 5);
    expect(table.get(-1)).toBe(5);
    expect([...table]).toEqual([[-1, 5]]);
  });

  test('structs are keys and leaves, and outlive the call that read them', () => {
    const Key = Struct({ pid: ref.types.uint32!, op: ref.types.uint8! });
    const Leaf = Struct({ count: ref.types.uint32!, errors: ref.types.uint32! });
    const table = makeTable({
      ...{ type: 'HASH', key: struct({ pid: U32, op: U8 }), leaf: struct({ count: U32, errors: U32 }) },
      ...{ keyType: Key, leafType: Leaf },
    });
    table.set(new Key({ pid: 1, op: 2 }), new Leaf({ count: 3, errors: 4 }));
    table.set(new Key({ pid: 5, op: 6 }), new Leaf({ count: 7, errors: 8 }));
    const first = table.get(new Key({ pid: 1, op: 2 }));
    const second = table.get(new Key({ pid: 5, op: 6 }));
    expect([first.count, first.errors, second.count, second.errors]).toEqual([3, 4, 7, 8]);
    const pids = table.items().map(([key, leaf]) => [key.pid, leaf.count]);
    expect(pids.sort()).toEqual([
      [1, 3],
      [5, 7],
    ]);
    table.clear();
    expect(first.count).toBe(3);
  });

  test('a type of another size is refused', () => {
    expect(() => makeTable({ type: 'HASH', key: U32, leaf: U64, leafType: ref.types.int32 })).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_TABLE_SIZE' }),
    );
  });

  test('an object that is no type is refused', () => {
    expect(() => makeTable({ type: 'HASH', key: U32, leaf: U64, leafType: { bytes: 8 } })).toThrow(TypeError);
  });
});
