import { writeFileSync } from 'node:fs';
import type { BCC } from '../../bcc';
import { PerfSWConfig, PerfType } from '../../constants';
import { ksym, sym, symbolCache } from '../../symbols';
import { type Command, integer, seconds, UsageError } from '../command';
import { FlameGraph } from '../flamegraph';
import { DURATION, left, macros, pause, print, withProgram } from './support';

const TEXT = `
struct sample {
    u32 pid;
    int user;
    int kernel;
    char comm[16];
};
BPF_HASH(counts, struct sample, u64, 65536);
BPF_STACK_TRACE(stacks, OPT_STACKS);

int on_sample(void *ctx) {
    u64 id = bpf_get_current_pid_tgid();
    u32 pid = id >> 32;
#ifndef OPT_IDLE
    if ((u32)id == 0)
        return 0;
#endif
#ifdef OPT_WANTED
    u32 tid = id;
    if (!(OPT_WANTED))
        return 0;
#endif
    struct sample sample = {.pid = pid, .user = -1, .kernel = -1};
    bpf_get_current_comm(&sample.comm, sizeof(sample.comm));
#ifndef OPT_KERNEL_ONLY
    sample.user = stacks.get_stackid(ctx, BPF_F_USER_STACK);
#endif
#ifndef OPT_USER_ONLY
    sample.kernel = stacks.get_stackid(ctx, 0);
#endif
    counts.atomic_increment(sample);
    return 0;
}
`;

interface Sample {
  pid: number;
  user: number;
  kernel: number;
  comm: string;
}

interface Stack {
  sample: Sample;
  count: number;
  /** The innermost first. */
  user: string[];
  kernel: string[];
}

const EFAULT = -14;
const LEARN_MS = 250;

/** Opens the symbols of processes while they run: of those that have ended, nothing more can be read. */
async function learnProcesses(b: BCC, signal: AbortSignal): Promise<void> {
  const counts = b.table<Sample, number>('counts');
  const known = new Set<number>();
  do {
    for (const key of counts.keys()) {
      const { pid } = key as Sample;
      if (known.has(pid)) continue;
      known.add(pid);
      try {
        symbolCache(pid).resolve(0n);
      } catch {
        // It has ended already.
      }
    }
  } while (await pause(LEARN_MS, signal));
}

function symbolOf(address: bigint, pid: number): string {
  try {
    return sym(address, pid);
  } catch {
    return '[unknown]';
  }
}

function readStacks(b: BCC): { stacks: Stack[]; missing: number } {
  const addresses = b.table('stacks') as unknown as { get(id: number): bigint[] | undefined };
  let missing = 0;
  const walk = (id: number, name: (address: bigint) => string) => {
    if (id < 0) {
      // A process without user space, or a sample from none of the kernel's code, has no stack there.
      if (id !== EFAULT && id !== -1) missing++;
      return [];
    }
    return (addresses.get(id) ?? []).map(name);
  };
  const stacks = [...b.table<Sample, number>('counts').entries()].map(([key, count]) => {
    const sample = key as Sample;
    return {
      sample,
      count: Number(count),
      user: walk(sample.user, (address) => symbolOf(address, sample.pid)),
      kernel: walk(sample.kernel, (address) => ksym(address)),
    };
  });
  return { stacks: stacks.sort((a, c) => a.count - c.count), missing };
}

function wantedCondition(pids: string[], tids: string[]): string | undefined {
  const list = (name: string, texts: string[]) =>
    texts
      .flatMap((text) => text.split(','))
      .map((text) => {
        if (!/^[1-9]\d*$/.test(text)) throw new UsageError(`--${name} takes numbers, not ${JSON.stringify(text)}`);
        return `${name}==${text}`;
      });
  return [...list('pid', pids), ...list('tid', tids)].join('||') || undefined;
}

function listOf(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

export const command: Command = {
  usage: '[options] [duration]',
  about: 'Samples the stacks of all CPUs and tells where the time goes: at Ctrl-C, or after so many seconds.',
  options: {
    pid: { type: 'string', short: 'p', multiple: true, value: 'PID', help: 'Only these processes' },
    tid: { type: 'string', short: 'L', multiple: true, value: 'TID', help: 'Only these threads' },
    'user-stacks-only': { type: 'boolean', short: 'U', help: 'User stacks only' },
    'kernel-stacks-only': { type: 'boolean', short: 'K', help: 'Kernel stacks only' },
    frequency: { type: 'string', short: 'F', value: 'HZ', help: 'Samples a second on each CPU (49)' },
    count: { type: 'string', short: 'c', value: 'N', help: 'A sample at every N nanoseconds of CPU time instead' },
    delimited: { type: 'boolean', short: 'd', help: 'A line between kernel and user frames' },
    annotations: { type: 'boolean', short: 'a', help: 'Mark kernel frames with _[k]' },
    'include-idle': { type: 'boolean', short: 'I', help: 'Idle CPUs too' },
    folded: { type: 'boolean', short: 'f', help: 'A line for each stack: its frames with ; between, and its count' },
    'stack-storage-size': { type: 'string', value: 'N', help: 'How many different stacks there is room for (16384)' },
    cpu: { type: 'string', short: 'C', value: 'CPU', help: 'Only this CPU' },
    flamegraph: {
      type: 'string',
      value: 'FILE',
      help: 'Write a flame graph: an SVG for the browser, with zoom and search',
    },
    duration: { ...DURATION, short: undefined },
  },
  examples: [
    ['-p 181 10', 'ten seconds of one process'],
    ['--flamegraph out.svg 10', 'a picture of everything'],
    ['-F 99 -f 30 > stacks.txt', 'folded stacks for other programs'],
  ],
  async run(values, positionals) {
    if (positionals.length > 1) throw new UsageError(`what is ${JSON.stringify(positionals[1])}?`);
    const positional = positionals[0] === undefined ? undefined : seconds({ duration: positionals[0] }, 'duration');
    const userOnly = values['user-stacks-only'] === true;
    const kernelOnly = values['kernel-stacks-only'] === true;
    if (userOnly && kernelOnly) throw new UsageError('give -U or -K, not both');
    const frequency = integer(values, 'frequency', 1);
    const period = integer(values, 'count', 1);
    if (frequency !== undefined && period !== undefined) throw new UsageError('give -F or -c, not both');
    const cflags = macros({
      STACKS: integer(values, 'stack-storage-size', 1) ?? 16384,
      IDLE: values['include-idle'] === true,
      USER_ONLY: userOnly,
      KERNEL_ONLY: kernelOnly,
    });
    const wanted = wantedCondition(listOf(values.pid), listOf(values.tid));
    if (wanted !== undefined) cflags.push(`-DOPT_WANTED=${wanted}`);
    const cpu = integer(values, 'cpu');
    const duration = positional ?? seconds(values, 'duration');
    const quiet = values.folded === true;
    await withProgram({ text: TEXT, cflags }, duration, async (b, signal) => {
      b.attachPerfEvent({
        fnName: 'on_sample',
        evType: PerfType.SOFTWARE,
        evConfig: PerfSWConfig.CPU_CLOCK,
        ...(period === undefined ? { sampleFreq: frequency ?? 49 } : { samplePeriod: period }),
        ...(cpu !== undefined && { cpu }),
      });
      const rate = period === undefined ? `${frequency ?? 49} Hertz` : `every ${period} ns`;
      const until = duration === undefined ? 'Hit Ctrl-C to end.' : `for ${duration} secs.`;
      if (!quiet) print(`Sampling at ${rate} of ${wanted ?? 'all threads'} by user + kernel stack... ${until}`);
      await learnProcesses(b, signal);
      b.detachPerfEvent({ evType: PerfType.SOFTWARE, evConfig: PerfSWConfig.CPU_CLOCK });
      const { stacks, missing } = readStacks(b);
      const mark = (name: string) => (values.annotations === true ? `${name}_[k]` : name);
      if (typeof values.flamegraph === 'string') {
        const graph = new FlameGraph();
        for (const { sample, count, user, kernel } of stacks) {
          const frames = [
            { name: sample.comm, kernel: false },
            ...user.toReversed().map((name) => ({ name, kernel: false })),
            ...kernel.toReversed().map((name) => ({ name, kernel: true })),
          ];
          graph.add(frames, count);
        }
        writeFileSync(values.flamegraph, graph.svg({ title: `CPU time, sampled at ${rate}`, unit: 'samples' }));
        if (!quiet) print(`${values.flamegraph}: ${stacks.reduce((sum, { count }) => sum + count, 0)} samples`);
      }
      const both = values.delimited === true && !userOnly && !kernelOnly;
      if (quiet) {
        for (const { sample, count, user, kernel } of stacks) {
          const line = [
            sample.comm,
            ...user.toReversed(),
            ...(both && user.length > 0 && kernel.length > 0 ? ['-'] : []),
            ...kernel.toReversed().map(mark),
          ];
          print(`${line.join(';')} ${count}`);
        }
      } else if (values.flamegraph === undefined) {
        for (const { sample, count, user, kernel } of stacks) {
          for (const name of kernel) print(`    ${mark(name)}`);
          if (both) print('    --');
          for (const name of user) print(`    ${name}`);
          print(`    ${left('-', 16)} ${sample.comm} (${sample.pid})\n        ${count}\n`);
        }
      }
      if (missing > 0) {
        process.stderr.write(`tsbcc: ${missing} stacks had no room: make it with --stack-storage-size\n`);
      }
    });
    return 0;
  },
};
