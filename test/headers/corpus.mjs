import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/*
 * Programs as people write them for BCC, one for each thing that tracing tools look at. Their functions' names tell
 * what they are loaded as.
 */

/**
 * @typedef {object} CorpusProgram
 * @property {string} name `tcp-connect`: the family, and what it does
 * @property {string} text
 * @property {string[]} headers the headers that it includes
 * @property {string[]} functions
 */

/** @param {string} folder @returns {CorpusProgram[]} */
export function readCorpus(folder) {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.c'))
    .sort()
    .map((file) => {
      const text = readFileSync(join(folder, file), 'utf8');
      const headers = [...text.matchAll(/^#include <([^>]+)>/gm)].map((match) => match[1]);
      const functions = [...text.matchAll(/^int (\w+)\(/gm)].map((match) => match[1]);
      return { name: file.slice(0, -2), text, headers, functions };
    });
}

/** Names of BPFProgType, by the beginning of a function's name. */
const TYPES = [
  ['xdp_', 'XDP'],
  ['tc_', 'SCHED_CLS'],
  ['filter', 'SOCKET_FILTER'],
  ['raw_', 'RAW_TRACEPOINT'],
  ['perf_', 'PERF_EVENT'],
];

/**
 * What a function of the corpus is loaded as: a kprobe unless its name says otherwise.
 * @param {string} functionName
 */
export function programType(functionName) {
  return TYPES.find(([prefix]) => functionName.startsWith(prefix))?.[1] ?? 'KPROBE';
}
