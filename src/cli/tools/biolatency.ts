import { readFileSync, readlinkSync } from 'node:fs';
import * as path from 'node:path';
import { type Command, seconds, UsageError } from '../command';
import { requireTracepoints } from './processes';
import {
  DURATION,
  eachRound,
  HISTOGRAM_OPTIONS,
  histogramPrinter,
  histogramRounds,
  macros,
  print,
  TIMESTAMP,
  timeOfDay,
  withProgram,
} from './support';

const TEXT = `
struct place {
    u32 dev;
    u32 pad;
    u64 sector;
};
struct begin {
    u64 ns;
    char flags[8];
};
BPF_HASH(begun, struct place, struct begin, 10240);

#if defined(OPT_BY_DISK)
struct slot {
    u32 dev;
    u32 slot;
};
BPF_HISTOGRAM(dist, struct slot);
#elif defined(OPT_BY_FLAGS)
struct slot {
    char flags[8];
    u64 slot;
};
BPF_HISTOGRAM(dist, struct slot);
#else
BPF_HISTOGRAM(dist);
#endif
struct sum {
    u64 ns;
    u64 count;
};
BPF_ARRAY(sums, struct sum, 1);

#define PLACE(args) {.dev = (args)->dev, .sector = (args)->sector}
#ifdef OPT_FILTER_DEV
#define UNWANTED(args) ((args)->dev != OPT_FILTER_DEV)
#else
#define UNWANTED(args) 0
#endif

#ifdef OPT_QUEUED
TRACEPOINT_PROBE(block, block_rq_insert) {
    if (UNWANTED(args))
        return 0;
    struct place place = PLACE(args);
    struct begin begin = {.ns = bpf_ktime_get_ns()};
    bpf_probe_read_kernel(&begin.flags, sizeof(begin.flags), (void *)args->rwbs);
    begun.update(&place, &begin);
    return 0;
}
#endif

TRACEPOINT_PROBE(block, block_rq_issue) {
    if (UNWANTED(args))
        return 0;
    struct place place = PLACE(args);
    struct begin begin = {.ns = bpf_ktime_get_ns()};
    bpf_probe_read_kernel(&begin.flags, sizeof(begin.flags), (void *)args->rwbs);
#ifdef OPT_QUEUED
    begun.insert(&place, &begin);
#else
    begun.update(&place, &begin);
#endif
    return 0;
}

TRACEPOINT_PROBE(block, block_rq_complete) {
    if (UNWANTED(args))
        return 0;
    struct place place = PLACE(args);
    struct begin *begin = begun.lookup(&place);
    if (!begin)
        return 0;
    u64 ns = bpf_ktime_get_ns() - begin->ns;
    int zero = 0;
    struct sum *sum = sums.lookup(&zero);
    if (sum) {
        lock_xadd(&sum->ns, ns);
        lock_xadd(&sum->count, 1);
    }
#if defined(OPT_BY_DISK)
    struct slot slot = {.dev = args->dev, .slot = bpf_log2l(ns / OPT_UNIT_NS)};
#elif defined(OPT_BY_FLAGS)
    struct slot slot = {.slot = bpf_log2l(ns / OPT_UNIT_NS)};
    __builtin_memcpy(&slot.flags, begin->flags, sizeof(slot.flags));
#else
    int slot = bpf_log2l(ns / OPT_UNIT_NS);
#endif
    dist.atomic_increment(slot);
    begun.delete(&place);
    return 0;
}
`;

/** The kernel's own form of a device number: 12 bits of major, 20 of minor. */
const MINOR_BITS = 20;

function diskName(dev: number): string {
  const [major, minor] = [dev >>> MINOR_BITS, dev & ((1 << MINOR_BITS) - 1)];
  try {
    return path.basename(readlinkSync(`/sys/dev/block/${major}:${minor}`));
  } catch {
    return `${major}:${minor}`;
  }
}

function diskNumber(name: string): number {
  try {
    const [major, minor] = readFileSync(`/sys/class/block/${path.basename(name)}/dev`, 'utf8')
      .split(':')
      .map(Number);
    return ((major! << MINOR_BITS) | minor!) >>> 0;
  } catch {
    throw new UsageError(`there is no disk ${JSON.stringify(name)}: see /sys/class/block`);
  }
}

/** The letters of `rwbs` in words, as blk_fill_rwbs() of the kernel writes them. */
function flagText(rwbs: unknown): string {
  const text = String(rwbs);
  const operation =
    { R: 'Read', W: 'Write', D: 'Discard', F: 'Flush', N: 'Unknown' }[/[RWDN]/.exec(text)?.[0] ?? 'F'] ?? 'Unknown';
  const words = { S: 'Sync', M: 'Metadata', A: 'ReadAhead' };
  const before = Object.entries(words).flatMap(([letter, word]) => (text.includes(letter) ? [word] : []));
  const forced = /[RWD]F/.test(text) ? ['ForceUnitAccess'] : [];
  return [...forced, ...before, operation].join('-');
}

export const command: Command = {
  usage: '[options] [interval [count]]',
  about: 'Shows how long requests to disks take, as a histogram: at Ctrl-C, or after every interval.',
  options: {
    timestamp: TIMESTAMP,
    queued: { type: 'boolean', short: 'Q', help: "Count the time in the kernel's queue too" },
    milliseconds: { type: 'boolean', short: 'm', help: 'Milliseconds instead of microseconds' },
    disks: { type: 'boolean', short: 'D', help: 'A histogram for each disk' },
    flags: { type: 'boolean', short: 'F', help: 'A histogram for each set of flags' },
    extension: { type: 'boolean', short: 'e', help: 'Print the average and the total too' },
    disk: { type: 'string', short: 'd', value: 'DISK', help: 'Only this disk (sda)' },
    json: { type: 'boolean', short: 'j', help: "BCC's dictionaries instead of pictures" },
    ...HISTOGRAM_OPTIONS,
    duration: { ...DURATION, short: undefined },
  },
  examples: [
    ['', 'until Ctrl-C'],
    ['-mT 1 10', 'ten histograms of milliseconds, one a second'],
    ['--heatmap', 'a line a second, darker where there is more'],
  ],
  async run(values, positionals) {
    if (values.disks === true && values.flags === true) throw new UsageError('give -D or -F, not both');
    const [unit, ns] = values.milliseconds === true ? ['msecs', 1_000_000] : ['usecs', 1_000];
    const cflags = macros({
      QUEUED: values.queued === true,
      BY_DISK: values.disks === true,
      BY_FLAGS: values.flags === true,
      FILTER_DEV: typeof values.disk === 'string' ? diskNumber(values.disk) : undefined,
      UNIT_NS: ns,
    });
    const sections =
      values.disks === true
        ? { sectionHeader: 'disk', sectionPrintFn: (dev: unknown) => diskName(Number(dev)) }
        : values.flags === true
          ? { sectionHeader: 'flags', sectionPrintFn: flagText }
          : {};
    const show = histogramPrinter(values, unit, sections);
    const rounds = histogramRounds(values, positionals);
    requireTracepoints('biolatency', 'block:block_rq_issue', 'block:block_rq_complete');
    await withProgram({ text: TEXT, cflags, int64: 'number' }, seconds(values, 'duration'), async (b, signal) => {
      const dist = b.table('dist');
      const sums = b.table('sums');
      if (values.json !== true) print('Tracing block device I/O... Hit Ctrl-C to end.');
      await eachRound(rounds, signal, () => {
        if (values.heatmap !== true && values.json !== true) print();
        if (values.timestamp === true && values.heatmap !== true) print(timeOfDay());
        if (values.json === true) dist.printJsonHist(unit, sections);
        else show(dist);
        if (values.extension === true) {
          const { ns: total, count } = sums.get(0) as { ns: number; count: number };
          const average = count > 0 ? Math.floor(total / count / ns) : 0;
          print(`\navg = ${average} ${unit}, total: ${Math.floor(total / ns)} ${unit}, count: ${count}`);
          sums.zero();
        }
        dist.clear();
      });
    });
    return 0;
  },
};
