import { constants } from 'node:os';
import { requireText } from '../arguments';
import { BPFProgType } from '../constants';
import { BCCError, ClosedError, didYouMean } from '../errors';
import type { NativeFd } from '../native';
import { releaseAll } from '../release';
import type { CompiledFunction, CompiledProgram } from './compiled';
import type { BPFFunction } from './function';
import { type LoadOptions, loadFunction } from './load';
import { ProgramMaps } from './maps';

/** What a program that is bound to its hook when it is loaded (fentry, LSM, iterators) needs to be told then. */
export interface LoadTarget {
  expectedAttachType: number;
  attachBtfId: number;
  attachBtfObj?: NativeFd;
}

export interface ModuleOptions {
  /** The interface to offload to; 0 for none. */
  ifindex: number;
  /** The verifier's log level for every load: see `Debug.BPF`. */
  logLevel: number;
  /** Finds the target of such a program by its function's name; undefined where the name tells none. */
  targetOf(fnName: string): LoadTarget | undefined;
}

/** A compiled program at work: its maps in the kernel, and its functions as they are asked for. */
export class ProgramModule {
  readonly maps: ProgramMaps;
  readonly #functions = new Map<string, CompiledFunction>();
  readonly #loaded = new Map<string, BPFFunction>();
  #closed = false;

  constructor(
    readonly program: CompiledProgram,
    private readonly options: ModuleOptions,
  ) {
    for (const fn of program.functions) this.#functions.set(fn.name, fn);
    this.maps = new ProgramMaps(program, options.ifindex);
  }

  get closed(): boolean {
    return this.#closed;
  }

  get functionNames(): string[] {
    return [...this.#functions.keys()];
  }

  /** Every function loaded so far. */
  get loaded(): BPFFunction[] {
    return [...this.#loaded.values()];
  }

  /** @throws BCCError `ERR_BCC_UNKNOWN_FUNCTION`, naming the nearest ones. */
  compiled(name: string): CompiledFunction {
    requireText(name, 'the name of a function');
    const fn = this.#functions.get(name);
    if (fn) return fn;
    const names = this.functionNames;
    throw new BCCError('ERR_BCC_UNKNOWN_FUNCTION', `the program has no function ${JSON.stringify(name)}`, {
      errno: constants.errno.ENOENT,
      hint:
        didYouMean(name, names) ??
        (names.length > 0 ? `it has ${names.join(', ')}` : 'it has none: BPF functions are neither static nor inline'),
    });
  }

  /** A function loaded as `type`; loaded once for each type and attach type it is asked for. */
  load(name: string, type: number, options: LoadOptions = {}): BPFFunction {
    if (this.#closed) throw new ClosedError('the BCC object');
    const fn = this.compiled(name);
    const key = `${name} ${type} ${options.expectedAttachType ?? ''} ${options.attachBtfId ?? ''}`;
    const known = this.#loaded.get(key);
    if (known && known.fd >= 0) return known;
    const { logLevel, ifindex } = this.options;
    const bound = type === BPFProgType.TRACING || type === BPFProgType.LSM ? this.options.targetOf(name) : undefined;
    try {
      const loaded = loadFunction(this.program, this.maps, fn, type, {
        logLevel,
        ifindex,
        ...(bound && {
          expectedAttachType: bound.expectedAttachType,
          attachBtfId: bound.attachBtfId,
          ...(bound.attachBtfObj && { attachBtfObjFd: bound.attachBtfObj.fd }),
        }),
        ...options,
      });
      this.#loaded.set(key, loaded);
      return loaded;
    } finally {
      bound?.attachBtfObj?.close();
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const functions = [...this.#loaded.values()].reverse();
    releaseAll([...functions.map((fn) => () => fn.close()), () => this.maps.close()]);
  }
}
