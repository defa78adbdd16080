import { perfEventHint } from '../capabilities';
import { BCCError, ClosedError, isNativeError } from '../errors';
import type { RecordSource, RecordStream } from '../events/record-stream';
import type { TableSpec } from './spec';

/*
 * A kernel buffer has one consumer: two would take each other's events. Tables of the same BCC object that stand for the
 * same map share this knowledge through their host.
 */

function consumed(spec: TableSpec): Set<number> {
  return spec.host.shared('buffers with a consumer', () => new Set<number>());
}

export function isConsumed(spec: TableSpec): boolean {
  return !spec.host.closed && consumed(spec).has(spec.fd.fd);
}

/** Marks the table's buffer as consumed; the result takes the mark back. */
export function claimConsumer(spec: TableSpec, what: string): () => void {
  const claims = consumed(spec);
  const { fd } = spec.fd;
  if (claims.has(fd)) {
    throw new BCCError('ERR_BCC_BUFFER_OPEN', `the ${what} '${spec.name}' is open already: it can have one consumer`, {
      hint: 'close the stream, or the callback, that consumes it now',
    });
  }
  claims.add(fd);
  return () => claims.delete(fd);
}

/** Opens a stream that claims the table's buffer and ends with the stream or with the table's host. */
export function streamOn<S extends RecordStream<unknown>>(
  spec: TableSpec,
  what: string,
  open: () => RecordSource,
  make: (source: RecordSource) => S,
): S {
  if (spec.host.closed) throw new ClosedError(`table '${spec.name}'`);
  const unclaim = claimConsumer(spec, what);
  let source: RecordSource | undefined;
  let unregister = () => {};
  const release = () => {
    unregister();
    source?.release();
    unclaim();
  };
  try {
    source = open();
    let stream: S | undefined;
    unregister = spec.host.onClose(() => stream?.close());
    stream = make({ ...source, release });
    return stream;
  } catch (error) {
    release();
    throw openFailure(spec, what, error);
  }
}

const EPERM = 1;
const ENOMEM = 12;
const EBUSY = 16;

/** What opening a buffer failed with, in the words of this library. */
export function openFailure(spec: TableSpec, what: string, error: unknown): unknown {
  if (!isNativeError(error)) return error;
  const { errno } = error;
  const hint =
    perfEventHint(errno) ??
    (errno === EPERM || errno === ENOMEM
      ? 'take fewer pages (pageCnt), or raise RLIMIT_MEMLOCK and kernel.perf_event_mlock_kb'
      : errno === EBUSY
        ? 'see that no other process consumes this buffer'
        : undefined);
  return new BCCError('ERR_BCC_BUFFER', `the ${what} '${spec.name}' cannot be opened: ${error.message}`, {
    errno,
    cause: error,
    hint,
  });
}
