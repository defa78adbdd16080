import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import * as os from 'node:os';
import * as path from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { deserialize } from 'node:v8';
import { CompileError } from '../errors';
import { type HeadersContext, type HeadersOption, type KernelHeaders, resolveHeaders } from '../kernel/headers';
import { Btf } from '../layout/btf';
import { type ChildRequest, type ChildResult, NEXT_TEXT } from './compile-child';
import type { CompiledEvent, CompiledFunction, CompiledProgram, CompiledTable, MapRelocation } from './compiled';
import { describeWarnings, explainCompileFailure } from './diagnostics';
import { exportedTable } from './maps';
import {
  annotateEvents,
  EVENT_STRUCT_PREFIX,
  findTableTraits,
  lostTableDefinition,
  resolveExternTables,
  tableMacroType,
} from './source';

export interface CompileRequest {
  /** The program's C text. */
  text: string;
  /** What must stand before it: the argument readers of USDT probes. */
  prelude: string;
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
  /** The program's text with other programs' tables resolved. */
  source: string;
  /** What stands before it. */
  prelude: string;
  /** The text with its prelude and annotations, and without the latter. */
  texts: string[];
  eventTables: string[];
  lostTables: string[];
}

export function prepareCompile(request: CompileRequest): CompileJob {
  const source = resolveExternTables(request.text, (table) => {
    const exported = exportedTable(table);
    return exported && tableMacroType(exported.type);
  });
  const { text, eventTables, lostTables } = annotateEvents(source, request.countLost);
  let { prelude } = request;
  if (lostTables.length > 0) prelude += `${lostTableDefinition(lostTables.length)}\n`;
  if (prelude !== '' && !prelude.endsWith('\n')) prelude += '\n';
  const texts = [prelude + text];
  // Counting lost events is asked for: a program that does not compile with it must not run without.
  if (eventTables.length > 0 && lostTables.length === 0) texts.push(prelude + source);
  return { request, source, prelude, texts, eventTables, lostTables };
}

function findHeaders({ request, source, prelude }: CompileJob, option = request.headers): KernelHeaders {
  return resolveHeaders(option, prelude + source, { ...request.kernel, cflags: request.cflags });
}

/** A function that exists nowhere would otherwise be a warning here and a refusal without a name at load. */
const STRICT_FLAGS = ['-Werror=implicit-function-declaration'];

/** Built from this file's neighbour; under a test runner that reads the sources, from the build beside them. */
const CHILD = path.join(__dirname, '..', '..', 'lib', 'program', 'compile-child.js');

function childInput(job: CompileJob, headers: KernelHeaders): string {
  const request: ChildRequest = {
    texts: job.texts,
    // The compiler works in the headers' folder: the program's own includes are looked for where it was started.
    cflags: [...STRICT_FLAGS, ...job.request.cflags, ...headers.cflags, `-I${process.cwd()}`],
    debug: job.request.debug,
    allowRlimit: job.request.allowRlimit,
    device: job.request.device ?? null,
  };
  return JSON.stringify(request);
}

function childEnvironment(headers: KernelHeaders): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = { ...process.env, BCC_KERNEL_SOURCE: headers.path };
  if (headers.path === '') delete environment.BCC_KERNEL_SOURCE;
  // What the caller's Node was told (inspectors, loaders) is not meant for this process.
  delete environment.NODE_OPTIONS;
  return environment;
}

interface ChildOutcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  result: Uint8Array;
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
  const child = spawnSync(process.execPath, [CHILD], {
    input: childInput(job, headers),
    env: childEnvironment(headers),
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    maxBuffer: Number.POSITIVE_INFINITY,
  });
  if (child.error) throw cannotStart(child.error);
  return finish(job, headers, {
    code: child.status,
    signal: child.signal,
    stdout: child.stdout.toString(),
    stderr: child.stderr.toString(),
    result: child.output[3] as unknown as Uint8Array,
  });
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
  const child: ChildProcess = spawn(process.execPath, [CHILD], {
    env: childEnvironment(headers),
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    ...(signal && { signal, killSignal: 'SIGKILL' as const }),
  });
  const exit = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once('error', (error) => reject(error.name === 'AbortError' ? error : cannotStart(error)));
    child.once('close', (code, killed) => resolve({ code, signal: killed }));
  });
  // A compiler that dies before it has read all: its end says more than the broken pipe.
  child.stdin!.on('error', () => {});
  child.stdin!.end(childInput(job, headers));
  const chunks: Buffer[] = [];
  (child.stdio[3] as NodeJS.ReadableStream).on('data', (chunk: Buffer) => chunks.push(chunk));
  const [stdout, stderr, end] = await Promise.all([readAll(child.stdout!), readAll(child.stderr!), exit]);
  return finish(job, headers, { ...end, stdout, stderr, result: Buffer.concat(chunks) });
}

function cannotStart(cause: Error): CompileError {
  return new CompileError(`the compiler's process did not start: ${cause.message}`, {
    code: 'ERR_BCC_COMPILER_PROCESS',
    cause,
    hint: 'a process and its memory are needed once for each program that is not in the cache',
  });
}

function finish(job: CompileJob, headers: KernelHeaders, outcome: ChildOutcome): CompiledProgram {
  const messages = outcome.stderr.slice(outcome.stderr.lastIndexOf(NEXT_TEXT) + 1).replace(NEXT_TEXT.slice(1), '');
  if (job.request.debug !== 0) {
    process.stdout.write(outcome.stdout);
    process.stderr.write(messages);
  }
  const program = { text: job.request.text, linesBefore: job.prelude.split('\n').length - 1, headers: headers.mode };
  if (outcome.code === 0 && outcome.result.length > 0) {
    const result = deserialize(outcome.result) as ChildResult;
    return assemble(job, headers, result, describeWarnings(messages, program));
  }
  const exit = { code: outcome.code, signal: outcome.signal };
  const { message, hint, code, diagnostics } = explainCompileFailure(messages, exit, program);
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

function assemble(job: CompileJob, headers: KernelHeaders, child: ChildResult, warnings: string): CompiledProgram {
  const btf = child.btf.length > 0 ? new Btf(child.btf) : undefined;
  const traits = findTableTraits(job.request.text);
  const names = new Map<number, string>();
  for (const { fd, name } of child.tables) if (!names.has(fd)) names.set(fd, name);
  return {
    functions: child.functions.map(
      (fn): CompiledFunction => ({ ...fn, relocations: relocate(fn.insns, names, fn.name) }),
    ),
    tables: child.tables
      .filter(({ fd, name }) => names.get(fd) === name)
      .map(
        ({ fd: _, ...table }): CompiledTable => ({
          ...table,
          ...btfTypesOf(btf, table.name),
          ...traits.get(table.name),
        }),
      ),
    license: child.license,
    kernVersion: child.kernVersion,
    btf: child.btf,
    events: child.text === 0 ? eventsOf(btf, job.eventTables) : [],
    lostTables: job.lostTables,
    origin: {
      text: job.request.text,
      cflags: job.request.cflags,
      libbcc: child.libbcc,
      kernelRelease: headers.release,
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
