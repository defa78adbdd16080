import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BPFProgType } from '../../src/constants';

/*
 * Programs as people write them for BCC, one for each thing that tracing tools look at. Their functions' names tell
 * what they are loaded as.
 */

const FOLDER = join(__dirname, 'corpus');

export interface CorpusProgram {
  /** `tcp-connect`: the family, and what it does. */
  name: string;
  text: string;
  /** The headers that it includes. */
  headers: string[];
}

export const corpus: CorpusProgram[] = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.c'))
  .sort()
  .map((file) => {
    const text = readFileSync(join(FOLDER, file), 'utf8');
    const headers = [...text.matchAll(/^#include <([^>]+)>/gm)].map((match) => match[1]!);
    return { name: file.slice(0, -2), text, headers };
  });

const TYPES: [prefix: string, type: number][] = [
  ['xdp_', BPFProgType.XDP],
  ['tc_', BPFProgType.SCHED_CLS],
  ['filter', BPFProgType.SOCKET_FILTER],
  ['raw_', BPFProgType.RAW_TRACEPOINT],
  ['perf_', BPFProgType.PERF_EVENT],
];

/** What a function of the corpus is loaded as: a kprobe unless its name says otherwise. */
export function programType(functionName: string): number {
  return TYPES.find(([prefix]) => functionName.startsWith(prefix))?.[1] ?? BPFProgType.KPROBE;
}
