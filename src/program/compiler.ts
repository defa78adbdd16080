import type { ChildProcess } from 'node:child_process';
import * as path from 'node:path';
import { CompileError } from '../errors';
import { NATIVE_FOLDER } from '../package';
import type { ExportedTable } from './compiled';
import { decodeResult, encodeRequest } from './wire';

/*
 * The compiler is a program of its own (native/compiler), started once for each program that is compiled: LLVM's memory
 * ends with it, and so does whatever LLVM does to a process.
 */

export interface CompilerRequest {
  debug: number;
  allowRlimit: boolean;
  /** Whether the kernel that is compiled for has bpf_probe_read_kernel and its kin; 'ask': the running one is asked. */
  helpers: 'ask' | 'present' | 'absent';
  device: string | undefined;
  cflags: string[];
  /** The tables of other programs that "extern" may name. */
  exported: readonly ExportedTable[];
  /** Compiled in turn until one succeeds: the annotated text first, then the user's own, for true messages. */
  texts: string[];
}

export interface CompilerResult {
  /** Which of the texts compiled. */
  text: number;
  libbcc: string;
  license: string;
  kernVersion: number;
  functions: {
    name: string;
    insns: Uint8Array;
    funcInfo: Uint8Array;
    funcInfoRecSize: number;
    lineInfo: Uint8Array;
    lineInfoRecSize: number;
  }[];
  tables: {
    name: string;
    /** The map's number in the compiler, as the instructions have it. */
    fd: number;
    /** It is another program's, one of {@link CompilerRequest.exported}. */
    extern: boolean;
    /** Other programs may use it as "extern". */
    exported: boolean;
    /** The fd of the template of a map of maps, -1 for none. */
    innerFd: number;
    /** Where the map is to be pinned, '' for nowhere. */
    pinned: string;
    type: number;
    keySize: number;
    leafSize: number;
    maxEntries: number;
    flags: number;
    keyDesc: string;
    leafDesc: string;
    /** The name-and-type texts of the event struct sent through this table, where libbcc knows one. */
    eventFields: string[];
  }[];
  /** The program's BTF, empty where the kernel or the compiler has none. */
  btf: Uint8Array;
}

/** How a compiler ended. */
export interface CompilerOutcome {
  /** Its exit status; null where a signal ended it. */
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  /** What it said of the last text that it tried. */
  messages: string;
  /** What it made; undefined where it made nothing. */
  result: CompilerResult | undefined;
}

/** Stands on stderr between the messages of one text and the next. */
const NEXT_TEXT = '\x1etsbcc: next text\n';
const RESULT_FD = 3;

/** The compiler's file. */
export function compilerFile(): string {
  return process.env.TSBCC_COMPILER ?? path.join(NATIVE_FOLDER, 'compiler');
}

// Needed only where something is compiled, and costs as much as the rest of a start from the cache.
const childProcess = () => require('node:child_process') as typeof import('node:child_process');

/** Compiles while the caller waits. */
export function runCompilerSync(request: CompilerRequest, env: NodeJS.ProcessEnv): CompilerOutcome {
  const child = childProcess().spawnSync(compilerFile(), {
    input: encodeRequest(request),
    env,
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    maxBuffer: Number.POSITIVE_INFINITY,
  });
  // A compiler that dies before it has read all: its end says more than the broken pipe.
  if (child.error && child.pid === 0) throw cannotStart(child.error);
  return outcome(
    { code: child.status, signal: child.signal },
    child.stdout.toString(),
    child.stderr.toString(),
    child.output[RESULT_FD] as unknown as Uint8Array,
  );
}

/** The same with the event loop free; an aborted signal ends the compiler. */
export async function runCompiler(
  request: CompilerRequest,
  env: NodeJS.ProcessEnv,
  signal?: AbortSignal,
): Promise<CompilerOutcome> {
  const child: ChildProcess = childProcess().spawn(compilerFile(), [], {
    env,
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    ...(signal && { signal, killSignal: 'SIGKILL' as const }),
  });
  const exit = new Promise<Pick<CompilerOutcome, 'code' | 'signal'>>((resolve, reject) => {
    child.once('error', (error) => reject(error.name === 'AbortError' ? error : cannotStart(error)));
    child.once('close', (code, killed) => resolve({ code, signal: killed }));
  });
  child.stdin!.on('error', () => {});
  child.stdin!.end(encodeRequest(request));
  const outputs = [child.stdout!, child.stderr!, child.stdio[RESULT_FD] as NodeJS.ReadableStream].map(collect);
  const [end, ...[stdout, stderr, result]] = await Promise.all([exit, ...outputs]);
  return outcome(end, stdout!.toString(), stderr!.toString(), result!);
}

async function collect(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function outcome(
  end: Pick<CompilerOutcome, 'code' | 'signal'>,
  stdout: string,
  stderr: string,
  result: Uint8Array,
): CompilerOutcome {
  const mark = stderr.lastIndexOf(NEXT_TEXT);
  return {
    ...end,
    stdout,
    messages: mark < 0 ? stderr : stderr.slice(mark + NEXT_TEXT.length),
    result: end.code === 0 && result.length > 0 ? readResult(result) : undefined,
  };
}

function readResult(bytes: Uint8Array): CompilerResult {
  try {
    return decodeResult(bytes);
  } catch (cause) {
    throw new CompileError(`what the compiler made cannot be read: ${(cause as Error).message}`, {
      code: 'ERR_BCC_COMPILER_PROCESS',
      cause,
      hint: 'the compiler was not built together with this library: run "npm rebuild tsbcc"',
    });
  }
}

function cannotStart(cause: NodeJS.ErrnoException): CompileError {
  const missing = cause.code === 'ENOENT';
  return new CompileError(`the compiler's process did not start: ${cause.message}`, {
    code: 'ERR_BCC_COMPILER_PROCESS',
    cause,
    hint: missing
      ? 'run "npm run build" in the package (dependencies\' install scripts may need approval: npm approve-scripts tsbcc)'
      : 'a process and its memory are needed once for each program that is not in the cache',
  });
}
