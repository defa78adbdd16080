import { requireText } from '../arguments';
import { BPFProgType, PerfType } from '../constants';
import { AttachError, didYouMean, isNativeError } from '../errors';
import { perfEventAttr } from '../kernel/perf-attr';
import { namePattern } from '../kernel/probe-functions';
import { listTracepoints, tracefsRoot, tracepointId, tracepointExists as tracepointIsThere } from '../kernel/tracefs';
import { releaseAll } from '../release';
import { attachFailure, E2BIG, ENOENT } from './failure';
import { type AttachableProgram, OwnedLink } from './link';
import { openProgramEvent } from './tracing-event';

/*
 * Tracepoints, Linux 4.7 and newer: a perf event on the tracepoint's number carries the program.
 *
 * Codes of errors: ERR_BCC_TRACEPOINT_NOT_FOUND (no such tracepoint, or no such name), ERR_BCC_NO_TRACEFS.
 */

/** `['sched', 'sched_switch']` of `sched:sched_switch`. */
export function splitTracepoint(tp: string): [category: string, event: string] {
  const parts = tp.split(':');
  if (parts.length !== 2 || parts[0] === '' || parts[1] === '') {
    throw new AttachError(`"${tp}" is no tracepoint's name`, {
      code: 'ERR_BCC_TRACEPOINT_NOT_FOUND',
      errno: ENOENT,
      hint: 'write category:event, such as sched:sched_switch',
    });
  }
  return [parts[0]!, parts[1]!];
}

/** Attaches to `category:event`. A program may be on many tracepoints, and a tracepoint carry up to 64 programs. */
export function attachTracepoint(program: AttachableProgram, tp: string): OwnedLink {
  const [category, event] = splitTracepoint(tp);
  const id = tracepointId(category, event);
  if (id === undefined) throw unknownTracepoint(tp);
  const attr = perfEventAttr({ type: PerfType.TRACEPOINT, config: id, samplePeriod: 1, wakeupEvents: 1 });
  try {
    const fd = openProgramEvent(program.fd, { attr });
    return new OwnedLink('tracepoint', tp, program.name, () => fd.close());
  } catch (error) {
    const what = `cannot attach ${program.name} to tracepoint ${tp}`;
    // A tracepoint of a module that went away meanwhile.
    if (isNativeError(error) && error.errno === ENOENT) throw unknownTracepoint(tp, error);
    const meanings = { [E2BIG]: { hint: 'a tracepoint carries at most 64 programs: detach others first' } };
    throw attachFailure(what, error, meanings, { program, types: [BPFProgType.TRACEPOINT] });
  }
}

/** Attaches to all tracepoints whose `category:event` begins as the pattern says, or to none of them. */
export function attachTracepoints(program: AttachableProgram, tpRe: string | RegExp): OwnedLink[] {
  const names = getTracepoints(tpRe);
  if (names.length === 0) {
    throw new AttachError(`no tracepoint's name begins as ${tpRe} says`, {
      code: 'ERR_BCC_TRACEPOINT_NOT_FOUND',
      errno: ENOENT,
      hint: didYouMean(String(tpRe), listTracepoints()) ?? `names are category:event: see ls ${tracefsRoot()}/events`,
    });
  }
  const links: OwnedLink[] = [];
  try {
    for (const name of names) links.push(attachTracepoint(program, name));
    return links;
  } catch (error) {
    releaseAll(links.map((link) => () => link.detach()));
    throw error;
  }
}

/** The tracepoints whose `category:event` begins as the pattern says (Python's re.match), sorted. */
export function getTracepoints(tpRe: string | RegExp): string[] {
  return listTracepoints().filter(namePattern(tpRe, 'start'));
}

/** Whether the kernel has that tracepoint; throws ERR_BCC_NO_TRACEFS where that cannot be told. */
export function tracepointExists(category: string, event: string): boolean {
  requireText(category, 'category');
  requireText(event, 'event');
  return tracepointIsThere(category, event);
}

function unknownTracepoint(tp: string, cause?: unknown): AttachError {
  const known = listTracepoints(tracefsRoot());
  const [category] = splitTracepoint(tp);
  const siblings = known.filter((name) => name.startsWith(`${category}:`));
  const seeAll =
    siblings.length > 0
      ? `see ls ${tracefsRoot()}/events/${category}`
      : `there is no category "${category}": see ls ${tracefsRoot()}/events`;
  return new AttachError(`this kernel has no tracepoint ${tp}`, {
    code: 'ERR_BCC_TRACEPOINT_NOT_FOUND',
    errno: ENOENT,
    cause,
    hint: didYouMean(tp, siblings) ?? didYouMean(tp, known) ?? seeAll,
  });
}
