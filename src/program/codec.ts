import { createHash } from 'node:crypto';
import { BCCError } from '../errors';
import type { CompiledProgram } from './compiled';

/*
 * The written form of a compiled program:
 *
 *   0   8  "TSBCCPRG"
 *   8   4  format version, little-endian like every number here
 *   12  4  length of the JSON text
 *   16  32 SHA-256 of all that follows
 *   48     the JSON text, with {"$bytes": [offset, length]} in place of each byte array
 *          the byte arrays, one after the other
 *
 * The digest makes any changed byte a refusal; the checks behind it make a file that was forged with a right digest a
 * refusal too, where its shape is wrong. Who may write the file is the reader's to check.
 */

const MAGIC = Buffer.from('TSBCCPRG', 'latin1');
const HEADER = 48;

/** Raised whenever the form or the meaning of a field changes: older files are then refused and compiled anew. */
export const FORMAT_VERSION = 2;

export function encodeProgram(program: CompiledProgram): Buffer {
  const blobs: Uint8Array[] = [];
  let offset = 0;
  const json = Buffer.from(
    JSON.stringify(program, (_key, value: unknown) => {
      if (!(value instanceof Uint8Array)) return value;
      const reference = { $bytes: [offset, value.length] };
      blobs.push(value);
      offset += value.length;
      return reference;
    }),
  );
  const body = Buffer.concat([json, ...blobs]);
  const header = Buffer.alloc(HEADER);
  MAGIC.copy(header);
  header.writeUInt32LE(FORMAT_VERSION, 8);
  header.writeUInt32LE(json.length, 12);
  createHash('sha256').update(body).digest().copy(header, 16);
  return Buffer.concat([header, body]);
}

function refuse(reason: string, cause?: unknown): never {
  throw new BCCError('ERR_BCC_PROGRAM_FILE', `this is no compiled program that can be used: ${reason}`, {
    cause,
    hint: 'compile it again (tsbcc compile), or give the C text besides so that this happens by itself',
  });
}

/** Reads what {@link encodeProgram} wrote; anything else is an ERR_BCC_PROGRAM_FILE that says what is wrong with it. */
export function decodeProgram(bytes: Uint8Array): CompiledProgram {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (data.length < HEADER || !data.subarray(0, 8).equals(MAGIC)) refuse('it does not begin as one');
  const version = data.readUInt32LE(8);
  if (version !== FORMAT_VERSION) refuse(`its format is version ${version}, and this library reads ${FORMAT_VERSION}`);
  const jsonLength = data.readUInt32LE(12);
  const body = data.subarray(HEADER);
  if (jsonLength > body.length) refuse('it is cut short');
  if (!createHash('sha256').update(body).digest().equals(data.subarray(16, 48)))
    refuse('its digest does not match: it is damaged or cut short');
  const blobs = body.subarray(jsonLength);
  let program: unknown;
  try {
    program = JSON.parse(body.toString('utf8', 0, jsonLength), (_key, value: unknown) => {
      if (typeof value !== 'object' || value === null || !('$bytes' in value)) return value;
      const [offset, length] = value.$bytes as [number, number];
      if (!isSize(offset) || !isSize(length) || offset + length > blobs.length) refuse('a part of it lies outside');
      // A copy: the program must not keep the whole file, nor share its alignment.
      return new Uint8Array(blobs.subarray(offset, offset + length));
    });
  } catch (cause) {
    if (cause instanceof BCCError) throw cause;
    refuse('its description cannot be read', cause);
  }
  return checked(program);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

type Check = (value: unknown) => boolean;

const text: Check = (value) => typeof value === 'string';
const count: Check = (value) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffff_ffff;
const bytes: Check = (value) => value instanceof Uint8Array;
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const list =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const shape =
  (fields: Record<string, Check>): Check =>
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    Object.entries(fields).every(([name, check]) => check((value as Record<string, unknown>)[name]));

const isProgram = shape({
  functions: list(
    shape({
      name: text,
      insns: (value) => bytes(value) && (value as Uint8Array).length % 8 === 0,
      relocations: list(shape({ insn: count, table: text })),
      funcInfo: bytes,
      funcInfoRecSize: count,
      lineInfo: bytes,
      lineInfoRecSize: count,
    }),
  ),
  tables: list(
    shape({
      name: text,
      type: count,
      keySize: count,
      leafSize: count,
      maxEntries: count,
      flags: count,
      keyDesc: text,
      leafDesc: text,
      btfKeyTypeId: count,
      btfValueTypeId: count,
      innerMap: optional(text),
      pinned: optional(text),
      exported: optional((value) => typeof value === 'boolean'),
      extern: optional((value) => typeof value === 'boolean'),
      eventFields: list(text),
    }),
  ),
  license: text,
  kernVersion: count,
  btf: bytes,
  events: list(shape({ table: text, btfTypeId: count })),
  lostTables: list(text),
  origin: shape({ text, cflags: list(text), libbcc: text, kernelRelease: text, btf: text, headers: text, arch: text }),
  warnings: text,
});

function checked(value: unknown): CompiledProgram {
  if (!isProgram(value)) refuse('its description is incomplete');
  const program = value as CompiledProgram;
  const tables = new Set(program.tables.map((table) => table.name));
  for (const { name, insns, relocations } of program.functions) {
    for (const { insn, table } of relocations) {
      if (insn * 8 + 16 > insns.length || insns[insn * 8] !== 0x18)
        refuse(`${name} loads a table where it has no such instruction`);
      if (!tables.has(table)) refuse(`${name} uses the table ${table}, which it does not have`);
    }
  }
  for (const { name, innerMap } of program.tables) {
    if (innerMap !== undefined && !tables.has(innerMap))
      refuse(`the template ${innerMap} of the table ${name} is missing`);
  }
  return program;
}
