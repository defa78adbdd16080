export type { AutoloadKind } from './attach/autoload';
export { CgroupAttachFlag } from './attach/cgroup';
export type { IteratorLink, IteratorScope } from './attach/iterator';
export type { Link } from './attach/link';
export type { PerfEventOptions, RawPerfEventOptions } from './attach/perf-event';
export type { TcDirection, TcOptions } from './attach/tc';
export type { UprobeOptions } from './attach/uprobe';
export { BCC, type BCCLoadOptions, type BCCOptions, type ProgType } from './bcc';
export * from './constants';
export {
  AttachError,
  BCCError,
  ClosedError,
  CompileError,
  type Diagnostic,
  HeadersError,
  LoadError,
  TableError,
  UnsupportedError,
} from './errors';
export { BatchLoss, type BatchStream, type EventBatch } from './events/batch-stream';
export type { EventStream, EventStreamOptions, OverflowPolicy } from './events/event-stream';
export { Loss, type LossCause } from './events/loss';
export { fromNdjson, type NdjsonOptions, ndjsonReader, ndjsonWriter, toNdjson } from './events/ndjson';
export type { RecordStreamOptions, StreamStats } from './events/record-stream';
export { type NoTraceFields, parseTraceLine, type TraceFields, type TraceOptions } from './events/trace-pipe';
export type { HeadersContext, HeadersOption } from './kernel/headers';
export type { Layout } from './layout/layout';
export { type CacheOption, clearCache, listCache, type ProgramSource } from './program/cache';
export type { CompiledProgram } from './program/compiled';
export { BPFFunction } from './program/function';
export {
  type BuildIdFrame,
  BuildSymbolCache,
  type ResolvedSymbol,
  SymbolCache,
  type SymbolTextOptions,
  type UserSymbolTextOptions,
} from './symbols';
export { type PerfBufferOptions, PerfEventArrayTable, type PerfEventStreamOptions } from './table/perf-event-array';
export { RingBufferTable } from './table/ring-buffer';
export { openShared } from './table/shared';
export type { SharedTable } from './table/spec';
export { Table } from './table/table';
export {
  type EnableProbe,
  USDT,
  type USDTOptions,
  USDTProbe,
  USDTProbeArgument,
  USDTProbeLocation,
} from './usdt';
