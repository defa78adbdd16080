import { KernelSymbols } from '../../src/kernel/kallsyms';

const TEXT = `0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T alias_of_stext
ffffffff81000100 t helper
ffffffff81000180 d helper_data
ffffffff81000200 W weak_one
ffffffff82000000 D data_only
ffffffffc0300000 t module_call\t[nft]
ffffffffc0100000 T early_module_call\t[tcp]
ffffffffc0200000 t bpf_prog_6deef7357e7b4530\t[bpf]
`;

describe('kernel symbols', () => {
  const symbols = new KernelSymbols(Buffer.from(TEXT));

  it.each([
    [0xffffffff81000000n, '_stext', 0n, 'kernel'],
    [0xffffffff810000ffn, '_stext', 0xffn, 'kernel'],
    [0xffffffff81000100n, 'helper', 0n, 'kernel'],
    [0xffffffff810001ffn, 'helper', 0xffn, 'kernel'],
    [0xffffffff81000201n, 'weak_one', 1n, 'kernel'],
    [0xffffffffc0100010n, 'early_module_call', 0x10n, 'tcp'],
    [0xffffffffc0200000n, 'bpf_prog_6deef7357e7b4530', 0n, 'bpf'],
    [0xffffffffc0300001n, 'module_call', 1n, 'nft'],
  ])('resolve 0x%s', (address, name, offset, module) => {
    expect(symbols.resolve(address)).toEqual({ name, offset, module });
    expect(symbols.textAt(address)).toBe(name);
    const text = `${name}+0x${offset.toString(16)} [${module}]`;
    expect(symbols.textAt(address, true, true)).toBe(text);
  });

  it('know nothing below the first function', () => {
    expect(symbols.resolve(0xffffffff80ffffffn)).toBeUndefined();
    expect(symbols.textAt(0n)).toBeUndefined();
  });

  it('find addresses of functions, and of data where it is asked for', () => {
    // Often enough to pass from searching the text to the index of names.
    for (let i = 0; i < 20; i++) {
      expect(symbols.address('helper')).toBe(0xffffffff81000100n);
      expect(symbols.address('alias_of_stext')).toBe(0xffffffff81000000n);
      expect(symbols.address('module_call')).toBe(0xffffffffc0300000n);
      expect(symbols.address('data_only')).toBeUndefined();
      expect(symbols.address('data_only', { data: true })).toBe(0xffffffff82000000n);
      expect(symbols.address('help')).toBeUndefined();
      expect(symbols.has('data_only')).toBe(true);
      expect(symbols.has('nowhere')).toBe(false);
    }
  });

  it('list all symbols and functions in their order', () => {
    expect(symbols.size).toBe(10);
    expect([...symbols.names()].slice(0, 3)).toEqual(['fixed_percpu_data', '_stext', 'alias_of_stext']);
    expect([...symbols.functions()].map(({ name }) => name)).not.toContain('helper_data');
    expect([...symbols.entries()][7]).toEqual({
      name: 'module_call',
      address: 0xffffffffc0300000n,
      type: 't',
      module: 'nft',
    });
  });

  it('say so where the kernel hides its addresses', () => {
    const hidden = new KernelSymbols(Buffer.from('0000000000000000 T vfs_read\n0000000000000000 t helper\t[nft]\n'));
    expect(hidden.hidden).toBe(true);
    expect(hidden.has('vfs_read')).toBe(true);
    const refusal = expect.objectContaining({ code: 'ERR_BCC_KALLSYMS', hint: expect.stringContaining('CAP_SYSLOG') });
    expect(() => hidden.address('vfs_read')).toThrow(refusal);
    expect(() => hidden.resolve(0xffffffff81000000n)).toThrow(refusal);
  });

  it('stand up to texts that end anywhere', () => {
    for (let end = 0; end < TEXT.length; end++) {
      const cut = new KernelSymbols(Buffer.from(TEXT.slice(0, end)));
      expect([...cut.entries()].length).toBeLessThanOrEqual(10);
    }
  });
});

it('many kernel symbols are found as a search from the first to the last finds them', () => {
  // A small generator with a fixed seed: the same table in every run.
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed % below;
  };
  for (const base of [0xffffffff81000000n, 0xffff7ffffff00000n]) {
    let address = base;
    const table: [bigint, string][] = [];
    for (let i = 0; i < 3000; i++) {
      address += BigInt(i % 500 === 0 ? random(1 << 22) : random(300));
      table.push([address, `f${i}`]);
    }
    const symbols = new KernelSymbols(
      Buffer.from(table.map(([at, name]) => `${at.toString(16)} t ${name}\n`).join('')),
    );
    const span = Number(address - base) + 1000;
    for (let i = 0; i < 5000; i++) {
      const wanted = base + BigInt(random(span));
      const last = table.findLast(([at]) => at <= wanted)?.[0];
      const first = table.find(([at]) => at === last)?.[1];
      expect(symbols.textAt(wanted)).toBe(first);
    }
  }
});

it('leaves out lines that are no symbols', () => {
  const text = 'ffffffff81000000 T first\n4\t[bp\nffffffff81000010Tsecond\n\nffffffff81000020 t third\n';
  expect([...new KernelSymbols(Buffer.from(text)).names()]).toEqual(['first', 'third']);
});
