import { privilegeHint } from '../capabilities';
import { errnoText, LoadError } from '../errors';
import { type NativeProgramAttributes, runtime } from '../native';
import type { CompiledFunction, CompiledProgram } from './compiled';
import { BPFFunction } from './function';
import { sourceLines } from './line-info';
import type { ProgramMaps } from './maps';
import { explainLoadFailure } from './verifier-log';

/** How a function is to be loaded, beyond its type. */
export interface LoadOptions {
  expectedAttachType?: number;
  attachBtfId?: number;
  attachBtfObjFd?: number;
  /** BPF_F_SLEEPABLE and its kin. */
  flags?: number;
  ifindex?: number;
  /** The verifier's log is written to stderr also where the load succeeds: 1 its steps, 2 with register states. */
  logLevel?: number;
}

const ENOSPC = 28;
const FIRST_LOG = 1 << 20;
const LARGEST_LOG = 1 << 26;

/** The instructions with the maps' descriptors put in. */
function relocated(fn: CompiledFunction, maps: ProgramMaps): Uint8Array {
  const insns = new Uint8Array(fn.insns);
  const view = new DataView(insns.buffer);
  for (const { insn, table } of fn.relocations) {
    const spec = maps.specs.get(table)!;
    view.setInt32(insn * 8 + 4, spec.fd.fd, true);
  }
  return insns;
}

/**
 * Loads one function of a compiled program.
 * @throws LoadError with the verifier's whole log where the kernel refuses it.
 */
export function loadFunction(
  program: CompiledProgram,
  maps: ProgramMaps,
  fn: CompiledFunction,
  type: number,
  options: LoadOptions = {},
): BPFFunction {
  const { logLevel = 0, ...details } = options;
  const attributes: NativeProgramAttributes = {
    type,
    name: fn.name.slice(0, 15),
    license: program.license,
    insns: relocated(fn, maps),
    kernVersion: program.kernVersion,
    ...details,
    logLevel,
    logSize: logLevel > 0 ? LARGEST_LOG : 0,
  };
  const described: NativeProgramAttributes = {
    ...attributes,
    ...(maps.btf &&
      fn.funcInfo.length > 0 && {
        btfFd: maps.btf.fd,
        funcInfo: fn.funcInfo,
        funcInfoRecSize: fn.funcInfoRecSize,
        lineInfo: fn.lineInfo,
        lineInfoRecSize: fn.lineInfoRecSize,
      }),
  };
  let result = runtime().loadProgram(described);
  if (logLevel > 0) process.stderr.write(result.log);
  if (result.fd) return new BPFFunction(fn.name, type, result.fd);

  // Refused: once more for the verifier's reasons. It may also be the debug information that an older kernel dislikes.
  const { errno } = result;
  for (let logSize = FIRST_LOG; ; logSize *= 8) {
    result = runtime().loadProgram({ ...described, logLevel: Math.max(logLevel, 1), logSize });
    if (result.fd) return new BPFFunction(fn.name, type, result.fd);
    if (result.errno !== ENOSPC || logSize >= LARGEST_LOG) break;
  }
  if (described.btfFd !== undefined && !/^processed \d+ insns/m.test(result.log)) {
    const bare = runtime().loadProgram(attributes);
    if (bare.fd) return new BPFFunction(fn.name, type, bare.fd);
  }
  const { text } = program.origin;
  const facts = { errno, log: result.log, fnName: fn.name, progType: type, text, lines: sourceLines(program, fn) };
  const { message, hint, code, excerpt } = explainLoadFailure(facts);
  throw new LoadError(`the kernel refused the function ${fn.name}: ${message} (${errnoText(errno)})${excerpt}`, {
    code,
    errno,
    hint: hint ?? privilegeHint(errno),
    log: result.log,
  });
}
