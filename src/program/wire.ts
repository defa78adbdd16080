import { endianness } from 'node:os';
import type { CompilerRequest, CompilerResult } from './compiler';

/*
 * What is said to the compiler and what it answers: 32-bit numbers in the machine's order, and bytes with their number
 * before them. native/compiler/wire.h is the other side.
 */

const LITTLE = endianness() === 'LE';

export function encodeRequest(request: CompilerRequest): Buffer {
  const { debug, allowRlimit, helpers, device, cflags, exported, texts } = request;
  const parts: Buffer[] = [];
  const number = (value: number) => {
    const bytes = Buffer.allocUnsafe(4);
    if (LITTLE) bytes.writeUInt32LE(value);
    else bytes.writeUInt32BE(value);
    parts.push(bytes);
  };
  const text = (value: string) => {
    const bytes = Buffer.from(value);
    number(bytes.length);
    parts.push(bytes);
  };
  const list = (values: readonly string[]) => {
    number(values.length);
    values.forEach(text);
  };
  number(debug);
  number(allowRlimit ? 1 : 0);
  number(HELPERS[helpers]);
  text(device ?? '');
  list(cflags);
  number(exported.length);
  for (const { name, type, keySize, leafSize, maxEntries, flags, keyDesc, leafDesc } of exported) {
    text(name);
    [type, keySize, leafSize, maxEntries, flags].forEach(number);
    text(keyDesc);
    text(leafDesc);
  }
  list(texts);
  return Buffer.concat(parts);
}

/** `ProbeReadHelpers` of native/compiler/kernel_symbols.h. */
const HELPERS = { ask: 0, present: 1, absent: 2 } as const;

/** @throws RangeError where the bytes end too early. */
export function decodeResult(bytes: Uint8Array): CompilerResult {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (length: number) => {
    if (at + length > data.length) throw new RangeError('the result of the compiler is cut short');
    at += length;
    return data.subarray(at - length, at);
  };
  const number = () => (LITTLE ? take(4).readUInt32LE() : take(4).readUInt32BE());
  const text = () => take(number()).toString();
  // A copy: the program outlives what came through the pipe, and wants its own alignment.
  const blob = () => new Uint8Array(take(number()));
  const list = <T>(read: () => T): T[] => Array.from({ length: number() }, read);
  // Properties are evaluated in the order in which they are written here.
  return {
    text: number(),
    libbcc: text(),
    license: text(),
    kernVersion: number(),
    functions: list(() => ({
      name: text(),
      insns: blob(),
      funcInfo: blob(),
      funcInfoRecSize: number(),
      lineInfo: blob(),
      lineInfoRecSize: number(),
    })),
    tables: list(() => ({
      name: text(),
      fd: number(),
      extern: number() !== 0,
      exported: number() !== 0,
      innerFd: number() | 0,
      pinned: text(),
      type: number(),
      keySize: number(),
      leafSize: number(),
      maxEntries: number(),
      flags: number(),
      keyDesc: text(),
      leafDesc: text(),
      eventFields: list(text),
    })),
    btf: blob(),
  };
}
