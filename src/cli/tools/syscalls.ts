import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import { PACKAGE_FOLDER } from '../../package';

let names: Map<number, string> | undefined;

/** The names of this machine's system calls by number, out of the headers that programs are compiled with. */
export function syscallNames(): ReadonlyMap<number, string> {
  if (!names) {
    const file = path.join(PACKAGE_FOLDER, 'headers', `arch-${process.arch}-syscalls.h`);
    const definitions = readFileSync(file, 'utf8').matchAll(/^#define __NR_(\w+) (\d+)$/gm);
    names = new Map(Array.from(definitions, ([, name, number]) => [Number(number), name!]));
  }
  return names;
}

/** `read`, or `[unknown: 999]` as BCC's tools write it. */
export function syscallName(number: number): string {
  return syscallNames().get(number) ?? `[unknown: ${number}]`;
}
