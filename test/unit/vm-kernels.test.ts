import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const { readBtf, unpackKernel } = require('../../scripts/vm/bzimage.mjs');
const { cacheFolder, once } = require('../../scripts/vm/cache.mjs');
const { kernelNames, metapackages, releaseFromDepends } = require('../../scripts/vm/kernels.mjs');

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vm-kernels-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the release behind a metapackage', () => {
  const debian12 = 'linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n';

  test('is read from what apt says of its dependencies', () => {
    expect(releaseFromDepends(debian12, '6.1')).toBe('6.1.0-56-amd64');
    expect(releaseFromDepends('linux-image-6.12-amd64\n  Depends: linux-image-6.12.117+deb12-amd64\n', '6.12')).toBe(
      '6.12.117+deb12-amd64',
    );
  });

  test('is found among alternatives', () => {
    const text = 'x\n |Depends: linux-image-6.12.9+deb13-amd64\n  Depends: linux-image-6.12.9+deb13-amd64-unsigned\n';
    expect(releaseFromDepends(text, '6.12')).toBe('6.12.9+deb13-amd64');
  });

  test('is not taken from a package that brings another version', () => {
    expect(releaseFromDepends(debian12, '6.12')).toBeUndefined();
    expect(releaseFromDepends('linux-image-amd64\n  Depends: linux-image-6.12.9+deb13-amd64\n', '6.1')).toBeUndefined();
  });

  test('is nothing where apt knows nothing', () => {
    expect(releaseFromDepends('', '6.1')).toBeUndefined();
  });
});

test('lists kernels by version, not by spelling', () => {
  expect(kernelNames).toEqual(['6.1', '6.12']);
  expect(metapackages('6.1')).toContain('linux-image-amd64');
});

test('keeps everything below the cache folder that XDG names', () => {
  expect(cacheFolder({ XDG_CACHE_HOME: '/var/cache/me' })).toBe('/var/cache/me/tsbcc/vm');
  expect(cacheFolder({ XDG_CACHE_HOME: 'relative' })).toMatch(/^\/.*\/\.cache\/tsbcc\/vm$/);
  expect(cacheFolder({})).toMatch(/^\/.*\/\.cache\/tsbcc\/vm$/);
});

describe('a thing made once', () => {
  const list = () => readdirSync(folder);

  test('is made the first time and kept', async () => {
    let made = 0;
    const make = async (partial: string) => writeFileSync(partial, String(++made));
    const path = join(folder, 'deep', 'thing');
    expect(await once(path, make)).toBe(path);
    await once(path, make);
    expect(readFileSync(path, 'utf8')).toBe('1');
    expect(readdirSync(join(folder, 'deep'))).toEqual(['thing']);
  });

  test('leaves nothing behind where making it failed', async () => {
    const broken = async (partial: string) => {
      writeFileSync(partial, 'half');
      throw new Error('no space');
    };
    await expect(once(join(folder, 'thing'), broken)).rejects.toThrow('no space');
    expect(list()).toEqual([]);
  });

  test('may be made by two at once', async () => {
    const make = async (partial: string) => {
      mkdirSync(partial);
      writeFileSync(join(partial, 'file'), 'whole');
      await new Promise((resolve) => setTimeout(resolve, 20));
    };
    const path = join(folder, 'tree');
    await Promise.all([once(path, make), once(path, make)]);
    expect(readFileSync(join(path, 'file'), 'utf8')).toBe('whole');
    expect(list()).toEqual(['tree']);
  });
});

/** An ELF file with one section besides the table of their names. */
function elf(name: string, data: string): Buffer {
  const names = `\0${name}\0.shstrtab\0`;
  const header = Buffer.alloc(64 + 3 * 64);
  header.write('\x7fELF', 'latin1');
  header.writeBigUInt64LE(64n, 0x28);
  header.writeUInt16LE(64, 0x3a);
  header.writeUInt16LE(3, 0x3c);
  header.writeUInt16LE(2, 0x3e);
  const section = (index: number, nameAt: number, offset: number, size: number) => {
    header.writeUInt32LE(nameAt, 64 + index * 64);
    header.writeBigUInt64LE(BigInt(offset), 64 + index * 64 + 0x18);
    header.writeBigUInt64LE(BigInt(size), 64 + index * 64 + 0x20);
  };
  section(1, 1, header.length, data.length);
  section(2, name.length + 2, header.length + data.length, names.length);
  return Buffer.concat([header, Buffer.from(data + names, 'latin1')]);
}

/** A compressed kernel image around a payload. */
function bzImage(payload: Buffer): Buffer {
  const setup = Buffer.alloc(3 * 512);
  setup[0x1f1] = 2;
  setup.write('HdrS', 0x202, 'latin1');
  setup.writeUInt32LE(16, 0x248);
  setup.writeUInt32LE(payload.length, 0x24c);
  return Buffer.concat([setup, Buffer.alloc(16), payload, Buffer.from('what follows')]);
}

describe('a kernel image', () => {
  const vmlinux = elf('.BTF', 'types');
  const size = Buffer.alloc(4);

  test.each(['xz', 'zstd'])('compressed with %s is unpacked', async (tool) => {
    if (!existsSync(`/usr/bin/${tool}`)) throw new Error(`apt-get install ${tool === 'xz' ? 'xz-utils' : tool}`);
    const packed = execFileSync(tool, ['--stdout'], { input: vmlinux });
    expect(await unpackKernel(bzImage(Buffer.concat([packed, size])))).toEqual(vmlinux);
  });

  test('compressed with gzip is unpacked', async () => {
    expect(await unpackKernel(bzImage(gzipSync(vmlinux)))).toEqual(vmlinux);
  });

  test('compressed otherwise is refused, with its first bytes', async () => {
    await expect(unpackKernel(bzImage(Buffer.from('LZ4 and so on')))).rejects.toThrow('4c5a3420');
  });

  test('is told from another file', async () => {
    await expect(unpackKernel(Buffer.from('#!/bin/sh\n'))).rejects.toThrow('not an x86 kernel image');
    await expect(unpackKernel(Buffer.alloc(4096))).rejects.toThrow('not an x86 kernel image');
  });

  test('gives its types', () => {
    expect(readBtf(vmlinux).toString()).toBe('types');
    expect(() => readBtf(elf('.text', 'code'))).toThrow('CONFIG_DEBUG_INFO_BTF');
  });
});
