import type { BCC } from '../../bcc';
import { UnsupportedError } from '../../errors';
import { features } from '../../kernel/features';
import { USDT } from '../../usdt';
import { type Command, integer, type OptionValues, seconds, UsageError } from '../command';
import {
  DURATION,
  eachRound,
  HISTOGRAM_OPTIONS,
  histogramPrinter,
  left,
  macros,
  PID,
  print,
  timeOfDay,
  withProgram,
} from './support';

/*
 * A specifier, as BCC's argdist takes it: p:LIB:FUNC(SIGNATURE):TYPE,…:EXPR,…:FILTER#LABEL, where p (or nothing) is an
 * entry, r a return, t:CATEGORY:EVENT a tracepoint and u:LIB:PROBE a USDT probe.
 */
interface Specifier {
  text: string;
  kind: 'p' | 'r' | 't' | 'u';
  /** The library, program or category; '' is the kernel. */
  place: string;
  name: string;
  /** The parameters by name, as they are declared. */
  parameters: { name: string; type: string; declaration: string }[];
  types: string[];
  expressions: string[];
  filter: string;
  label: string;
  histogram: boolean;
}

const SHAPE = /^(?:([prtu]?):([^:]*):)([^:(]+?)(?:\(([^)]*)\))?(?::([^:]*)(?::([^:]*)(?::(.*))?)?)?$/;
const PARAMETER = /^(.*?[\s*])(\w+)$/;

function parse(text: string, histogram: boolean): Specifier {
  const hash = text.lastIndexOf('#');
  const [body, label] = hash < 0 ? [text, undefined] : [text.slice(0, hash), text.slice(hash + 1)];
  const found = SHAPE.exec(body);
  if (!found) {
    throw new UsageError(
      `${JSON.stringify(text)} is no specifier: give p:LIB:FUNC(int x):int:x, r::FUNC():int:$retval, t:CATEGORY:EVENT():u64:args->field or u:LIB:PROBE():u64:arg1`,
    );
  }
  const [, kind, place, name, signature = '', types = '', expressions = '', filter = ''] = found;
  const parameters = list(signature).map((declaration) => {
    const parts = PARAMETER.exec(declaration);
    if (!parts)
      throw new UsageError(`in ${JSON.stringify(text)}, ${JSON.stringify(declaration)} is no parameter: give int x`);
    return { declaration, type: parts[1]!.trim(), name: parts[2]! };
  });
  const specifier: Specifier = {
    text: label ?? text,
    kind: (kind || 'p') as Specifier['kind'],
    place: place!,
    name: name!,
    parameters,
    types: list(types),
    expressions: list(expressions),
    filter: filter.trim(),
    label: label ?? '',
    histogram,
  };
  if (specifier.types.length !== specifier.expressions.length) {
    throw new UsageError(
      `${JSON.stringify(text)} has ${specifier.types.length} types and ${specifier.expressions.length} expressions`,
    );
  }
  if (histogram && specifier.expressions.length !== 1) {
    throw new UsageError(`a histogram is of one expression: ${JSON.stringify(text)}`);
  }
  if (specifier.kind === 't' && place === '')
    throw new UsageError(`which category of tracepoints? ${JSON.stringify(text)}`);
  return specifier;
}

function list(text: string): string[] {
  return text.trim() === '' ? [] : text.split(',').map((part) => part.trim());
}

const isString = (type: string) => /^(?:const\s+)?char\s*\*$/.test(type);

/** Whether a return needs to know what was there at the entry. */
function looksBack({ kind, expressions, filter }: Specifier): boolean {
  return kind === 'r' && /\$entry\(|\$latency/.test(`${expressions.join()} ${filter}`);
}

/** C of an expression: `$retval`, `$latency` in nanoseconds, `$entry(x)` and arguments of USDT probes put in place. */
function expand({ parameters }: Specifier, expression: string): string {
  return expression
    .replaceAll('$retval', 'PT_REGS_RC(ctx)')
    .replaceAll('$latency', '(now - begun->ns)')
    .replace(/\$entry\((\w+)\)/g, (_, name: string) => {
      const found = parameters.find((parameter) => parameter.name === name);
      if (!found) throw new UsageError(`$entry(${name}): the signature has no ${name}`);
      return `((${found.type})begun->${name})`;
    });
}

const FILTER_PID = `
#ifdef OPT_FILTER_PID
    if (bpf_get_current_pid_tgid() >> 32 != OPT_FILTER_PID)
        return 0;
#endif`;

/** The declarations of a specifier's tables, and the block that counts one event. */
function collector(specifier: Specifier, index: number): { tables: string; block: string } {
  const { expressions, types, filter, histogram, kind } = specifier;
  const back = looksBack(specifier);
  const before = [
    ...(kind === 'u' ? usdtArguments(specifier) : []),
    ...(back
      ? [
          'u64 now = bpf_ktime_get_ns();',
          'u64 thread = bpf_get_current_pid_tgid();',
          `struct begun_${index} *begun = begun_${index}.lookup(&thread);`,
          'if (!begun)\n            break;',
        ]
      : []),
    ...(filter === '' ? [] : [`if (!(${expand(specifier, filter)}))\n            break;`]),
  ];
  const after = back ? [`begun_${index}.delete(&thread);`] : [];
  const wrap = (lines: string[]) =>
    `    do {\n        ${[...before, ...lines, ...after].join('\n        ')}\n    } while (0);`;
  if (histogram) {
    const value = expand(specifier, expressions[0]!);
    return {
      tables: `BPF_HISTOGRAM(table_${index});`,
      block: wrap([`${types[0]} value = ${value};`, `table_${index}.atomic_increment(bpf_log2l(value));`]),
    };
  }
  const fields = types.map((type, i) => (isString(type) ? `char v${i}[OPT_STRING_SIZE];` : `${type} v${i};`));
  const fill = types.map((type, i) => {
    const value = expand(specifier, expressions[i]!);
    if (!isString(type)) return `key.v${i} = ${value};`;
    return `if (bpf_probe_read_user_str(&key.v${i}, OPT_STRING_SIZE, (void *)${value}) < 0)
            bpf_probe_read_kernel_str(&key.v${i}, OPT_STRING_SIZE, (void *)${value});`;
  });
  return {
    tables: `struct key_${index} {\n    ${(fields.length > 0 ? fields : ['u32 all;']).join('\n    ')}\n};\nBPF_HASH(table_${index}, struct key_${index}, u64, 10240);`,
    block: wrap([
      `struct key_${index} key;`,
      '__builtin_memset(&key, 0, sizeof(key));',
      ...fill,
      `table_${index}.atomic_increment(key);`,
    ]),
  };
}

function usdtArguments({ expressions, filter }: Specifier): string[] {
  const numbers = new Set(
    Array.from(`${expressions.join()} ${filter}`.matchAll(/\barg(\d+)\b/g), ([, n]) => Number(n)),
  );
  return [...numbers].flatMap((n) => [`u64 arg${n} = 0;`, `bpf_usdt_readarg(${n}, ctx, &arg${n});`]);
}

/** The whole program. Specifiers of one tracepoint share its function. */
function programText(specifiers: readonly Specifier[], includes: readonly string[]): string {
  const parts = includes.map((header) => `#include <${header}>`);
  const tracepoints = new Map<string, string[]>();
  specifiers.forEach((specifier, index) => {
    const { kind, place, name, parameters } = specifier;
    const { tables, block } = collector(specifier, index);
    const signature = ['struct pt_regs *ctx', ...parameters.map(({ declaration }) => declaration)].join(', ');
    if (looksBack(specifier)) {
      parts.push(`struct begun_${index} {\n    u64 ns;\n${parameters.map((one) => `    u64 ${one.name};\n`).join('')}};
BPF_HASH(begun_${index}, u64, struct begun_${index}, 10240);
int entry_${index}(${signature}) {${FILTER_PID}
    u64 thread = bpf_get_current_pid_tgid();
    struct begun_${index} begun = {.ns = bpf_ktime_get_ns()};
    ${parameters.map((one) => `begun.${one.name} = (u64)${one.name};`).join('\n    ')}
    begun_${index}.update(&thread, &begun);
    return 0;
}`);
    }
    parts.push(tables);
    if (kind === 't') {
      const key = `${place}, ${name}`;
      tracepoints.set(key, [...(tracepoints.get(key) ?? []), block]);
    } else {
      const own = kind === 'p' ? signature : 'struct pt_regs *ctx';
      parts.push(`int probe_${index}(${own}) {${FILTER_PID}\n${block}\n    return 0;\n}`);
    }
  });
  for (const [names, blocks] of tracepoints) {
    parts.push(`TRACEPOINT_PROBE(${names}) {${FILTER_PID}\n${blocks.join('\n')}\n    return 0;\n}`);
  }
  return `${parts.join('\n')}\n`;
}

function attach(b: BCC, specifiers: readonly Specifier[], pid: number | undefined): void {
  specifiers.forEach((specifier, index) => {
    const { kind, place, name } = specifier;
    if (kind !== 'p' && kind !== 'r') return;
    const fnName = `probe_${index}`;
    const entry = looksBack(specifier) ? `entry_${index}` : undefined;
    if (place === '') {
      const event = b.fixSyscallFnname(name);
      if (entry !== undefined) b.attachKprobe({ event, fnName: entry });
      if (kind === 'p') b.attachKprobe({ event, fnName });
      else b.attachKretprobe({ event, fnName });
    } else {
      const target = { name: place, sym: name, pid: pid ?? -1 };
      if (entry !== undefined) b.attachUprobe({ ...target, fnName: entry });
      if (kind === 'p') b.attachUprobe({ ...target, fnName });
      else b.attachUretprobe({ ...target, fnName });
    }
  });
}

function usdtContexts(specifiers: readonly Specifier[], pid: number | undefined): USDT[] {
  return specifiers.flatMap(({ kind, place, name }, index) => {
    if (kind !== 'u') return [];
    if (pid === undefined && place === '')
      throw new UsageError('a USDT probe is of a library or of a process: give one');
    const usdt = new USDT({ ...(pid !== undefined && { pid }), ...(place !== '' && { path: place }) });
    usdt.enableProbe({ probe: name, fnName: `probe_${index}` });
    return [usdt];
  });
}

function requireKprobes(specifiers: readonly Specifier[]): void {
  const inKernel = specifiers.find(({ kind, place }) => (kind === 'p' || kind === 'r') && place === '');
  if (!inKernel || features().kprobes) return;
  throw new UnsupportedError(`this kernel has no kprobes: ${inKernel.name}() of the kernel cannot be probed`, {
    hint: 'use tracepoints (t:CATEGORY:EVENT) or functions of libraries (p:c:malloc)',
  });
}

function listOf(value: OptionValues[string]): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function showCounts(b: BCC, { text, expressions }: Specifier, index: number, top: number): void {
  const entries = [...b.table(`table_${index}`).entries()] as [Record<string, unknown>, bigint][];
  entries.sort(([, a], [, c]) => (a < c ? -1 : a > c ? 1 : 0));
  print(text);
  print(`\t${left('COUNT', 10)} EVENT`);
  for (const [key, count] of entries.slice(-top)) {
    const event = expressions.map((expression, i) => `${expression} = ${valueText(key[`v${i}`])}`).join(' and ');
    print(`\t${left(count, 10)} ${event || 'total calls'}`);
  }
}

function valueText(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

export const command: Command = {
  usage: '[options] -H SPECIFIER … | -C SPECIFIER …',
  about:
    'Counts values, or draws their histogram: arguments and results of kernel and library functions, fields of\n' +
    'tracepoints, arguments of USDT probes. SPECIFIER: {p|r|t|u}:PLACE:NAME(SIGNATURE):TYPE:EXPR[:FILTER][#LABEL];\n' +
    '$retval, $latency (ns) and $entry(x) are at hand in r, args->field in t, arg1 and so on in u.',
  options: {
    histogram: { type: 'string', short: 'H', multiple: true, value: 'SPECIFIER', help: 'A histogram in powers of two' },
    count: { type: 'string', short: 'C', multiple: true, value: 'SPECIFIER', help: 'How often each value comes' },
    pid: PID,
    interval: { type: 'string', short: 'i', value: 'SECONDS', help: 'Print after every so many seconds (1)' },
    number: { type: 'string', short: 'n', value: 'N', help: 'Print N times' },
    duration: DURATION,
    cumulative: { type: 'boolean', short: 'c', help: 'Go on counting instead of beginning again each time' },
    top: { type: 'string', short: 'T', value: 'N', help: 'The N most frequent values of each count' },
    'string-size': { type: 'string', short: 'z', value: 'N', help: 'Read up to so many bytes of each char * (80)' },
    include: {
      type: 'string',
      short: 'I',
      multiple: true,
      value: 'HEADER',
      help: 'A header of the kernel that types need',
    },
    verbose: { type: 'boolean', short: 'v', help: 'Print the C text first' },
    ...HISTOGRAM_OPTIONS,
  },
  examples: [
    ["-H 't:raw_syscalls:sys_exit():u64:args->ret:args->id==0 && args->ret>0#bytes read'", 'sizes of reads'],
    ["-C 'p:c:getenv(char *name):char *:name' -n 5", 'which variables programs ask for'],
    ["-H 'r:c:malloc():u64:$latency'", 'how long malloc takes'],
  ],
  async run(values, positionals) {
    if (positionals.length > 0)
      throw new UsageError(`what is ${JSON.stringify(positionals[0])}? Give -H or -C a specifier`);
    const specifiers = [
      ...listOf(values.histogram).map((text) => parse(text, true)),
      ...listOf(values.count).map((text) => parse(text, false)),
    ];
    if (specifiers.length === 0) throw new UsageError('give -H or -C a specifier; hist --help shows some');
    requireKprobes(specifiers);
    const pid = integer(values, 'pid', 1);
    const top = integer(values, 'top', 1) ?? Number.POSITIVE_INFINITY;
    const text = programText(specifiers, listOf(values.include));
    if (values.verbose === true) print(text);
    const cflags = macros({ FILTER_PID: pid, STRING_SIZE: integer(values, 'string-size', 2) ?? 80 });
    const rounds = {
      seconds: seconds(values, 'interval') ?? 1,
      count: integer(values, 'number', 1) ?? Number.POSITIVE_INFINITY,
    };
    const shows = specifiers.map(({ expressions, label }) => histogramPrinter(values, label || expressions[0] || ''));
    const options = { text, cflags, usdtContexts: usdtContexts(specifiers, pid) };
    await withProgram(options, seconds(values, 'duration'), async (b, signal) => {
      attach(b, specifiers, pid);
      const tables = specifiers.map((_, index) => b.table(`table_${index}`));
      await eachRound(rounds, signal, () => {
        if (values.heatmap !== true) print(`[${timeOfDay()}]`);
        specifiers.forEach((specifier, index) => {
          if (specifier.histogram) shows[index]!(tables[index]!);
          else showCounts(b, specifier, index, top);
          if (values.cumulative !== true) tables[index]!.clear();
        });
      });
    });
    return 0;
  },
};
