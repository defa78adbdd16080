import { getUserFunctions } from '../attach/uprobe';
import type { BCC } from '../bcc';
import { kernelSymbols } from '../kernel/kallsyms';
import { listTracepoints } from '../kernel/tracefs';
import { isAnonymous } from '../layout/explain';
import type { Layout } from '../layout/layout';

/** At most this many of the kernel's 100,000 names: a screen of them is no help. */
const SHOWN = 200;

/** The methods of BCC that take one object of options, for what Tab offers inside its braces. */
type OptionMethod = {
  [Name in keyof BCC]: BCC[Name] extends (options: infer Options) => unknown
    ? Name extends `${'attach' | 'detach'}${string}`
      ? Options extends string
        ? never
        : Name
      : never
    : never;
}[keyof BCC];

type OptionNames<Name extends OptionMethod> = BCC[Name] extends (options: infer Options) => unknown
  ? (keyof Options)[]
  : never;

const UPROBE: OptionNames<'attachUprobe'> = ['name', 'sym', 'symRe', 'addr', 'fnName', 'pid', 'symOff'];
const FUNCTION_ONLY: OptionNames<'attachKfunc'> = ['fnName'];

const OPTIONS: { readonly [Name in OptionMethod]: OptionNames<Name> } = {
  attachKprobe: ['event', 'eventRe', 'fnName', 'eventOff'],
  attachKretprobe: ['event', 'eventRe', 'fnName', 'maxactive'],
  detachKprobe: ['event', 'fnName'],
  detachKretprobe: ['event', 'fnName'],
  attachUprobe: UPROBE,
  attachUretprobe: ['name', 'sym', 'symRe', 'addr', 'fnName', 'pid'],
  detachUprobe: UPROBE,
  detachUretprobe: UPROBE,
  attachTracepoint: ['tp', 'tpRe', 'fnName'],
  detachTracepoint: ['tp'],
  attachRawTracepoint: ['tp', 'fnName'],
  detachRawTracepoint: ['tp'],
  attachKfunc: FUNCTION_ONLY,
  attachKretfunc: FUNCTION_ONLY,
  attachFmodRet: FUNCTION_ONLY,
  attachLsm: FUNCTION_ONLY,
  detachKfunc: FUNCTION_ONLY,
  detachKretfunc: FUNCTION_ONLY,
  detachFmodRet: FUNCTION_ONLY,
  detachLsm: FUNCTION_ONLY,
  attachIter: ['fnName'],
  attachPerfEvent: ['evType', 'evConfig', 'fnName', 'samplePeriod', 'sampleFreq', 'pid', 'cpu', 'groupFd'],
  attachPerfEventRaw: ['attr', 'fnName', 'pid', 'cpu', 'groupFd'],
  detachPerfEvent: ['evType', 'evConfig'],
  attachTc: ['dev', 'fn', 'direction'],
  detachTc: ['dev', 'direction'],
};

/** Names that fit, and the part of one that has been typed. */
type Candidates = [names: Iterable<string>, typed: string];

/** Names inside an open string: kernel functions, tracepoints, a library's functions, the program's own. */
function insideString(b: BCC | undefined, line: string): Candidates | undefined {
  const open = /(?:\b(\w+)\s*:\s*|\b(table|getTable|loadFunc|disassembleFunc|dumpFunc)\(\s*)(['"`])([^'"`]*)$/.exec(
    line,
  );
  if (!open) return undefined;
  const [, option, method, , typed = ''] = open;
  if (method === 'table' || method === 'getTable') return [Object.keys(b?.tables ?? {}), typed];
  if (method !== undefined || option === 'fnName') return [b?.functions ?? [], typed];
  if (option === 'event') return [kernelSymbols().names(), typed];
  if (option === 'tp') return [listTracepoints(), typed];
  if (option === 'sym') {
    const library = /\bname\s*:\s*(['"`])([^'"`]+)\1/.exec(line)?.[2];
    return library === undefined ? undefined : [getUserFunctions(library, `^${typed}`), typed];
  }
  return undefined;
}

/** Names inside open braces: the options of an attach call, or the fields of a table's key. */
function insideBraces(b: BCC | undefined, line: string): Candidates | undefined {
  const open = /(?:\.tables\.(\w+)|\btable\(\s*['"`](\w+)['"`]\s*\))?\.(\w+)\(\s*\{(?:[^{}]*,)?\s*(\w*)$/.exec(line);
  if (!open) return undefined;
  const [whole, member, argument, method = '', typed = ''] = open;
  const taken = new Set(Array.from(whole.matchAll(/(\w+)\s*:/g), ([, name]) => name));
  const table = member ?? argument;
  const names =
    table === undefined
      ? Object.hasOwn(OPTIONS, method)
        ? (OPTIONS[method as OptionMethod] as string[])
        : undefined
      : fieldNames(b?.tables[table]?.keyLayout);
  return names && [names.filter((name) => !taken.has(name)).map((name) => `${name}: `), typed];
}

function fieldNames(layout: Layout | undefined): string[] | undefined {
  if (layout?.kind !== 'struct' && layout?.kind !== 'union') return undefined;
  return layout.fields.flatMap((field) => (isAnonymous(field) ? (fieldNames(field.type) ?? []) : [field.name]));
}

/** What Tab offers at the end of this line; undefined where JavaScript itself knows better. */
export function complete(b: BCC | undefined, line: string): [hits: string[], typed: string] | undefined {
  const found = insideString(b, line) ?? insideBraces(b, line);
  if (!found) return undefined;
  const [names, typed] = found;
  const hits = new Set<string>();
  for (const name of names) {
    if (name.startsWith(typed)) hits.add(name);
    if (hits.size >= SHOWN) break;
  }
  return [[...hits].sort(), typed];
}
