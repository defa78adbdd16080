import * as os from 'node:os';
import { HeadersError } from '../errors';
import type { HeadersContext } from '../kernel/headers';
import { stripComments } from '../kernel/headers/scan';
import { readBtf } from '../kernel/headers/tree';
import { findTracefs, type TracepointField, type TracepointFormat, tracepointFormat } from '../kernel/tracefs';
import { Btf } from '../layout/btf';

/*
 * Tracepoints of another kernel than the running one. libbcc writes a struct for `args` from the running kernel's
 * tracefs, whose members can lie elsewhere in the other kernel. So those structs get names for which libbcc finds no
 * tracepoint, and are written here: from a copy of that kernel's tracefs, or from its BTF.
 */

/** libbcc knows the context of a tracepoint by the beginning of its struct's name, and takes the next word for a category. */
const STRUCT_PREFIX = 'tracepoint__tsbcc__';
const PROBE = /\bTRACEPOINT_PROBE\s*\(\s*(\w+)\s*,\s*(\w+)\s*\)/g;
const STRUCT = /\bstruct(\s+)tracepoint__([a-z0-9]\w*?)__(\w+)/g;

/** What is before the program's text, and the text with as many lines. */
export interface OtherTracepoints {
  prelude: string;
  text: string;
}

/** Whether the program is for another kernel than the running one. */
export function isOtherKernel({ release, btfPath }: HeadersContext = {}): boolean {
  return release !== undefined && (release !== os.release() || btfPath !== undefined);
}

/**
 * The program with that kernel's tracepoints.
 * @throws HeadersError `ERR_BCC_HEADERS_TRACEPOINT` where nothing tells what the record of one holds
 */
export function withOtherTracepoints(text: string, kernel: HeadersContext): OtherTracepoints {
  const code = stripComments(text);
  const named = new Map<string, [category: string, event: string]>();
  for (const [, category, event] of code.matchAll(PROBE)) named.set(`${category}__${event}`, [category!, event!]);
  for (const [, , category, event] of code.matchAll(STRUCT)) named.set(`${category}__${event}`, [category!, event!]);
  if (named.size === 0) return { prelude: '', text };

  const btf = kernel.btfPath === undefined ? undefined : new Btf(readBtf(kernel.btfPath, 'the kernel'));
  const structs = [...named].map(([name, [category, event]]) => {
    const members = membersOf(category, event, kernel, btf).join(' ');
    return `struct ${STRUCT_PREFIX}${name} { u64 __do_not_use__; ${members} };\n`;
  });
  const macro =
    '#undef TRACEPOINT_PROBE\n#define TRACEPOINT_PROBE(category, event) ' +
    `int tracepoint__##category##__##event(struct ${STRUCT_PREFIX}##category##__##event *args)\n`;
  return {
    prelude: structs.join('') + macro,
    text: text.replace(STRUCT, `struct$1${STRUCT_PREFIX}$2__$3`),
  };
}

function membersOf(category: string, event: string, kernel: HeadersContext, btf: Btf | undefined): string[] {
  const { tracefsPath, release } = kernel;
  // The record of a system call is its registers in order, in every kernel.
  const root = tracefsPath ?? (category === 'syscalls' ? findTracefs() : undefined);
  const format = root === undefined ? undefined : tracepointFormat(category, event, root);
  if (format) return membersOfFormat(format);
  const record = `trace_event_raw_${event}`;
  const members = membersOfRecord(record, btf);
  if (members && tracefsPath === undefined) return members;
  throw new HeadersError(`what the tracepoint ${category}:${event} holds on ${release} is not known`, {
    code: 'ERR_BCC_HEADERS_TRACEPOINT',
    hint:
      tracefsPath === undefined
        ? `its BTF has no ${record}: copy /sys/kernel/tracing/events from that kernel, and name the folder that holds the copy (tracefsPath, --kernel-tracefs); or use a raw tracepoint`
        : `${tracefsPath} has no events/${category}/${event}/format`,
  });
}

function membersOfFormat({ fields }: TracepointFormat): string[] {
  return fields
    .filter(({ common }) => !common)
    .map((field) => {
      if (field.dynamic) return `int data_loc_${field.name};`;
      return `${typeOf(field)} ${field.name}${field.length === undefined ? '' : `[${field.length}]`};`;
    });
}

/** A format can give a number more room than its type has: `unsigned int fd` of a system call has a whole register. */
function typeOf({ type, size, length }: TracepointField): string {
  if (length !== undefined || type.includes('*') || /^(?:struct|union)\b/.test(type) || size > 8) return type;
  const fits = `sizeof(${type}) == ${size}`;
  // Only numbers can be compared in a constant, and a type whose size is right may be a pointer.
  const number = `__typeof__(__builtin_choose_expr(${fits}, 0, (${type})0))`;
  const wide = `__builtin_choose_expr((${number})-1 < (${number})1, (s${size * 8})0, (u${size * 8})0)`;
  return `__typeof__(__builtin_choose_expr(${fits}, (${type})0, ${wide}))`;
}

/** Of an event whose class bears its own name: events that share a class do not tell whose it is. */
function membersOfRecord(record: string, btf: Btf | undefined): string[] | undefined {
  const id = btf?.find(record, 'struct') ?? 0;
  if (id === 0) return undefined;
  return btf!
    .members(id)
    .filter(({ name }) => name !== 'ent' && name !== '__data')
    .map(({ name }) => {
      const text = /^__(?:data|rel)_loc_(\w+)$/.exec(name)?.[1];
      return text === undefined ? `__typeof__(((struct ${record} *)0)->${name}) ${name};` : `int data_loc_${text};`;
    });
}
