import { accessSync, closeSync, constants, openSync, readdirSync, readFileSync, statSync, writeSync } from 'node:fs';
import * as path from 'node:path';
import { BCCError } from '../errors';

/*
 * The kernel's tracing directory: tracepoints, their formats, and the events that are made by writing a line.
 *
 * Codes of errors: ERR_BCC_NO_TRACEFS (not mounted, or closed to this user).
 */

const USUAL_PLACES = ['/sys/kernel/tracing', '/sys/kernel/debug/tracing'];

/** One member of a tracepoint's record, as its `format` file tells. */
export interface TracepointField {
  /** The C declaration without name and length: `unsigned long`, `char` for `char comm[16]`. */
  type: string;
  name: string;
  /** From the start of the record, in bytes; the program's `args` pointer points there too. */
  offset: number;
  size: number;
  signed: boolean;
  /** Elements of an array, undefined for anything else. */
  length?: number;
  /** `__data_loc`: the field holds offset and length of the text, which follows the record. */
  dynamic: boolean;
  /** One of the fields that every tracepoint has (`common_pid`). */
  common: boolean;
}

export interface TracepointFormat {
  name: string;
  id: number;
  fields: TracepointField[];
  /** The kernel's own printf text and arguments. */
  printFormat: string;
}

/** How often one of the events made by `kprobe_events` or `uprobe_events` was hit. */
export interface ProbeEventProfile {
  event: string;
  hits: bigint;
  misses: bigint;
}

/** Where tracefs is mounted and readable, or undefined. */
export function findTracefs(): string | undefined {
  for (const root of [...USUAL_PLACES, ...mountPoints('tracefs')]) {
    if (isThere(path.join(root, 'events'))) return root;
  }
  return undefined;
}

/** Where tracefs is mounted; throws ERR_BCC_NO_TRACEFS with the remedy where it is not. */
export function tracefsRoot(): string {
  const root = findTracefs();
  if (root !== undefined) return root;
  const mounted = mountPoints('tracefs')[0];
  if (mounted !== undefined) {
    throw new BCCError('ERR_BCC_NO_TRACEFS', `tracefs at ${mounted} is closed to this user`, {
      errno: 13,
      hint: 'run as root or with CAP_DAC_READ_SEARCH, or let a group in (mount -o remount,gid=GROUP,mode=0750 and chgrp)',
    });
  }
  throw new BCCError('ERR_BCC_NO_TRACEFS', 'tracefs is not mounted, so the tracepoints cannot be found', {
    errno: 2,
    hint: 'as root: mount -t tracefs tracefs /sys/kernel/tracing',
  });
}

/** Where debugfs is mounted, or undefined; few things need it, the list of functions that refuse kprobes among them. */
export function findDebugfs(): string | undefined {
  return mountPoints('debugfs')[0];
}

/** All tracepoints as `category:event`, sorted. */
export function listTracepoints(root: string = tracefsRoot()): string[] {
  const events = path.join(root, 'events');
  const names: string[] = [];
  for (const category of readdirSync(events, { withFileTypes: true })) {
    if (!category.isDirectory()) continue;
    for (const event of readdirSync(path.join(events, category.name), { withFileTypes: true })) {
      if (event.isDirectory()) names.push(`${category.name}:${event.name}`);
    }
  }
  return names.sort();
}

/** Whether the kernel has that tracepoint; throws where tracefs is not mounted. */
export function tracepointExists(category: string, event: string): boolean {
  return isName(category) && isName(event) && isThere(path.join(tracefsRoot(), 'events', category, event, 'format'));
}

/** The number that perf_event_open takes, or undefined where there is no such tracepoint (or none that can be opened). */
export function tracepointId(category: string, event: string): number | undefined {
  if (!isName(category) || !isName(event)) return undefined;
  const text = readOptional(path.join(tracefsRoot(), 'events', category, event, 'id'));
  return text === undefined ? undefined : Number(text);
}

/** The record of a tracepoint, or undefined where there is no such tracepoint. */
export function tracepointFormat(
  category: string,
  event: string,
  root: string = tracefsRoot(),
): TracepointFormat | undefined {
  if (!isName(category) || !isName(event)) return undefined;
  const text = readOptional(path.join(root, 'events', category, event, 'format'));
  return text === undefined ? undefined : parseTracepointFormat(text);
}

/** Reads the text of a `format` file. */
export function parseTracepointFormat(text: string): TracepointFormat {
  const fields: TracepointField[] = [];
  const line = /^\tfield:(.+?);\s*offset:(\d+);\s*size:(\d+);(?:\s*signed:(-?\d+);)?/gm;
  for (const match of text.matchAll(line)) {
    const declaration = /^(.*?)(\w+)(?:\[([^\]]*)\])?$/.exec(match[1]!);
    if (!declaration) continue;
    let type = declaration[1]!.trim();
    const name = declaration[2]!;
    const dynamic = /^__(?:data|rel)_loc\b/.test(type);
    const size = Number(match[3]);
    const isArray = declaration[3] !== undefined && !dynamic;
    if (dynamic) type = type.replace(/^__(?:data|rel)_loc\s+/, '').replace(/\s*\[\]$/, '');
    fields.push({
      type,
      name,
      offset: Number(match[2]),
      size,
      signed: Number(match[4] ?? 0) !== 0,
      ...(isArray ? { length: Number(declaration[3]) || 0 } : {}),
      dynamic,
      common: name.startsWith('common_'),
    });
  }
  return {
    name: /^name: (.*)$/m.exec(text)?.[1] ?? '',
    id: Number(/^ID: (\d+)$/m.exec(text)?.[1] ?? -1),
    fields,
    printFormat: /^print fmt: ([\s\S]*?)\n*$/m.exec(text)?.[1] ?? '',
  };
}

/**
 * The functions that ftrace can hook, in the kernel's order, names of modules left out; undefined where the kernel has no
 * dynamic ftrace (or shows the list to no one under lockdown).
 */
export function availableFilterFunctions(): string[] | undefined {
  const text = readOptional(path.join(tracefsRoot(), 'available_filter_functions'), 'latin1');
  if (text === undefined) return undefined;
  const names = text.split('\n');
  for (let i = 0; i < names.length; i++) {
    const end = names[i]!.indexOf(' ');
    if (end >= 0) names[i] = names[i]!.slice(0, end);
  }
  if (names.at(-1) === '') names.pop();
  return names;
}

/** The functions that refuse every kprobe (NOKPROBE_SYMBOL), from debugfs; undefined where it is not mounted. */
export function kprobeBlacklist(): Set<string> | undefined {
  const root = findDebugfs();
  const text = root && readOptional(path.join(root, 'kprobes', 'blacklist'), 'latin1');
  if (text === undefined) return undefined;
  return new Set(Array.from(text.matchAll(/^\S+\s+(\S+)/gm), (match) => match[1]!));
}

/** Which file makes an event: `kprobe` for kernel functions, `uprobe` for files. */
export type ProbeEventKind = 'kprobe' | 'uprobe';

/** Whether this kernel can make such events by a written line (it is built with CONFIG_KPROBE_EVENTS and so on). */
export function hasProbeEvents(kind: ProbeEventKind): boolean {
  const root = findTracefs();
  return root !== undefined && isWritable(path.join(root, `${kind}_events`));
}

/** The lines that made the present events, everyone's: `p:group/name vfs_read`. */
export function listProbeEvents(kind: ProbeEventKind): string[] {
  const text = readOptional(path.join(tracefsRoot(), `${kind}_events`));
  return text === undefined ? [] : text.split('\n').filter((line) => line !== '');
}

/**
 * Writes lines to `kprobe_events` or `uprobe_events`, one system call each, and hands each line's errno (0 for success)
 * to `done`. The file is opened for appending: opening it with O_TRUNC would remove every event of every program.
 */
export function writeProbeEvents(
  kind: ProbeEventKind,
  lines: Iterable<string>,
  done: (line: string, errno: number) => void,
): void {
  const fd = openSync(path.join(tracefsRoot(), `${kind}_events`), constants.O_WRONLY | constants.O_APPEND);
  try {
    for (const line of lines) {
      let errno = 0;
      try {
        writeSync(fd, `${line}\n`);
      } catch (error) {
        errno = -(error as NodeJS.ErrnoException).errno!;
      }
      done(line, errno);
    }
  } finally {
    closeSync(fd);
  }
}

/** How often each of the present events was hit. */
export function probeEventProfile(kind: ProbeEventKind): ProbeEventProfile[] {
  const text = readOptional(path.join(tracefsRoot(), `${kind}_profile`)) ?? '';
  return Array.from(text.matchAll(/^\s*(?:\S+\s+)??(\S+)\s+(\d+)(?:\s+(\d+))?\s*$/gm), ([, event, hits, misses]) => ({
    event: event!,
    hits: BigInt(hits!),
    misses: BigInt(misses ?? 0),
  }));
}

/** Names come from users and become parts of paths. */
function isName(text: string): boolean {
  return /^[\w.-]+$/.test(text) && !/^\.+$/.test(text);
}

function isWritable(file: string): boolean {
  try {
    accessSync(file, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** access(2), behind existsSync, asks for the real user's rights, without the capabilities that the process has. */
function isThere(file: string): boolean {
  try {
    statSync(file);
    return true;
  } catch {
    return false;
  }
}

function readOptional(file: string, encoding: BufferEncoding = 'utf8'): string | undefined {
  try {
    return readFileSync(file, encoding);
  } catch {
    return undefined;
  }
}

function mountPoints(fsType: string): string[] {
  const mounts = readOptional('/proc/self/mounts') ?? '';
  return mounts
    .split('\n')
    .map((line) => line.split(' '))
    .filter((words) => words[2] === fsType)
    .map((words) => words[1]!.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))));
}
