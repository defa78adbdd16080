import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import * as os from 'node:os';
import { styleText } from 'node:util';
import { heldCapabilities, privilegeHint } from '../capabilities';
import { type Features, features } from '../kernel/features';
import { resolveHeaders } from '../kernel/headers';
import { tracefsRoot } from '../kernel/tracefs';
import { runtime } from '../native';
import { cacheFolder } from '../program/cache';
import { compilerFile } from '../program/compiler';
import type { Command } from './command';

/** One line of the report. 'missing' keeps hello from running; 'lacks' takes something away that other programs may need. */
interface Finding {
  name: string;
  state: 'ok' | 'lacks' | 'missing';
  what: string;
  remedy?: string;
}

const LIBRARIES =
  'install libbcc and libbpf (Debian: apt-get install libbpfcc-dev libbpf-dev), then: npm rebuild tsbcc';

function attempt(name: string, state: 'lacks' | 'missing', remedy: string, look: () => string): Finding {
  try {
    return { name, state: 'ok', what: look() };
  } catch (error) {
    const [what] = (error instanceof Error ? error.message : String(error)).split('\n');
    const hint = (error as { hint?: string }).hint;
    return { name, state, what: what!, remedy: hint ?? remedy };
  }
}

/** The compiler tells its version, and thereby that the libraries that it links are there. */
function compilerFinding(): Finding {
  return attempt('compiler', 'missing', LIBRARIES, () => {
    const file = compilerFile();
    if (!existsSync(file)) throw new Error('the compiler has not been built');
    const { status, stdout, stderr, error } = spawnSync(file, ['--version'], { encoding: 'utf8' });
    if (error) throw error;
    if (status !== 0) throw new Error(stderr.trim());
    return stdout.trim();
  });
}

function privilegeFinding(): Finding {
  const held = heldCapabilities();
  const enough = held.has('CAP_SYS_ADMIN') || (held.has('CAP_BPF') && held.has('CAP_PERFMON'));
  const who = process.geteuid?.() === 0 ? 'root' : `user ${process.geteuid?.()}`;
  return {
    name: 'privileges',
    state: enough ? 'ok' : 'missing',
    what: `${who} with ${[...held].join(', ') || 'no capability that BPF needs'}`,
    ...(!enough && { remedy: privilegeHint(1) ?? 'run as root: sudo -E' }),
  };
}

/** `ok` with `what`, or another state with what that takes away and the remedy. */
function line(
  name: string,
  ok: boolean,
  what: string,
  without: string,
  remedy: string,
  state: 'lacks' | 'missing' = 'lacks',
): Finding {
  return ok ? { name, state: 'ok', what } : { name, state, what: without, remedy };
}

function mountFindings(found: Features): Finding[] {
  return [
    attempt('tracefs', 'missing', 'mount -t tracefs tracefs /sys/kernel/tracing', () => {
      tracefsRoot();
      return 'mounted';
    }),
    line(
      'debugfs',
      found.debugfs,
      'mounted',
      'not mounted: the kprobe blacklist is not known',
      'mount -t debugfs debugfs /sys/kernel/debug',
    ),
    line('bpffs', found.bpffs, 'mounted', 'not mounted: nothing can be pinned', 'mount -t bpf bpf /sys/fs/bpf'),
    line(
      'cgroup v2',
      found.cgroup2,
      'mounted',
      'not mounted: no cgroup programs',
      'mount -t cgroup2 none /sys/fs/cgroup',
    ),
  ];
}

/** What is found by making maps and loading programs; without the privileges for that, nothing can be said of it. */
function triedFindings(found: Features): Finding[] {
  const here = (types: Record<string, boolean>) =>
    `${Object.values(types).filter(Boolean).length} of ${Object.keys(types).length}`;
  return [
    line('ring buffers', found.ringBuffer, 'yes', 'no: use BPF_PERF_OUTPUT', 'Linux 5.8 has them', 'missing'),
    line('tracepoints', found.tracepoints, 'yes', 'no', 'a kernel with CONFIG_BPF_EVENTS has them', 'missing'),
    line(
      'kprobes',
      found.kprobes,
      found.kprobeMulti ? 'yes, many at once' : 'yes',
      'no: use tracepoints',
      'a kernel with CONFIG_KPROBES has them',
    ),
    line(
      'uprobes',
      found.uprobes,
      found.uprobeMulti ? 'yes, many at once' : 'yes',
      'no',
      'a kernel with CONFIG_UPROBES has them',
    ),
    line(
      'kfuncs',
      found.kfunc,
      'fentry and fexit',
      'no fentry or fexit: use kprobes',
      'a kernel with BTF and CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS has them',
    ),
    line(
      'LSM',
      found.lsm,
      'BPF programs at security hooks',
      'no BPF at security hooks',
      'boot with lsm=…,bpf on a kernel with CONFIG_BPF_LSM',
    ),
    line('iterators', found.iterators, 'yes', 'no', 'Linux 5.8 with BTF has them'),
    { name: 'map types', state: 'ok', what: here(found.mapTypes) },
    { name: 'program types', state: 'ok', what: here(found.programTypes) },
  ];
}

const NOT_TRIED: Finding = {
  name: 'features',
  state: 'lacks',
  what: 'not tried: that takes the privileges named above',
  remedy: 'sudo -E npx tsbcc doctor',
};

function settingFindings(found: Features): Finding[] {
  return [
    line(
      'perf counters',
      found.hardwareCounters,
      "the CPU's own",
      'software events only',
      'virtual machines often have no others',
    ),
    line('JIT', found.jit, 'on', 'off: programs are interpreted', 'sysctl net.core.bpf_jit_enable=1'),
    line(
      'lockdown',
      found.lockdown !== 'confidentiality',
      found.lockdown === 'integrity' ? 'integrity: only bpf_probe_write_user is refused' : 'off',
      "confidentiality: kprobes and reading the kernel's memory are refused",
      'boot without it (lockdown=integrity, or none)',
    ),
    line(
      'addresses',
      found.kernelAddresses,
      'kernel symbols have addresses',
      'hidden: stacks stay numbers',
      'sysctl kernel.kptr_restrict=0 kernel.perf_event_paranoid=1, or run as root',
    ),
    line(
      'memlock',
      found.unlimitedMemlock,
      'maps are not limited by it',
      'maps count against RLIMIT_MEMLOCK',
      'ulimit -l unlimited',
    ),
  ];
}

function examine(): Finding[] {
  const addon = attempt('runtime', 'missing', LIBRARIES, () => `libbpf ${runtime().libbpfVersion.replace(/^v/, '')}`);
  const privileges = privilegeFinding();
  const findings: Finding[] = [
    { name: 'kernel', state: 'ok', what: `${os.release()} (${os.machine()})` },
    { name: 'node', state: 'ok', what: `${process.version} (${process.arch})` },
    addon,
    ...(addon.state === 'ok' ? [compilerFinding()] : []),
    privileges,
    attempt('kernel types', 'missing', "install the kernel's headers", () => resolveHeaders('auto', '').describe()),
    { name: 'cache', state: 'ok', what: cacheFolder(true)! },
  ];
  if (addon.state !== 'ok') return findings;
  const found = features();
  const tried = privileges.state === 'ok' ? triedFindings(found) : [NOT_TRIED];
  return [...findings, ...mountFindings(found), ...tried, ...settingFindings(found)];
}

const MARKS = { ok: ['green', 'ok     '], lacks: ['yellow', 'lacks  '], missing: ['red', 'MISSING'] } as const;

export const command: Command = {
  usage: '[options]',
  about:
    'Tells what this machine can do for BPF and what it lacks, with the remedy for each.\n' +
    'Exits with 0 where `npm run hello` would run, with 1 where something it needs is missing.',
  options: { json: { type: 'boolean', help: 'The findings as JSON' } },
  run(values) {
    const findings = examine();
    if (values.json === true) process.stdout.write(`${JSON.stringify(findings, null, 2)}\n`);
    else
      for (const { name, state, what, remedy } of findings) {
        const [color, mark] = MARKS[state];
        const shown = process.stdout.hasColors?.() ? styleText(color, mark) : mark;
        process.stdout.write(`${shown}  ${name.padEnd(14)} ${what}\n`);
        if (remedy) process.stdout.write(`${' '.repeat(24)} → ${remedy}\n`);
      }
    return findings.some(({ state }) => state === 'missing') ? 1 : 0;
  },
};
