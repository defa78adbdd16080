import { gunzipSync } from 'node:zlib';
import { VmError } from './errors.mjs';
import { runOrThrow } from './process.mjs';

// Offsets in the setup header of an x86 kernel image: Documentation/arch/x86/boot.rst.
const SETUP_SECTORS = 0x1f1;
const MAGIC = 0x202;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const SECTOR = 512;
/** The build appends the unpacked size, 4 bytes, to the payload of every compressor but gzip. */
const SIZE_TRAILER = 4;

/**
 * The ELF file in a compressed x86 kernel image.
 * @param {Buffer} image the contents of a vmlinuz
 * @returns {Promise<Buffer>} the contents of vmlinux
 * @throws VmError where the image is not of that kind, or compressed in a way that is not known here
 */
export async function unpackKernel(image) {
  if (image.length < PAYLOAD_LENGTH + 4 || image.toString('latin1', MAGIC, MAGIC + 4) !== 'HdrS') {
    throw new VmError('this is not an x86 kernel image (no HdrS in its header)');
  }
  // 0 stands for 4, for the sake of very old loaders.
  const setup = ((image[SETUP_SECTORS] || 4) + 1) * SECTOR;
  const start = setup + image.readUInt32LE(PAYLOAD_OFFSET);
  const payload = image.subarray(start, start + image.readUInt32LE(PAYLOAD_LENGTH));
  const packed = payload.subarray(0, -SIZE_TRAILER);
  switch (payload.readUInt32BE(0)) {
    case 0xfd377a58:
      return runOrThrow('xz', ['--decompress', '--stdout'], { input: packed });
    case 0x28b52ffd:
      return runOrThrow('zstd', ['--decompress', '--stdout'], { input: packed });
    case 0x7f454c46:
      return payload;
    default:
      if (payload.readUInt16BE(0) === 0x1f8b) return gunzipSync(payload);
      throw new VmError(
        `the kernel is compressed with something else than xz, zstd or gzip (it begins with ${payload.toString('hex', 0, 4)})`,
      );
  }
}

/**
 * A section of a little-endian 64-bit ELF file.
 * @param {Buffer} elf
 * @param {string} name `.BTF`
 * @returns {Buffer | undefined}
 */
export function elfSection(elf, name) {
  const table = Number(elf.readBigUInt64LE(0x28));
  const entrySize = elf.readUInt16LE(0x3a);
  const count = elf.readUInt16LE(0x3c);
  const sections = Array.from({ length: count }, (_, index) => {
    const at = table + index * entrySize;
    const offset = Number(elf.readBigUInt64LE(at + 0x18));
    return { name: elf.readUInt32LE(at), data: elf.subarray(offset, offset + Number(elf.readBigUInt64LE(at + 0x20))) };
  });
  const names = sections[elf.readUInt16LE(0x3e)]?.data;
  return sections.find((section) => names?.toString('latin1', section.name, names.indexOf(0, section.name)) === name)
    ?.data;
}

/**
 * The types of a kernel: the bytes that `/sys/kernel/btf/vmlinux` holds while it runs.
 * @param {Buffer} vmlinux
 * @returns {Buffer}
 * @throws VmError where the kernel was built without CONFIG_DEBUG_INFO_BTF
 */
export function readBtf(vmlinux) {
  const btf = elfSection(vmlinux, '.BTF');
  if (!btf) throw new VmError('this kernel holds no BTF (it was built without CONFIG_DEBUG_INFO_BTF)');
  return btf;
}
