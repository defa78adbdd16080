import { inspect } from 'node:util';
import { BCC } from '../bcc';
import { BPFMapType } from '../constants';
import type { EventStream } from '../events/event-stream';
import { toNdjson } from '../events/ndjson';
import type { AnyTable } from '../table/factory';
import { type Command, integer, seconds, UsageError, untilStopped } from './command';
import { PROGRAM_OPTIONS, requireProgram } from './program';
import { showing } from './progress';

const EVENT_TYPES: readonly number[] = [BPFMapType.PERF_EVENT_ARRAY, BPFMapType.RINGBUF];
/** Tables that the program writes for itself, or whose values are descriptors: nothing to print. */
const SILENT: readonly number[] = [
  BPFMapType.PROG_ARRAY,
  BPFMapType.CGROUP_ARRAY,
  BPFMapType.ARRAY_OF_MAPS,
  BPFMapType.HASH_OF_MAPS,
  BPFMapType.STACK_TRACE,
];

type Print = (table: string, kind: 'event' | 'entry', value: unknown) => void;

function printer(json: boolean): Print {
  if (json)
    return (table, kind, value) => process.stdout.write(`${toNdjson({ table, [kind]: value }, { plain: true })}\n`);
  const colors = process.stdout.hasColors?.() ?? false;
  return (table, _kind, value) => {
    const text = inspect(value, { colors, depth: 8, breakLength: process.stdout.columns ?? 100, compact: true });
    process.stdout.write(`${table}: ${text}\n`);
  };
}

/** An event belongs to the process asked for where it says so; one that tells no pid is shown. */
function isOf(pid: number | undefined, event: unknown): boolean {
  if (pid === undefined || typeof event !== 'object' || event === null) return true;
  const own = (event as Record<string, unknown>).pid ?? (event as Record<string, unknown>).tgid;
  return own === undefined || Number(own) === pid;
}

async function printEvents(
  name: string,
  stream: EventStream<unknown>,
  pid: number | undefined,
  print: Print,
): Promise<void> {
  for await (const event of stream) if (isOf(pid, event)) print(name, 'event', event);
}

/** Arrays are mostly zeroes that nobody wrote. */
function isBlank(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(isBlank);
  if (value instanceof Uint8Array) return value.every((byte) => byte === 0);
  if (typeof value === 'object' && value !== null) return Object.values(value).every(isBlank);
  return value === 0 || value === 0n || value === '' || value === false;
}

const ARRAYS: readonly number[] = [BPFMapType.ARRAY, BPFMapType.PERCPU_ARRAY];
const KEYLESS: readonly number[] = [BPFMapType.QUEUE, BPFMapType.STACK];

function printEntries(name: string, table: AnyTable, print: Print): void {
  if (KEYLESS.includes(table.type)) {
    for (const value of table.values()) print(name, 'entry', value);
    return;
  }
  for (const [key, leaf] of table.entries()) {
    if (ARRAYS.includes(table.type) && isBlank(leaf)) continue;
    print(name, 'entry', { key, leaf });
  }
}

export const command: Command = {
  usage: '[options] prog.c',
  about:
    'Compiles and loads a program, attaches the functions whose names say where they belong (tracepoint__…, kprobe__…),\n' +
    'prints every event as it comes and trace_pipe besides where the program writes there, and at the end every other table.',
  options: {
    ...PROGRAM_OPTIONS,
    duration: { type: 'string', short: 'd', value: 'SECONDS', help: 'End by itself' },
    pid: { type: 'string', short: 'p', value: 'PID', help: 'Only events whose field pid or tgid is this one' },
    json: {
      type: 'boolean',
      help: 'One JSON object a line; 64-bit integers with all their digits, bytes as hexadecimal',
    },
    trace: { type: 'boolean', help: 'Print trace_pipe too, whether or not the program writes there' },
  },
  examples: [
    ['hello.c', 'until Ctrl-C'],
    ['--json -d 5 hello.c | jq .', 'for five seconds, for another program'],
  ],
  async run(values, positionals) {
    const options = requireProgram(values, positionals);
    const duration = seconds(values, 'duration');
    const pid = integer(values, 'pid', 1);
    const print = printer(values.json === true);
    await untilStopped(async (signal) => {
      using b = await showing('compiling', BCC.load(options, { signal }));
      if (b.links.length === 0) {
        throw new UsageError(
          `nothing attaches by itself: name functions like tracepoint__sched__sched_switch or kprobe__vfs_read (this program has ${b.functions.join(', ') || 'none'})`,
        );
      }
      if (process.stderr.isTTY)
        process.stderr.write(`${b.links.map((link) => inspect(link)).join('\n')}\nCtrl-C ends it.\n`);
      const tables = Object.entries(b.tables);
      const streams = tables
        .filter(([, { type }]) => EVENT_TYPES.includes(type))
        .map(([name, table]) => printEvents(name, table.events({ signal }), pid, print));
      if (values.trace === true || /\bbpf_trace_printk\b/.test(b.program.origin.text)) {
        streams.push(b.tracePrint(undefined, { signal }));
      }
      await Promise.race([ended(signal), ...streams.map((stream) => stream.then(() => ended(signal)))]);
      for (const [name, table] of tables) {
        if (!EVENT_TYPES.includes(table.type) && !SILENT.includes(table.type)) printEntries(name, table, print);
      }
    }, duration);
    return 0;
  },
};

function ended(signal: AbortSignal): Promise<void> {
  // A pending promise alone does not keep a process alive.
  const timer = setInterval(() => {}, 1 << 30);
  return new Promise((resolve) => {
    const done = () => {
      clearInterval(timer);
      resolve();
    };
    if (signal.aborted) done();
    else signal.addEventListener('abort', done, { once: true });
  });
}
