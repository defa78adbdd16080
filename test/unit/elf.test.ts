import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCCError } from '../../src/errors';
import { ElfFile, isElf } from '../../src/kernel/elf';
import { symbolAddress, symbolTable } from '../../src/kernel/symbol-table';
import { describeIf, outputOf } from '../helpers';
import { compileC } from '../helpers/c-program';

const PROGRAM = `
#include <stdio.h>
int in_code(int n) { return n + 1; }
int main(void) { return in_code(1); }
`;

describeIf('cc', 'ELF files', () => {
  let folder: string;
  const files: Record<string, string> = {};

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-elf-'));
    files.pie = compileC(folder, 'pie', PROGRAM, ['-fPIE', '-pie', '-Wl,--build-id=sha1']);
    files.fixed = compileC(folder, 'fixed', PROGRAM, ['-no-pie', '-fno-pie', '-Wl,--build-id=0xabcdef']);
    files.object = compileC(folder, 'object', PROGRAM, ['-c']);
    files.plain = compileC(folder, 'plain', PROGRAM, ['-Wl,--build-id=none', '-Wl,-z,noseparate-code']);
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('have their symbols in a debug file where a link with the right checksum names it', () => {
    const program = compileC(folder, 'stripped', PROGRAM, ['-Wl,--build-id=none']);
    const debug = path.join(folder, 'stripped.debug');
    outputOf('objcopy', ['--only-keep-debug', program, debug]);
    outputOf('objcopy', ['--strip-all', `--add-gnu-debuglink=${debug}`, program]);
    expect(symbolAddress(program, 'in_code')).toBeGreaterThan(0n);
    expect([...symbolTable(program)!.entries()].map(([name]) => name)).toContain('in_code');
    writeFileSync(debug, Buffer.concat([readFileSync(debug), Buffer.alloc(1)]));
    expect(symbolAddress(program, 'in_code')).toBeUndefined();
  });

  it.each(['pie', 'fixed', 'plain'])('say where code lies in the %s file, and back', (name) => {
    const file = files[name]!;
    ElfFile.with(file, (elf) => {
      const { address } = elf.functions().find((symbol) => symbol.name === 'in_code')!;
      const nm = outputOf('nm', [file]);
      expect(address.toString(16)).toBe(/^0*([0-9a-f]+) T in_code$/m.exec(nm)![1]);
      const offset = elf.addressToOffset(address)!;
      expect(elf.offsetToAddress(offset)).toBe(address);
      // The bytes at the offset are those that objdump shows at the address.
      const code = outputOf('objdump', ['-d', '--disassemble=in_code', file]);
      const first = /^ +[0-9a-f]+:\t((?:[0-9a-f]{2} )+)/m.exec(code)![1]!.replace(/ /g, '');
      const bytes = readFileSync(file).subarray(Number(offset), Number(offset) + first.length / 2);
      expect(bytes.toString('hex')).toBe(first);
      expect(elf.addressToOffset(1n << 50n)).toBeUndefined();
    });
  });

  it('know their type, class and build id', () => {
    ElfFile.with(files.pie!, (elf) => {
      expect(elf).toMatchObject({ type: 3, relocatable: true, is64: true });
      expect(elf.buildId()).toBe(/Build ID: ([0-9a-f]+)/.exec(outputOf('readelf', ['-n', files.pie!]))![1]);
    });
    ElfFile.with(files.fixed!, (elf) => {
      expect(elf).toMatchObject({ type: 2, relocatable: false });
      expect(elf.buildId()).toBe('abcdef');
    });
    ElfFile.with(files.object!, (elf) => expect(elf.type).toBe(1));
    ElfFile.with(files.plain!, (elf) => expect(elf.buildId()).toBeUndefined());
  });

  it('have sections with names', () => {
    ElfFile.with(files.pie!, (elf) => {
      const names = elf.sections.map((section) => section.name);
      expect(names).toEqual(expect.arrayContaining(['.text', '.symtab', '.dynsym', '.note.gnu.build-id']));
    });
  });

  it('are refused with a reason where they are none', () => {
    const text = path.join(folder, 'text');
    writeFileSync(text, 'no program');
    const fifo = path.join(folder, 'fifo');
    outputOf('mkfifo', [fifo]);
    for (const wrong of [text, folder, fifo, '/dev/null']) {
      expect(() => ElfFile.with(wrong, () => 0)).toThrow(expect.objectContaining({ code: 'ERR_BCC_NOT_ELF' }));
      expect(isElf(wrong)).toBe(false);
    }
    expect(() => ElfFile.with(path.join(folder, 'none'), () => 0)).toThrow(
      expect.objectContaining({ code: 'ERR_BCC_FILE', errno: 2 }),
    );
    expect(isElf(files.pie!)).toBe(true);
  });

  it('do no more than throw where they are damaged', () => {
    const whole = readFileSync(files.pie!);
    const read = (image: Buffer) =>
      ElfFile.withImage('damaged', image, (elf) => {
        elf.buildId();
        elf.usdtNotes();
        elf.functions();
        return elf.addressToOffset(0x1000n);
      });
    for (let length = 0; length < 4096; length += 7) refusedOrRead(() => read(whole.subarray(0, length)));
    // A small generator with a fixed seed: the same damage in every run.
    let seed = 12345;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return seed % below;
    };
    for (let i = 0; i < 2000; i++) {
      const damaged = Buffer.from(whole);
      for (let j = 0; j < 3; j++) damaged[random(1024)] = random(256);
      damaged[whole.length - 1 - random(2048)] = random(256);
      refusedOrRead(() => read(damaged));
      if (i % 10 > 0) continue;
      writeFileSync(path.join(folder, 'damaged'), damaged);
      refusedOrRead(() => ElfFile.with(path.join(folder, 'damaged'), (elf) => [elf.usdtNotes(), elf.functions()]));
    }
  });
});

it('ends at a note whose sizes are those of no file', () => {
  const image = Buffer.alloc(64 + 56 + 32);
  image.write('\x7fELF\x02\x01\x01', 'latin1');
  image.writeUInt16LE(3, 16);
  image.writeBigUInt64LE(64n, 32);
  image.writeUInt16LE(56, 54);
  image.writeUInt16LE(1, 56);
  image.writeUInt32LE(4, 64);
  image.writeBigUInt64LE(120n, 72);
  image.writeBigUInt64LE(32n, 96);
  // Aligned with 32-bit operations this size is negative, and the next note would be the one before.
  image.writeUInt32LE(0x80000000, 120);
  image.writeUInt32LE(0x7ffffff4, 124);
  expect(ElfFile.withImage('image', image, (file) => file.buildId())).toBeUndefined();
});

describe('symbols of a file that is made to end its reader', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-hostile-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** A shared object of sections alone. */
  function image(
    sections: { name: string; type: number; entrySize?: bigint; content: Buffer; link?: number }[],
  ): Buffer {
    const names = Buffer.from(`\0${sections.map(({ name }) => `${name}\0`).join('')}\0.names\0`);
    const all = [...sections, { name: '.names', type: 3, content: names }];
    const header = Buffer.alloc(64);
    header.write('\x7fELF\x02\x01\x01', 'latin1');
    header.writeUInt16LE(3, 16);
    header.writeUInt16LE(62, 18);
    const parts: Buffer[] = [header];
    const table = Buffer.alloc(64 * (all.length + 1));
    let at = header.length;
    all.forEach(({ name, type, content, ...rest }, i) => {
      const entry = 64 * (i + 1);
      table.writeUInt32LE(names.indexOf(`${name}\0`), entry);
      table.writeUInt32LE(type, entry + 4);
      table.writeBigUInt64LE(BigInt(at), entry + 24);
      table.writeBigUInt64LE(BigInt(content.length), entry + 32);
      table.writeUInt32LE('link' in rest ? (rest.link ?? 0) : 0, entry + 40);
      table.writeBigUInt64LE('entrySize' in rest ? (rest.entrySize ?? 0n) : 0n, entry + 56);
      parts.push(content);
      at += content.length;
    });
    header.writeBigUInt64LE(BigInt(at), 40);
    header.writeUInt16LE(64, 58);
    header.writeUInt16LE(all.length + 1, 60);
    header.writeUInt16LE(all.length, 62);
    return Buffer.concat([...parts, table]);
  }

  function symbol(name: number, address: bigint): Buffer {
    const bytes = Buffer.alloc(24);
    bytes.writeUInt32LE(name);
    bytes[4] = 2;
    bytes.writeBigUInt64LE(address, 8);
    bytes.writeBigUInt64LE(16n, 16);
    return bytes;
  }

  it('are read, whatever entry size it claims and however long its build id is', () => {
    const strings = Buffer.from('\0fine\0');
    const note = Buffer.concat([
      Buffer.from([4, 0, 0, 0, 0, 4, 0, 0, 3, 0, 0, 0]),
      Buffer.from('GNU\0'),
      Buffer.alloc(1024, 7),
    ]);
    const file = path.join(folder, 'entries');
    const table = Buffer.concat([symbol(1, 0x1000n), symbol(0x7fffffff, 0x2000n)]);
    writeFileSync(
      file,
      image([
        { name: '.strtab', type: 3, content: strings },
        { name: '.symtab', type: 2, entrySize: 0n, content: table, link: 1 },
        { name: '.note.gnu.build-id', type: 7, content: note },
        { name: '.gnu_debuglink', type: 1, content: Buffer.alloc(6, 0x41) },
      ]),
    );
    expect([...symbolTable(file)!.entries()]).toEqual([['fine', 0x1000n]]);
    expect(symbolAddress(file, 'fine')).toBe(0x1000n);
    expect(symbolAddress(file, 'other')).toBeUndefined();
  });

  it('are cut where names without end would fill the memory', () => {
    const strings = Buffer.concat([Buffer.alloc(1 << 20, 0x61), Buffer.alloc(1)]);
    const table = Buffer.concat(Array.from({ length: 300 }, (_, i) => symbol(0, BigInt(0x1000 + 16 * i))));
    const file = path.join(folder, 'names');
    writeFileSync(
      file,
      image([
        { name: '.strtab', type: 3, content: strings },
        { name: '.symtab', type: 2, entrySize: 24n, content: table, link: 1 },
      ]),
    );
    expect(symbolTable(file)!.size).toBe(256);
  });
});

function refusedOrRead(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    expect(error).toBeInstanceOf(BCCError);
  }
}
