import { readFileSync } from 'node:fs';

/** The numbers in a kernel list such as `0-3,5`; [] for an empty one. What is no number or range of numbers is left out. */
export function parseCpuList(text: string): number[] {
  const cpus: number[] = [];
  for (const [, first, last] of text.matchAll(/(?:^|,)(\d{1,5})(?:-(\d{1,5}))?(?=,|\s*$)/g)) {
    for (let cpu = Number(first); cpu <= Number(last ?? first); cpu++) cpus.push(cpu);
  }
  return cpus;
}

/** The CPUs that run now, ascending. They may change: ask when they are needed. */
export function onlineCpus(): number[] {
  return parseCpuList(readFileSync('/sys/devices/system/cpu/online', 'utf8'));
}

/** The CPUs that could be plugged in: per-CPU tables hold one value for each of these. */
export function possibleCpus(): number[] {
  return parseCpuList(readFileSync('/sys/devices/system/cpu/possible', 'utf8'));
}
