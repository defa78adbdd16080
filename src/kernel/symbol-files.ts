import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import type { NativeSymbolSection } from '../native';
import { ElfFile } from './elf';

/*
 * Where the symbols of an ELF file are. Any user's process may have any file mapped, and the tracer is root: every offset
 * is checked here and once more where the bytes are read. libbcc's own reader (0.26) is not used for that reason: it
 * divides by the entry size that a symbol table claims, and writes a build id of any length into 128 bytes of its stack.
 */

const GLOBAL_DEBUG = '/usr/lib/debug';
/** A linker makes two. */
const MAX_TABLES = 8;
const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** The symbol tables of a file, those of its separate debug file first; undefined where it is no ELF that can be read. */
export function symbolSections(file: string): NativeSymbolSection[] | undefined {
  const found = ifElf(file, (elf) => ({ own: sectionsOf(elf), buildId: elf.buildId(), debugLink: elf.debugLink() }));
  if (!found) return undefined;
  const { own, buildId, debugLink } = found;
  return [...((buildId && byBuildId(buildId)) || (debugLink && byLink(file, debugLink)) || []), ...own];
}

function sectionsOf(elf: ElfFile): NativeSymbolSection[] {
  if (elf.littleEndian !== LITTLE_ENDIAN) return [];
  return elf
    .symbolTables()
    .slice(0, MAX_TABLES)
    .flatMap(({ offset, size, link }) => {
      const strings = elf.sections[link];
      return strings
        ? [{ path: elf.path, wide: elf.is64, offset, size, stringsOffset: strings.offset, stringsSize: strings.size }]
        : [];
    });
}

function byBuildId(id: string): NativeSymbolSection[] | undefined {
  return ifElf(path.join(GLOBAL_DEBUG, '.build-id', id.slice(0, 2), `${id.slice(2)}.debug`), sectionsOf);
}

/** As GDB looks: beside the file, in .debug beside it, in the global folder; the checksum tells whether it is the one. */
function byLink(file: string, { name, crc }: { name: string; crc: number }): NativeSymbolSection[] | undefined {
  // Needed for a separate debug file only, and dear at every start.
  const { crc32 } = require('node:zlib') as typeof import('node:zlib');
  const folder = path.dirname(file);
  for (const where of [folder, path.join(folder, '.debug'), path.join(GLOBAL_DEBUG, folder)]) {
    const candidate = path.join(where, name);
    const sections = candidate === file ? undefined : ifElf(candidate, sectionsOf);
    if (sections && crc32(readFileSync(candidate)) === crc) return sections;
  }
  return undefined;
}

function ifElf<T>(file: string, use: (elf: ElfFile) => T): T | undefined {
  try {
    return ElfFile.with(file, use);
  } catch {
    return undefined;
  }
}
