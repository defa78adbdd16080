import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { inspect } from 'node:util';
import * as tsbcc from '../../src';
import { runtime } from '../../src/native';
import { requireRoot } from '../helpers';

/*
 * Every kind of value that no function expects, given to every public function and method: a TypeError, a RangeError or
 * a BCCError is the answer, or the value will do. Nothing else comes back, nothing crashes, nothing stays in the kernel.
 */

requireRoot();

const { BCC, BCCError } = tsbcc;

const TEXT = `
struct key { u32 pid; u8 op; };
BPF_HASH(counts, u32, u64, 8);
BPF_HASH(structs, struct key, struct key, 8);
BPF_ARRAY(cells, u32, 4);
BPF_PERCPU_ARRAY(percpu, u64, 2);
BPF_PERCPU_HASH(percpu_counts, u32, u64);
BPF_QUEUE(queue, u64, 2);
BPF_LPM_TRIE(trie, struct key, u64);
BPF_PROG_ARRAY(progs, 2);
BPF_PERF_OUTPUT(perf);
BPF_PERF_ARRAY(counters, 4);
BPF_RINGBUF_OUTPUT(ring, 4);
BPF_HISTOGRAM(hist);
BPF_STACK_TRACE(stacks, 8);
BPF_CGROUP_ARRAY(cgroups, 2);
BPF_DEVMAP(devices, 2);
BPF_CPUMAP(cpus, 2);
BPF_SOCKHASH(sockets, u32, 4);
int traced(void *ctx) {
  struct key event = {};
  ring.ringbuf_output(&event, sizeof(event), 0);
  perf.perf_submit(ctx, &event, sizeof(event));
  return 0;
}
`;

const VALUES: unknown[] = [
  ...[undefined, null, true, -1, 0, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 10n, -1n, 2n ** 70n],
  ...['', 'text', '\0', '../..', Symbol('s'), () => {}, {}, [], [1, 2], new Date(0), new Map(), Buffer.alloc(3)],
  ...[new Uint8Array(0), Object.create(null), /x/],
  { fnName: 1, event: 2, tp: 3, name: 4, dev: 5, pid: 'six' },
  {
    fnName: 'traced',
    event: {},
    tp: {},
    name: {},
    sym: {},
    addr: {},
    evType: {},
    evConfig: {},
    dev: {},
    direction: {},
  },
];

/** They wait for an event, print, end the object under test, or take away what other programs have. */
const LEFT_OUT = new Set([
  ...['constructor', 'close', 'cleanup', 'trace', 'tracePrint', 'traceReadline', 'traceFields', 'traceOpen'],
  ...['enableStats', 'removeXdp', 'clearCache', 'load', 'compile', 'prepareStackTrace', 'captureStackTrace'],
]);

/** TypeScript's protected methods are no part of what is public. */
const PROTECTED = new Set(
  readdirSync(path.join(__dirname, '../../src/table')).flatMap((file) =>
    [
      ...readFileSync(path.join(__dirname, '../../src/table', file), 'utf8').matchAll(
        /protected (?:static |abstract |override |readonly )*(\w+)/g,
      ),
    ].map(([, name]) => name!),
  ),
);

type Callable = (...values: unknown[]) => unknown;

/** The functions of an object and its prototypes, by name. */
function methodsOf(target: object): Map<string, Callable> {
  const found = new Map<string, Callable>();
  const end = new Set<object>([Object.prototype, Function.prototype]);
  for (let at: object | null = target; at && !end.has(at); at = Object.getPrototypeOf(at)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      if (typeof value !== 'function' || found.has(name) || LEFT_OUT.has(name) || PROTECTED.has(name)) continue;
      if (!/^class\b/.test(Function.prototype.toString.call(value))) found.set(name, value as Callable);
    }
  }
  return found;
}

const unexpected: string[] = [];
let calls = 0;
const pending: Promise<unknown>[] = [];

/** What the JavaScript engine says of a value that nobody looked at: it names an expression of ours, not the argument. */
const ENGINES_WORDS =
  /^Cannot (read|set|destructure|convert|mix|access|create|use)|^Invalid time|(is|are) not (iterable|a function|a constructor|an object|a symbol)|reading '/;

/** Classes whose objects the library makes and hands out. */
const OURS = /^new (\w+Error|BPFFunction|USDTProbe\w*|\w*Table|\w*Loss)$/;

function judge(label: string, args: unknown[], error: unknown): void {
  const { name, message } = error as Error;
  if (ENGINES_WORDS.test(message) && !OURS.test(label)) {
    unexpected.push(`${label}(${args.map((arg) => inspect(arg, { depth: 0 })).join(', ')}): ${message}`);
    return;
  }
  if (error instanceof BCCError || name === 'TypeError' || name === 'RangeError') return;
  // What fromNdjson is given is not JSON.
  if (label === 'fromNdjson' && name === 'SyntaxError') return;
  unexpected.push(
    `${label}(${args.map((arg) => inspect(arg, { depth: 0 })).join(', ')}): ${inspect(error, { depth: 0 })}`,
  );
}

function attempt(label: string, method: Callable, self: unknown, args: unknown[]): void {
  calls++;
  try {
    const result = method.apply(self, args) as Partial<Disposable & PromiseLike<unknown>> | undefined;
    if (typeof result?.then === 'function') {
      pending.push(Promise.resolve(result).catch((error: unknown) => judge(label, args, error)));
    } else if (result !== self) result?.[Symbol.dispose]?.();
  } catch (error) {
    judge(label, args, error);
  }
}

function attemptAll(label: string, method: Callable, self: unknown): void {
  // A negative wait is for ever, and so is a missing one.
  const polls = /poll$/i.test(label);
  if (!polls) attempt(label, method, self, []);
  for (const value of VALUES) {
    if (polls && (value === undefined || (typeof value === 'number' && (value > 100 || value === -1)))) continue;
    attempt(label, method, self, [value]);
    if (polls) continue;
    attempt(label, method, self, [value, value, value]);
    attempt(label, method, self, ['traced', value]);
    attempt(label, method, self, [1, value]);
    attempt(label, method, self, [() => {}, value]);
  }
}

function kernelObjects(): number[][] {
  return (['program', 'map', 'link'] as const).map((kind) => runtime().ids(kind));
}

let before: number[][];
let b: tsbcc.BCC;
beforeAll(() => {
  before = kernelObjects();
  b = new BCC(TEXT);
});

it('every method of a program', () => {
  for (const [name, method] of methodsOf(BCC.prototype)) attemptAll(`b.${name}`, method, b);
  for (const [name, method] of methodsOf(BCC)) attemptAll(`BCC.${name}`, method, BCC);
  expect(unexpected).toEqual([]);
  expect(b.closed).toBe(false);
});

it('every method of every kind of table', () => {
  for (const name of Object.keys(b.tables)) {
    const table = b.table(name);
    for (const [method, fn] of methodsOf(Object.getPrototypeOf(table))) {
      jest.spyOn(console, 'log').mockImplementation(() => {});
      jest.spyOn(process.stdout, 'write').mockImplementation(() => true);
      attemptAll(`${name}.${method}`, fn, table);
      jest.restoreAllMocks();
    }
  }
  expect(unexpected).toEqual([]);
});

it('every other function, and every class', () => {
  for (const [name, value] of Object.entries(tsbcc)) {
    if (typeof value !== 'function' || value === BCC || LEFT_OUT.has(name)) continue;
    if (/^class\b/.test(Function.prototype.toString.call(value))) {
      const construct = (...args: unknown[]) => {
        new (value as unknown as new (...args: unknown[]) => { close?(): void })(...args).close?.();
      };
      attemptAll(`new ${name}`, construct, undefined);
      for (const [method, fn] of methodsOf(value)) attemptAll(`${name}.${method}`, fn, value);
    } else attemptAll(name, value as Callable, undefined);
  }
  expect(unexpected).toEqual([]);
});

it('every option of a program', () => {
  const options =
    'srcFile hdrFile program debug cflags usdtContexts allowRlimit device attachUsdtIgnorePid int64 headers cache countLost';
  const text = 'int f(void *ctx) { return 0; }';
  jest.spyOn(process.stdout, 'write').mockImplementation(() => true);
  jest.spyOn(process.stderr, 'write').mockImplementation(() => true);
  for (const option of options.split(' ')) {
    for (const value of VALUES) {
      // Folders named by the values would be made; debug flags ask for output.
      if ((option === 'cache' && typeof value === 'string') || (option === 'debug' && Number.isInteger(value)))
        continue;
      const instead = option === 'srcFile' || option === 'program';
      attempt(
        `new BCC {${option}}`,
        () => new BCC({ ...(!instead && { text }), [option]: value } as tsbcc.BCCOptions).close(),
        undefined,
        [value],
      );
    }
  }
  jest.restoreAllMocks();
  for (const value of VALUES) {
    attempt('new BCC(text, …)', () => new BCC(text, value as tsbcc.BCCOptions).close(), undefined, [value]);
    attempt('BCC.compile(text, …)', () => BCC.compile(text, value as tsbcc.BCCOptions), undefined, [value]);
    for (const more of [value, { signal: value }]) {
      attempt('BCC.load(text, …)', async () => (await BCC.load(text, more as object)).close(), undefined, [value]);
    }
  }
  expect(unexpected).toEqual([]);
});

it('leaves nothing in the kernel', async () => {
  await Promise.all(pending);
  b.close();
  expect(unexpected).toEqual([]);
  expect(calls).toBeGreaterThan(20_000);
  const left = () => kernelObjects().map((ids, kind) => ids.filter((id) => !before[kind]!.includes(id)));
  // The kernel frees what ends with the last descriptor a moment later.
  for (let tries = 0; tries < 50 && left().some((ids) => ids.length > 0); tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(left()).toEqual([[], [], []]);
});
