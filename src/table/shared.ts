import { inspect } from 'node:util';
import { ClosedError, isNativeError } from '../errors';
import { runtime } from '../native';
import { type AnyTable, createTable } from './factory';
import { StandaloneHost } from './host';
import type { SharedTable } from './spec';

/**
 * A table in this thread for a map that another thread shared (`table.share()`). Descriptors belong to the whole process:
 * this one is borrowed, and what is opened on it (a stream, callbacks) holds a descriptor of its own. Losses that the
 * program counts (`countLost`) are told to streams of the thread that owns the program only.
 * @throws ClosedError where the table that was shared has been closed
 */
export function openShared(shared: SharedTable): AnyTable {
  if (typeof shared?.name !== 'string' || !Number.isInteger(shared.fd)) {
    throw new TypeError(`openShared takes what table.share() gave, not ${inspect(shared, { depth: 0 })}`);
  }
  const { fd, id, ...description } = shared;
  if (mapId(fd) !== id) throw new ClosedError(`table '${description.name}' of the other thread`);
  const borrowed = { fd, close() {} };
  return createTable({ ...description, fd: borrowed, host: new StandaloneHost(borrowed) });
}

function mapId(fd: number): number | undefined {
  try {
    return runtime().mapInfo(fd).id;
  } catch (error) {
    if (isNativeError(error)) return undefined;
    throw error;
  }
}
