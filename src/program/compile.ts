import * as fs from 'node:fs';
import * as os from 'node:os';
import { CompileError } from '../errors';
import {
  type HeadersContext,
  type HeadersOption,
  type KernelHeaders,
  kheadersFolder,
  resolveHeaders,
} from '../kernel/headers';
import { parseKernelVersion } from '../kernel/version';
import { Btf, FLOAT_TYPEDEFS } from '../layout/btf';
import type {
  CompiledEvent,
  CompiledFunction,
  CompiledProgram,
  CompiledTable,
  ExportedTable,
  MapRelocation,
} from './compiled';
import {
  type CompilerOutcome,
  type CompilerRequest,
  type CompilerResult,
  runCompiler,
  runCompilerSync,
} from './compiler';
import { describeWarnings, explainCompileFailure } from './diagnostics';
import { exportedTables } from './maps';
import { isOtherKernel, withOtherTracepoints } from './other-tracepoints';
import { annotateEvents, EVENT_STRUCT_PREFIX, lostTableDefinition, newerMacros } from './source';

export interface CompileRequest {
  /** The program's C text. */
  text: string;
  /** The file that it was read from. */
  file?: string | undefined;
  /** What must stand before it: a header file, the argument readers of USDT probes. */
  prelude: string;
  /** The header file, and its lines. */
  header?: { file: string; lines: number } | undefined;
  cflags: string[];
  /** Debug flags as BCC has them. */
  debug: number;
  allowRlimit: boolean;
  /** The network device to offload to. */
  device: string | undefined;
  headers: HeadersOption | undefined;
  /** Another kernel than the running one. */
  kernel: HeadersContext | undefined;
  countLost: boolean;
}

/** A request made ready: the texts that the compiler will see. */
export interface CompileJob {
  request: CompileRequest;
  /** What stands before the program's text. */
  prelude: string;
  /** The tables of other programs that it may name. */
  exported: ExportedTable[];
  /** The text with its prelude and annotations, and without the latter. */
  texts: string[];
  eventTables: string[];
  lostTables: string[];
}

export function prepareCompile(request: CompileRequest): CompileJob {
  const { kernel } = request;
  const own = isOtherKernel(kernel) ? withOtherTracepoints(request.text, kernel!) : { prelude: '', text: request.text };
  const { text, eventTables, lostTables } = annotateEvents(own.text, request.countLost);
  let prelude = request.prelude + own.prelude + newerMacros(request.text);
  if (lostTables.length > 0) prelude += `${lostTableDefinition(lostTables.length)}\n`;
  if (prelude !== '' && !prelude.endsWith('\n')) prelude += '\n';
  const texts = [prelude + text];
  // Counting lost events is asked for: a program that does not compile with it must not run without.
  if (eventTables.length > 0 && lostTables.length === 0) texts.push(prelude + own.text);
  return { request, prelude, exported: exportedTables(), texts, eventTables, lostTables };
}

function findHeaders({ request, prelude }: CompileJob, option = request.headers): KernelHeaders {
  return resolveHeaders(option, prelude + request.text, { ...request.kernel, cflags: request.cflags });
}

/** A function that exists nowhere would otherwise be a warning here and a refusal without a name at load. */
const STRICT_FLAGS = ['-Werror=implicit-function-declaration'];

/**
 * Since Linux 6.15 per-CPU pointers of x86 lie in an address space, in formats of tracepoints as well, and LLVM cannot
 * cast them to plain ones for BPF. A program that reads them means the bare number.
 */
const ADDRESS_SPACE_FLAGS = ['__seg_gs', '__seg_fs'].flatMap((name) => [`-U${name}`, `-D${name}=`]);

function compilerRequest(job: CompileJob, headers: KernelHeaders): CompilerRequest {
  const { debug, allowRlimit, device, cflags, kernel } = job.request;
  return {
    debug,
    allowRlimit,
    device,
    helpers: probeReadHelpers(kernel),
    // The compiler works in the headers' folder: the program's own includes are looked for where it was started.
    cflags: [...STRICT_FLAGS, ...ADDRESS_SPACE_FLAGS, ...cflags, ...headers.cflags, `-I${process.cwd()}`],
    exported: job.exported,
    texts: job.texts,
  };
}

/** Linux 5.5 has them, and what distributions carried back to older kernels shows in those kernels' BTF. */
function probeReadHelpers(kernel: HeadersContext = {}): CompilerRequest['helpers'] {
  const { release, btfPath } = kernel;
  if (release === undefined || !isOtherKernel(kernel)) return 'ask';
  if (btfPath !== undefined) {
    return fs.readFileSync(btfPath).includes('\0bpf_probe_read_kernel\0') ? 'present' : 'absent';
  }
  const { major, minor } = parseKernelVersion(release) ?? { major: 0, minor: 0 };
  return major > 5 || (major === 5 && minor >= 5) ? 'present' : 'absent';
}

function compilerEnvironment(headers: KernelHeaders): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = {
    ...process.env,
    BCC_KERNEL_SOURCE: headers.path,
    TMPDIR: kheadersFolder(),
  };
  if (headers.path === '') delete environment.BCC_KERNEL_SOURCE;
  // What the caller's Node was told (inspectors, loaders) is not meant for this process.
  delete environment.NODE_OPTIONS;
  return environment;
}

/** Compiles in a process of its own and waits for it. */
export function compileSync(job: CompileJob): CompiledProgram {
  const headers = findHeaders(job);
  try {
    return compileWithSync(job, headers);
  } catch (error) {
    const other = otherHeaders(job, headers, error);
    if (!other) throw error;
    try {
      return compileWithSync(job, other);
    } catch {
      throw error;
    }
  }
}

/**
 * Installed headers can be newer than libbcc: with those of Linux 6.12 libbcc 0.26 compiles nothing that includes
 * net/sock.h. Where the choice was ours and the kernel has BTF, that gets a try before the program is blamed.
 */
function otherHeaders(job: CompileJob, headers: KernelHeaders, error: unknown): KernelHeaders | undefined {
  const { headers: option } = job.request;
  const chosen = option === undefined || option === 'auto' || (typeof option === 'object' && option.mode === 'auto');
  const installed = headers.mode === 'kernel' || headers.mode === 'kheaders';
  if (!chosen || !installed || !(error instanceof CompileError) || error.diagnostics.length === 0) return undefined;
  try {
    return findHeaders(job, 'btf');
  } catch {
    return undefined;
  }
}

function compileWithSync(job: CompileJob, headers: KernelHeaders): CompiledProgram {
  const run = (each: CompileJob) => runCompilerSync(compilerRequest(each, headers), compilerEnvironment(headers));
  const outcome = run(job);
  const typed = floatlessJob(job, outcome);
  return finish(job, headers, typed ? withBtfOf(run(typed), outcome) : outcome);
}

/** The same with the event loop free; an aborted signal ends the compiler. */
export async function compile(job: CompileJob, signal?: AbortSignal): Promise<CompiledProgram> {
  signal?.throwIfAborted();
  const headers = findHeaders(job);
  try {
    return await compileWith(job, headers, signal);
  } catch (error) {
    const other = otherHeaders(job, headers, error);
    if (!other) throw error;
    try {
      return await compileWith(job, other, signal);
    } catch {
      throw error;
    }
  }
}

async function compileWith(job: CompileJob, headers: KernelHeaders, signal?: AbortSignal): Promise<CompiledProgram> {
  const run = (each: CompileJob) => {
    return runCompiler(compilerRequest(each, headers), compilerEnvironment(headers), signal);
  };
  const outcome = await run(job);
  const typed = floatlessJob(job, outcome);
  return finish(job, headers, typed ? withBtfOf(await run(typed), outcome) : outcome);
}

/** Integers of the same size and alignment, under names by which {@link Btf} knows them again. */
const FLOATS_AS_INTEGERS = [
  `typedef unsigned int ${FLOAT_TYPEDEFS.float};`,
  `typedef unsigned long long ${FLOAT_TYPEDEFS.double};`,
  `#define float ${FLOAT_TYPEDEFS.float}`,
  `#define double ${FLOAT_TYPEDEFS.double}`,
  '',
].join('\n');

/**
 * libbcc 0.26 does not know BTF's floating-point types, and hands the kernel a blob that it refuses: a program with one
 * such member has no BTF at all. It is compiled once more with integers in their place, for its types alone.
 */
function floatlessJob(job: CompileJob, { result }: CompilerOutcome): CompileJob | undefined {
  if (!result || result.btf.length > 0 || result.tables.length === 0) return undefined;
  // A header of the user's own may hold them as well.
  if (!/\b(?:float|double)\b|^\s*#\s*include\s*"/m.test(job.prelude + job.request.text)) return undefined;
  return { ...job, texts: job.texts.map((text) => FLOATS_AS_INTEGERS + text) };
}

function withBtfOf(typed: CompilerOutcome, outcome: CompilerOutcome): CompilerOutcome {
  const result = outcome.result!;
  if (typed.result?.text !== result.text) return outcome;
  return { ...outcome, result: { ...result, btf: typed.result.btf } };
}

function finish(job: CompileJob, headers: KernelHeaders, outcome: CompilerOutcome): CompiledProgram {
  const { messages, result, code: status, signal } = outcome;
  if (job.request.debug !== 0) {
    process.stdout.write(outcome.stdout);
    process.stderr.write(messages);
  }
  const { text, file, header } = job.request;
  const program = { text, linesBefore: job.prelude.split('\n').length - 1, header, headers: headers.mode };
  // Warnings are kept with the program, which another file of the same text may find in the cache.
  if (result) return assemble(job, headers, result, describeWarnings(messages, program));
  const end = { code: status, signal };
  const { message, hint, code, diagnostics } = explainCompileFailure(messages, end, { ...program, file });
  throw new CompileError(message, { code, hint, diagnostics, output: messages });
}

const LD_IMM64 = 0x18;
const PSEUDO_MAP_FD = 1;

function relocate(insns: Uint8Array, tables: ReadonlyMap<number, string>, fnName: string): MapRelocation[] {
  const view = new DataView(insns.buffer, insns.byteOffset, insns.byteLength);
  const relocations: MapRelocation[] = [];
  for (let at = 0; at < insns.length; at += 8) {
    if (insns[at] !== LD_IMM64) continue;
    if (insns[at + 1]! >> 4 === PSEUDO_MAP_FD) {
      const table = tables.get(view.getInt32(at + 4, true));
      if (table === undefined) throw new CompileError(`${fnName} uses a table that the program does not define`);
      relocations.push({ insn: at / 8, table });
      view.setInt32(at + 4, 0, true);
    }
    at += 8;
  }
  return relocations;
}

function assemble(job: CompileJob, headers: KernelHeaders, made: CompilerResult, warnings: string): CompiledProgram {
  const btf = made.btf.length > 0 ? new Btf(made.btf) : undefined;
  const names = new Map<number, string>();
  for (const { fd, name } of made.tables) if (!names.has(fd)) names.set(fd, name);
  return {
    functions: made.functions.map(
      (fn): CompiledFunction => ({ ...fn, relocations: relocate(fn.insns, names, fn.name) }),
    ),
    tables: made.tables
      .filter(({ fd, name }) => names.get(fd) === name)
      .map(
        ({ fd: _, innerFd, pinned, extern, exported, ...table }): CompiledTable => ({
          ...table,
          ...btfTypesOf(btf, table.name),
          ...(extern && { extern }),
          ...(exported && { exported }),
          ...(names.has(innerFd) && { innerMap: names.get(innerFd) }),
          ...(pinned !== '' && { pinned }),
        }),
      ),
    license: made.license,
    kernVersion: made.kernVersion,
    btf: made.btf,
    events: made.text === 0 ? eventsOf(btf, job.eventTables) : [],
    lostTables: job.lostTables,
    origin: {
      text: job.request.text,
      cflags: job.request.cflags,
      libbcc: made.libbcc,
      kernelRelease: headers.release,
      btf: headers.btf(),
      headers: headers.describe(),
      arch: os.arch(),
    },
    warnings,
  };
}

/** BCC describes each table by a struct of its key and value. */
function btfTypesOf(btf: Btf | undefined, table: string): { btfKeyTypeId: number; btfValueTypeId: number } {
  const id = btf?.find(`____btf_map_${table}`, 'struct') ?? 0;
  const types = { btfKeyTypeId: 0, btfValueTypeId: 0 };
  if (id === 0) return types;
  for (const { name, type } of btf!.members(id)) {
    if (name === 'key') types.btfKeyTypeId = type;
    if (name === 'value') types.btfValueTypeId = type;
  }
  return types;
}

function eventsOf(btf: Btf | undefined, tables: string[]): CompiledEvent[] {
  const events: CompiledEvent[] = [];
  for (const [index, table] of tables.entries()) {
    const id = btf?.find(`${EVENT_STRUCT_PREFIX}${index}`, 'struct') ?? 0;
    if (id === 0) continue;
    const btfTypeId = btf!.members(id).find(({ name }) => name === 'value')!.type;
    if (!events.some((event) => event.table === table && event.btfTypeId === btfTypeId))
      events.push({ table, btfTypeId });
  }
  return events;
}
