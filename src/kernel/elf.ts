import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { constants as systemConstants } from 'node:os';
import { BCCError } from '../errors';

/*
 * What attaching needs to know of an ELF file, read in place: headers, notes and where an address lies in the file.
 * Source of the layouts: elf(5); of the notes: SystemTap's wiki, "UserSpaceProbeImplementation", and sys/sdt.h.
 */

const ET_EXEC = 2;
const ET_DYN = 3;
const PT_LOAD = 1;
const PT_NOTE = 4;
const PF_X = 1;
const SHT_NOBITS = 8;
const SHT_NOTE = 7;
const SHT_SYMTAB = 2;
const SHT_DYNSYM = 11;
const STT_FUNC = 2;
const STT_GNU_IFUNC = 10;
const NT_GNU_BUILD_ID = 3;
const NT_STAPSDT = 3;

/** The most of a file that is read at once: a sparse file can claim any size. */
const MAX_PART = 2 ** 30;

export interface ElfSegment {
  type: number;
  flags: number;
  offset: bigint;
  address: bigint;
  fileSize: bigint;
  memorySize: bigint;
}

export interface ElfSection {
  name: string;
  type: number;
  address: bigint;
  offset: bigint;
  size: bigint;
  link: number;
  entrySize: bigint;
}

export interface ElfNote {
  owner: string;
  type: number;
  description: Buffer;
}

/** One place in the code that a USDT macro marked. Addresses are virtual ones of the file. */
export interface UsdtNote {
  provider: string;
  name: string;
  /** How each argument is to be had, as the assembler wrote it: `-4@%edi 8@-24(%rbp)`. */
  argumentText: string;
  address: bigint;
  /** 0 where the probe has none. */
  semaphore: bigint;
  /** Where in the file the semaphore is; 0 where the probe has none. */
  semaphoreOffset: bigint;
}

/** What a file's bytes are read through: a file descriptor, or a copy in memory. */
type Read = (offset: number, length: number) => Buffer;

export class ElfFile {
  readonly path: string;
  readonly is64: boolean;
  readonly littleEndian: boolean;
  /** ET_EXEC 2 (fixed addresses), ET_DYN 3 (shared objects and position-independent executables), ET_REL 1, ET_CORE 4. */
  readonly type: number;
  /** EM_X86_64 62, EM_AARCH64 183, EM_386 3, … */
  readonly machine: number;
  readonly segments: readonly ElfSegment[];
  readonly #read: Read;
  readonly #sectionTable: { offset: number; entrySize: number; count: number; names: number };
  #sections: ElfSection[] | undefined;

  private constructor(path: string, read: Read) {
    this.path = path;
    this.#read = read;
    const ident = read(0, 64);
    if (ident.length < 52 || ident.readUInt32BE(0) !== 0x7f454c46) throw notElf(path);
    this.is64 = ident[4] === 2;
    this.littleEndian = ident[5] === 1;
    if ((ident[4] !== 1 && ident[4] !== 2) || (ident[5] !== 1 && ident[5] !== 2)) throw notElf(path);
    if (this.is64 && ident.length < 64) throw notElf(path);
    const header = this.#view(ident);
    this.type = header.u16(16);
    this.machine = header.u16(18);
    const [programs, sections, tail] = this.is64 ? [32, 40, 52] : [28, 32, 40];
    this.segments = this.#readSegments(header.word(programs), header.u16(tail + 2), header.u16(tail + 4));
    this.#sectionTable = {
      offset: Number(header.word(sections)),
      entrySize: header.u16(tail + 6),
      count: header.u16(tail + 8),
      names: header.u16(tail + 10),
    };
  }

  /**
   * Calls `use` with the file at `path`, which is open only meanwhile.
   *
   * @throws BCCError `ERR_BCC_NOT_ELF` where the file is no ELF, `ERR_BCC_FILE` where it cannot be read.
   */
  static with<T>(path: string, use: (file: ElfFile) => T): T {
    let fd: number;
    try {
      // Without O_NONBLOCK a named pipe would be waited for.
      fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (cause) {
      throw unreadable(path, cause as NodeJS.ErrnoException);
    }
    try {
      const status = fstatSync(fd);
      if (!status.isFile()) throw notElf(path);
      return use(
        new ElfFile(path, (offset, length) => {
          if (!Number.isSafeInteger(offset) || length > MAX_PART) throw damaged(path);
          // What a damaged header claims must not be allocated.
          const buffer = Buffer.alloc(Math.min(length, status.size));
          return buffer.subarray(0, buffer.length === 0 ? 0 : readSync(fd, buffer, 0, buffer.length, offset));
        }),
      );
    } finally {
      closeSync(fd);
    }
  }

  /** Calls `use` with an ELF image held in memory; `name` stands for it in messages. */
  static withImage<T>(name: string, image: Buffer, use: (file: ElfFile) => T): T {
    return use(new ElfFile(name, (offset, length) => image.subarray(offset, offset + length)));
  }

  /** Loaded at addresses of the loader's choosing: a shared object or a position-independent executable. */
  get relocatable(): boolean {
    return this.type === ET_DYN;
  }

  get sections(): readonly ElfSection[] {
    this.#sections ??= this.#readSections();
    return this.#sections;
  }

  /**
   * Where the code at a virtual address lies in the file, which is what uprobes are placed by; undefined where no
   * executable segment holds the address.
   */
  addressToOffset(address: bigint): bigint | undefined {
    if (this.type !== ET_EXEC && this.type !== ET_DYN) return address;
    return this.codeSegments()
      .filter((segment) => address >= segment.address && address < segment.address + segment.memorySize)
      .map((segment) => address - segment.address + segment.offset)[0];
  }

  /** The virtual address of the code at an offset in the file: the inverse of `addressToOffset`. */
  offsetToAddress(offset: bigint): bigint | undefined {
    if (this.type !== ET_EXEC && this.type !== ET_DYN) return offset;
    return this.codeSegments()
      .filter((segment) => offset >= segment.offset && offset < segment.offset + segment.fileSize)
      .map((segment) => offset - segment.offset + segment.address)[0];
  }

  /** The GNU build id in hexadecimal, undefined where the linker wrote none. */
  buildId(): string | undefined {
    for (const segment of this.segments) {
      if (segment.type !== PT_NOTE) continue;
      for (const note of this.#notes(segment.offset, segment.fileSize)) {
        if (note.owner === 'GNU' && note.type === NT_GNU_BUILD_ID) return note.description.toString('hex');
      }
    }
    return undefined;
  }

  /** The probes that `<sys/sdt.h>` left in the file, in its order. A probe used at several places is there several times. */
  usdtNotes(): UsdtNote[] {
    const base = this.sections.find((section) => section.name === '.stapsdt.base');
    const probes = this.sections.find((section) => section.name === '.probes');
    const found: UsdtNote[] = [];
    for (const section of this.sections) {
      if (section.type !== SHT_NOTE || section.name !== '.note.stapsdt') continue;
      for (const note of this.#notes(section.offset, section.size)) {
        if (note.owner !== 'stapsdt' || note.type !== NT_STAPSDT) continue;
        const parsed = this.#usdtNote(note.description, base, probes);
        if (parsed) found.push(parsed);
      }
    }
    return found;
  }

  /** The separate debug file that the linker's `.gnu_debuglink` names, by its last part, and its checksum (CRC-32). */
  debugLink(): { name: string; crc: number } | undefined {
    const link = this.sections.find((section) => section.name === '.gnu_debuglink');
    if (!link || link.type === SHT_NOBITS) return undefined;
    const bytes = this.#read(Number(link.offset), Number(link.size));
    const name = cString(bytes, 0);
    const crcAt = align4(Buffer.byteLength(name) + 1);
    if (name === '' || name.includes('/') || crcAt + 4 > bytes.length) return undefined;
    return { name, crc: this.#view(bytes).u32(crcAt) };
  }

  /** The sections that hold symbols. */
  symbolTables(): ElfSection[] {
    return this.sections.filter(({ type }) => type === SHT_SYMTAB || type === SHT_DYNSYM);
  }

  /** Function symbols of the file's own tables (`symbolTable` also knows separate debug files). */
  functions(): { name: string; address: bigint; size: bigint }[] {
    const found: { name: string; address: bigint; size: bigint }[] = [];
    for (const table of this.symbolTables()) {
      const names = this.sections[table.link];
      if (!names) continue;
      const text = this.#read(Number(names.offset), Number(names.size));
      const symbols = this.#view(this.#read(Number(table.offset), Number(table.size)));
      const step = this.is64 ? 24 : 16;
      for (let at = 0; at + step <= symbols.length; at += step) {
        const kind = symbols.u8(at + (this.is64 ? 4 : 12)) & 0xf;
        const address = symbols.word(at + (this.is64 ? 8 : 4));
        if ((kind !== STT_FUNC && kind !== STT_GNU_IFUNC) || address === 0n) continue;
        found.push({ name: cString(text, symbols.u32(at)), address, size: symbols.word(at + (this.is64 ? 16 : 8)) });
      }
    }
    return found;
  }

  /** The segments that are loaded as code. */
  codeSegments(): ElfSegment[] {
    return this.segments.filter((segment) => segment.type === PT_LOAD && (segment.flags & PF_X) !== 0);
  }

  #usdtNote(bytes: Buffer, base: ElfSection | undefined, probes: ElfSection | undefined): UsdtNote | undefined {
    const step = this.is64 ? 8 : 4;
    if (bytes.length < 3 * step + 3) return undefined;
    const view = this.#view(bytes);
    let address = view.word(0);
    const noteBase = view.word(step);
    let semaphore = view.word(2 * step);
    // prelink moves sections without touching notes: the base section tells by how much.
    if (base && noteBase !== 0n && base.address !== noteBase) {
      const moved = base.address - noteBase;
      address += moved;
      if (semaphore !== 0n) semaphore += moved;
    }
    const provider = cString(bytes, 3 * step);
    const nameAt = 3 * step + Buffer.byteLength(provider) + 1;
    const name = cString(bytes, nameAt);
    const argumentText = cString(bytes, nameAt + Buffer.byteLength(name) + 1);
    // Functions that the linker threw away leave notes that point nowhere.
    if (provider === '' || name === '' || this.addressToOffset(address) === undefined) return undefined;
    const semaphoreOffset = semaphore !== 0n && probes ? semaphore - probes.address + probes.offset : 0n;
    return { provider, name, argumentText, address, semaphore, semaphoreOffset };
  }

  *#notes(offset: bigint, size: bigint): IterableIterator<ElfNote> {
    const bytes = this.#read(Number(offset), Number(size));
    const view = this.#view(bytes);
    for (let at = 0; at + 12 <= bytes.length; ) {
      const nameSize = view.u32(at);
      const descriptionSize = view.u32(at + 4);
      const type = view.u32(at + 8);
      const nameAt = at + 12;
      // Sums are bounded before they are aligned: bit operations take sizes from 2 GiB on for negative ones.
      if (nameSize > bytes.length || descriptionSize > bytes.length) return;
      const descriptionAt = nameAt + align4(nameSize);
      const end = descriptionAt + descriptionSize;
      if (end > bytes.length) return;
      yield {
        owner: cString(bytes.subarray(nameAt, nameAt + nameSize), 0),
        type,
        description: bytes.subarray(descriptionAt, end),
      };
      at = align4(end);
    }
  }

  #readSegments(offset: bigint, entrySize: number, count: number): ElfSegment[] {
    const bytes = this.#read(Number(offset), entrySize * count);
    const view = this.#view(bytes);
    const segments: ElfSegment[] = [];
    for (let i = 0; i < count; i++) {
      const at = i * entrySize;
      if (at + (this.is64 ? 56 : 32) > bytes.length) throw damaged(this.path);
      segments.push(
        this.is64
          ? {
              type: view.u32(at),
              flags: view.u32(at + 4),
              offset: view.word(at + 8),
              address: view.word(at + 16),
              fileSize: view.word(at + 32),
              memorySize: view.word(at + 40),
            }
          : {
              type: view.u32(at),
              flags: view.u32(at + 24),
              offset: view.word(at + 4),
              address: view.word(at + 8),
              fileSize: view.word(at + 16),
              memorySize: view.word(at + 20),
            },
      );
    }
    return segments;
  }

  #readSections(): ElfSection[] {
    const { offset, entrySize, count, names } = this.#sectionTable;
    if (offset === 0 || count === 0) return [];
    const bytes = this.#read(offset, entrySize * count);
    const view = this.#view(bytes);
    const raw: (ElfSection & { nameAt: number })[] = [];
    for (let at = 0; at + (this.is64 ? 64 : 40) <= bytes.length; at += entrySize) {
      const [address, file, size, link, entry] = this.is64 ? [16, 24, 32, 40, 56] : [12, 16, 20, 24, 36];
      raw.push({
        name: '',
        nameAt: view.u32(at),
        type: view.u32(at + 4),
        address: view.word(at + address),
        offset: view.word(at + file),
        size: view.word(at + size),
        link: view.u32(at + link),
        entrySize: view.word(at + entry),
      });
    }
    const strings = raw[names];
    const text =
      strings && strings.type !== SHT_NOBITS ? this.#read(Number(strings.offset), Number(strings.size)) : null;
    return raw.map(({ nameAt, ...section }) => ({ ...section, name: text ? cString(text, nameAt) : '' }));
  }

  #view(bytes: Buffer) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const little = this.littleEndian;
    return {
      length: bytes.length,
      u8: (at: number) => view.getUint8(at),
      u16: (at: number) => view.getUint16(at, little),
      u32: (at: number) => view.getUint32(at, little),
      /** An address, offset or size: as wide as the file's class. */
      word: (at: number) => (this.is64 ? view.getBigUint64(at, little) : BigInt(view.getUint32(at, little))),
    };
  }
}

/** Whether the file begins as ELF files do; false where it cannot be read. */
export function isElf(path: string): boolean {
  try {
    return ElfFile.with(path, () => true);
  } catch {
    return false;
  }
}

function align4(size: number): number {
  return (size + 3) & ~3;
}

function cString(bytes: Buffer, at: number): string {
  const end = bytes.indexOf(0, at);
  return bytes.toString('utf8', at, end < 0 ? bytes.length : end);
}

function notElf(path: string): BCCError {
  return new BCCError('ERR_BCC_NOT_ELF', `${path} is no ELF file`, {
    errno: systemConstants.errno.ENOEXEC,
    hint: 'name an executable or a shared object; for a script, name its interpreter',
  });
}

function damaged(path: string): BCCError {
  return new BCCError('ERR_BCC_NOT_ELF', `${path} is a damaged ELF file: a header points beyond its end`, {
    errno: systemConstants.errno.ENOEXEC,
    hint: 'install the file again',
  });
}

function unreadable(path: string, cause: NodeJS.ErrnoException): BCCError {
  const missing = cause.code === 'ENOENT' || cause.code === 'ENOTDIR';
  return new BCCError('ERR_BCC_FILE', missing ? `${path} does not exist` : `${path} cannot be read: ${cause.code}`, {
    ...(cause.errno === undefined ? {} : { errno: -cause.errno }),
    hint: missing ? 'check the path' : 'check the permissions of the file and of the folders above it',
    cause,
  });
}
