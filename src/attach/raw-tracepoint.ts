import { BPFProgType } from '../constants';
import { AttachError, didYouMean, isNativeError } from '../errors';
import { findTracefs, listTracepoints } from '../kernel/tracefs';
import { runtime } from '../native';
import { attachFailure, ENOENT } from './failure';
import { type AttachableProgram, OwnedLink } from './link';

/*
 * Raw tracepoints, Linux 4.17 and newer: the program gets the tracepoint's own arguments, which no format describes.
 * They need no tracefs.
 *
 * Codes of errors: ERR_BCC_TRACEPOINT_NOT_FOUND.
 */

/** Attaches to the tracepoint of that name, without a category: `sched_switch`, `sys_enter`. */
export function attachRawTracepoint(program: AttachableProgram, tp: string): OwnedLink {
  try {
    const fd = runtime().rawTracepointOpen(tp, program.fd);
    return new OwnedLink('raw_tracepoint', tp, program.name, () => fd.close());
  } catch (error) {
    if (isNativeError(error) && error.errno === ENOENT) throw unknownTracepoint(tp, error);
    const types = [BPFProgType.RAW_TRACEPOINT, BPFProgType.RAW_TRACEPOINT_WRITABLE, BPFProgType.TRACING];
    throw attachFailure(`cannot attach ${program.name} to raw tracepoint ${tp}`, error, {}, { program, types });
  }
}

function unknownTracepoint(tp: string, cause: unknown): AttachError {
  return new AttachError(`this kernel has no raw tracepoint ${tp}`, {
    code: 'ERR_BCC_TRACEPOINT_NOT_FOUND',
    errno: ENOENT,
    cause,
    hint: rawHint(tp),
  });
}

function rawHint(tp: string): string | undefined {
  if (tp.includes(':')) return `raw tracepoints have no category: ${tp.slice(tp.indexOf(':') + 1)}`;
  if (/^sys_(enter|exit)_/.test(tp)) {
    return `system calls have no raw tracepoints of their own: attach to ${tp.slice(0, tp.indexOf('_', 4))} and compare the number`;
  }
  const root = findTracefs();
  return root && didYouMean(tp, new Set(listTracepoints(root).map((name) => name.slice(name.indexOf(':') + 1))));
}
