/*
 * test/skips.json: which tests may be skipped on which kernel, and why. By kernel and by reason (the words in a skipped
 * test's title) it lists files, or tests of a file, `FILE: NAME`, where `*` stands for anything. A machine that has more
 * skips less, which is why an entry that skips nothing is no mistake; what is skipped for having more is listed as well.
 * On a kernel without a list, which may lack anything, a skip needs a reason and no more.
 */
import { readFileSync } from 'node:fs';
import { release } from 'node:os';

/** @typedef {{ part: string, file: string, title: string, reason: string }} Skip */

/** What stands for the reason of a skip that tells none. */
export const NO_REASON = 'no reason given';

/** The kernel that a part of `npm test` ran on: 6.1 for vm-6.1 and vm-headers-6.1, else the one that runs. */
function kernelOf(part) {
  return /^vm-(?:.*-)?(\d+\.\d+)$/.exec(part)?.[1] ?? /^\d+\.\d+/.exec(release())[0];
}

function matches(entry, { file, title }) {
  if (entry === file) return true;
  const pattern = entry.split('*').map((piece) => piece.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${pattern.join('.*')}$`).test(`${file}: ${title}`);
}

/**
 * The skips that the list does not foresee.
 * @param {readonly Skip[]} skips
 * @param {Record<string, Record<string, string[]>>} [lists]
 * @returns {Skip[]}
 */
export function newSkips(
  skips,
  lists = JSON.parse(readFileSync(new URL('../test/skips.json', import.meta.url), 'utf8')),
) {
  return skips.filter((skip) => {
    const list = lists[kernelOf(skip.part)];
    if (!list) return skip.reason === NO_REASON;
    return !list[skip.reason]?.some((entry) => matches(entry, skip));
  });
}
