import { inspect } from 'node:util';
import { requireText } from '../arguments';
import { stripComments } from '../kernel/headers/scan';

/*
 * What is read from the program's own C text before it is compiled. The scanner knows tokens, strings, comments and
 * brackets and nothing else of C: where it would have to guess, it leaves the text alone.
 */

/**
 * The text as the compiler and the scanners take it: without the mark that editors put before UTF-8, lines ended by \n.
 * @throws TypeError for a NUL, behind which the compiler would read nothing
 */
export function programText(text: string): string {
  const nul = text.indexOf('\0');
  if (nul >= 0) {
    throw new TypeError(`the program's text has a NUL in line ${text.slice(0, nul).split('\n').length}`);
  }
  return text.replace(/^\ufeff/, '').replaceAll('\r\n', '\n');
}

/** The methods that send an event, and which argument points at it. */
const SENDERS: Readonly<Record<string, number>> = {
  perf_submit: 1,
  perf_submit_skb: 2,
  ringbuf_output: 0,
  ringbuf_submit: 0,
};

/** `BTF` names of the structs that carry event types begin with this; an event's index follows. */
export const EVENT_STRUCT_PREFIX = '____btf_map___tsbcc_event_';

/** A table's per-CPU counter of events that its ring had no room for stands in this array, by the table's index. */
export const LOST_TABLE = '__tsbcc_lost';

/** One call that sends an event, as found in the text. */
export interface EventCall {
  table: string;
  /** Of the whole call, from the table's name to behind the closing bracket. */
  start: number;
  end: number;
  method: string;
  /** The C expression that points at the event; undefined for reserve. */
  pointer: string | undefined;
}

export interface AnnotatedSource {
  text: string;
  /** By event index: the table that sends it. */
  eventTables: string[];
  /** Ring tables whose lost events are counted, in the order of LOST_TABLE's elements. */
  lostTables: string[];
}

/** The end of a comment, string, character constant or preprocessor line that begins at `at`; `at` itself where none does. */
function skipOpaque(text: string, at: number, lineStart: boolean): number {
  const c = text[at];
  if (c === '/' && text[at + 1] === '*') {
    const end = text.indexOf('*/', at + 2);
    return end < 0 ? text.length : end + 2;
  }
  if (c === '/' && text[at + 1] === '/') return lineEnd(text, at);
  if (c === '"' || c === "'") {
    let i = at + 1;
    while (i < text.length && text[i] !== c && text[i] !== '\n') i += text[i] === '\\' ? 2 : 1;
    return Math.min(i + 1, text.length);
  }
  return c === '#' && lineStart ? lineEnd(text, at) : at;
}

/** Behind the line's end; a backslash carries a line on. */
function lineEnd(text: string, at: number): number {
  for (;;) {
    const end = text.indexOf('\n', at);
    if (end < 0) return text.length;
    if (text[end - 1] !== '\\') return end;
    at = end + 1;
  }
}

/** The arguments of the call whose opening bracket stands at `open`, trimmed, and where its closing one ends. */
function readArguments(text: string, open: number): { args: string[]; end: number } | undefined {
  const args: string[] = [];
  let depth = 0;
  let start = open + 1;
  for (let i = open; i < text.length; ) {
    const opaque = skipOpaque(text, i, false);
    if (opaque > i) {
      i = opaque;
      continue;
    }
    const c = text[i]!;
    if (c === '(' || c === '[' || c === '{') depth++;
    else if (c === ')' || c === ']' || c === '}') depth--;
    if (depth === 0 || (c === ',' && depth === 1)) {
      args.push(text.slice(start, i).trim());
      start = i + 1;
      if (depth === 0) return { args, end: i + 1 };
    }
    i++;
  }
  return undefined;
}

/** Calls `visit` for every identifier outside comments, strings and preprocessor lines; its result is where to go on. */
function eachIdentifier(text: string, visit: (name: string, start: number, end: number) => number | undefined): void {
  const identifier = /[A-Za-z_]\w*/y;
  let lineStart = true;
  for (let i = 0; i < text.length; ) {
    const opaque = skipOpaque(text, i, lineStart);
    if (opaque > i) {
      i = opaque;
      continue;
    }
    identifier.lastIndex = i;
    const match = identifier.exec(text);
    if (match) {
      lineStart = false;
      const end = i + match[0].length;
      i = visit(match[0], i, end) ?? end;
      continue;
    }
    if (text[i] === '\n') lineStart = true;
    else if (!/\s/.test(text[i]!)) lineStart = false;
    // A number's letters are no identifier.
    i += /\d/.test(text[i]!) ? /^\w+/.exec(text.slice(i, i + 64))![0].length : 1;
  }
}

/** Every call of the program that sends an event through a table, or reserves room for one. */
export function findEventCalls(text: string): EventCall[] {
  const calls: EventCall[] = [];
  const method = /\s*\.\s*(perf_submit|perf_submit_skb|ringbuf_output|ringbuf_submit|ringbuf_reserve)\s*\(/y;
  eachIdentifier(text, (table, start, end) => {
    method.lastIndex = end;
    const match = method.exec(text);
    if (!match || /(?:\.|->)\s*$/.test(text.slice(Math.max(0, start - 8), start))) return undefined;
    const name = match[1]!;
    const list = readArguments(text, method.lastIndex - 1);
    if (!list) return undefined;
    const index = SENDERS[name];
    calls.push({
      table,
      start,
      end: list.end,
      method: name,
      pointer: index === undefined ? undefined : list.args[index],
    });
    return list.end;
  });
  return calls;
}

/**
 * The text with a declaration put beside every call that sends an event, so that the event's type reaches BTF: a static
 * struct in a section that the compiler describes and nobody loads, with a member of the type that the call's pointer
 * points at. Typedefs, headers and macros are the compiler's to resolve. The instructions do not change, nor do line
 * numbers. With `countLost` a failed ringbuf_output or ringbuf_reserve also adds one to a counter.
 */
export function annotateEvents(text: string, countLost = false): AnnotatedSource {
  const eventTables: string[] = [];
  const lostTables: string[] = [];
  let out = '';
  let done = 0;
  for (const call of findEventCalls(text)) {
    let inner = text.slice(call.start, call.end);
    let declaration = '';
    const p = call.pointer && oneLine(call.pointer);
    if (p) {
      const name = `__tsbcc_event_${eventTables.length}`;
      eventTables.push(call.table);
      // A void pointer has no type to tell: a char stands for it.
      const type = `__typeof__(__builtin_choose_expr(__builtin_types_compatible_p(__typeof__(${p}), void *), (char)0, *(${p})))`;
      declaration = `static struct ____btf_map_${name} { int key; ${type} value; } ${name} __attribute__((section(".maps.${name}"), used)); `;
    }
    if (countLost && (call.method === 'ringbuf_output' || call.method === 'ringbuf_reserve')) {
      let index = lostTables.indexOf(call.table);
      if (index < 0) index = lostTables.push(call.table) - 1;
      const failed = call.method === 'ringbuf_output' ? '__tsbcc_r < 0' : '!__tsbcc_r';
      const type = call.method === 'ringbuf_output' ? 'int' : 'void *';
      inner = `${type} __tsbcc_r = ${inner}; if (${failed}) { ${LOST_TABLE}.increment(${index}); } __tsbcc_r`;
    }
    if (!declaration && inner === text.slice(call.start, call.end)) continue;
    out += `${text.slice(done, call.start)}({ ${declaration}${inner}; })`;
    done = call.end;
  }
  return { text: out + text.slice(done), eventTables, lostTables };
}

/** An expression on one line, which may then stand in a text more than once; undefined with preprocessor lines in it. */
function oneLine(expression: string): string | undefined {
  if (!expression.includes('\n')) return expression;
  const bare = stripComments(expression, true);
  return /^\s*#/m.test(bare) ? undefined : bare.replace(/\s*\\?\n\s*/g, ' ');
}

/** The line that defines LOST_TABLE; it must stand before the program's text. */
export function lostTableDefinition(count: number): string {
  return `BPF_PERCPU_ARRAY(${LOST_TABLE}, u64, ${count});`;
}

/** The headers whose types a program's words point to: BCC's choice. */
const AUTO_INCLUDES: readonly [header: string, words: readonly string[]][] = [
  ['linux/time.h', ['time']],
  ['linux/fs.h', ['fs', 'file']],
  ['linux/blkdev.h', ['bio', 'request']],
  ['linux/slab.h', ['alloc']],
  ['linux/netdevice.h', ['sk_buff', 'net_device']],
];

/** Macros of BCC newer than libbcc 0.26, each where a program uses it and the libbcc at hand has none. */
const NEWER_MACROS: Readonly<Record<string, string>> = {
  MODULE_KFUNC_PROBE: '(module, event, args...) BPF_PROG(kfunc__ ## module ## __ ## event, ##args)',
  MODULE_KRETFUNC_PROBE: '(module, event, args...) BPF_PROG(kretfunc__ ## module ## __ ## event, ##args)',
};

/** What must stand before a program for the macros that it uses and libbcc may not know; '' for most. */
export function newerMacros(text: string): string {
  return Object.entries(NEWER_MACROS)
    .filter(([name]) => text.includes(name))
    .map(([name, definition]) => `#ifndef ${name}\n#define ${name}${definition}\n#endif\n`)
    .join('');
}

/** `#include` lines for the types that the words of a program let expect; '' for none. */
export function generateAutoIncludes(programWords: Iterable<string>): string {
  if (typeof programWords?.[Symbol.iterator] !== 'function') {
    throw new TypeError(`programWords must be strings, not ${inspect(programWords)}`);
  }
  const words = [...programWords];
  for (const word of words) requireText(word, 'a word of the program');
  return AUTO_INCLUDES.filter(([, parts]) => parts.some((part) => words.some((word) => word.includes(part))))
    .map(([header]) => `#include <${header}>\n`)
    .join('');
}
