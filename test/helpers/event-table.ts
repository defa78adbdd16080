import { BPFMapType } from '../../src/constants';
import type { IntLayout, Layout, StructLayout } from '../../src/layout/layout';
import type { NativeFd } from '../../src/native';
import { StandaloneHost } from '../../src/table/host';
import type { TableSpec } from '../../src/table/spec';
import { EVENT_SIZE } from './event-program';

const u32: IntLayout = { kind: 'int', size: 4, signed: false };
const u64: IntLayout = { kind: 'int', size: 8, signed: false };
const char: IntLayout = { kind: 'int', size: 1, signed: true, char: true };

/** What the program of event-program.ts sends. */
export const EVENT_LAYOUT: StructLayout = {
  kind: 'struct',
  name: 'numbered_t',
  size: EVENT_SIZE,
  fields: [
    { name: 'pid', offset: 0, type: u32 },
    { name: 'cpu', offset: 4, type: u32 },
    { name: 'seq', offset: 8, type: u64 },
    { name: 'ts', offset: 16, type: u64 },
    { name: 'extra', offset: 24, type: u64 },
    { name: 'comm', offset: 32, type: { kind: 'array', element: char, length: 16, size: 16 } },
  ],
};

export interface NumberedEvent {
  pid: number;
  cpu: number;
  seq: bigint;
  ts: bigint;
  extra: bigint;
  comm: string;
}

/** A table over a map that belongs to no BCC object; its host closes the map. */
export function eventTableSpec(
  map: NativeFd,
  type: 'RINGBUF' | 'PERF_EVENT_ARRAY',
  maxEntries: number,
  events: readonly Layout[] = [EVENT_LAYOUT],
): TableSpec & { host: StandaloneHost } {
  const size = type === 'RINGBUF' ? 0 : 4;
  return {
    name: 'events',
    type: BPFMapType[type],
    keySize: size,
    leafSize: size,
    maxEntries,
    flags: 0,
    fd: map,
    keyLayout: u32,
    leafLayout: u32,
    events,
    int64: 'bigint',
    host: new StandaloneHost(map),
  };
}
