import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The names of this machine's system calls by number, from the headers that tsbcc brings along. */
export function syscallNames(): Map<number, string> {
  const folder = join(dirname(require.resolve('tsbcc/package.json')), 'headers');
  const text = readFileSync(join(folder, `arch-${process.arch}-syscalls.h`), 'utf8');
  return new Map(
    Array.from(text.matchAll(/^#define __NR_(\w+) (\d+)$/gm), ([, name, number]) => [Number(number), name!]),
  );
}
