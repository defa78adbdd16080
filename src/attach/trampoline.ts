import { BPFAttachType, BPFProgType } from '../constants';
import { AttachError, didYouMean } from '../errors';
import { kernelBtf, kernelBtfBlob, moduleBtf, modulesWithBtf } from '../kernel/btf';
import type { Btf } from '../layout/btf';
import { type NativeFd, runtime } from '../native';
import { attachFailure, EBUSY, EINVAL, ENOENT, ENOTSUPP, EPERM } from './failure';
import { type AttachableProgram, OwnedLink } from './link';

/*
 * Programs that are bound to their hook when they are loaded: kfunc and kretfunc (fentry and fexit, Linux 5.5),
 * kmod_ret (fmod_ret, 5.7), LSM (5.7), iterators (5.8). The hook is a BTF id, found here by the function's name.
 *
 * Codes of errors:
 * ERR_BCC_NO_BTF                    the kernel tells no BTF
 * ERR_BCC_ATTACH_UNKNOWN_FUNCTION   BTF has no such function, LSM hook or iterator
 * ERR_BCC_ATTACH_TRAMPOLINE         the kernel refuses this function, or all of them
 */

export type TrampolineKind = 'kfunc' | 'kretfunc' | 'kmod_ret' | 'lsm' | 'bpf_iter';

/** What a program of such a kind must be loaded with. */
export interface TrampolineTarget {
  kind: TrampolineKind;
  /** The kernel function, hook or iterator, without any prefix. */
  name: string;
  progType: number;
  expectedAttachType: number;
  attachBtfId: number;
  /** The module's BTF: open until the program is loaded. Absent for the kernel's own functions. */
  attachBtfObj?: NativeFd;
}

interface Kind {
  progType: number;
  expectedAttachType: number;
  /** What BTF puts before the name. */
  btfPrefix: string;
  /** As the error says it. */
  noun: string;
}

const { TRACING, LSM } = BPFProgType;
const KINDS: Readonly<Record<TrampolineKind, Kind>> = {
  kfunc: { progType: TRACING, expectedAttachType: BPFAttachType.TRACE_FENTRY, btfPrefix: '', noun: 'function' },
  kretfunc: { progType: TRACING, expectedAttachType: BPFAttachType.TRACE_FEXIT, btfPrefix: '', noun: 'function' },
  kmod_ret: { progType: TRACING, expectedAttachType: BPFAttachType.MODIFY_RETURN, btfPrefix: '', noun: 'function' },
  lsm: { progType: LSM, expectedAttachType: BPFAttachType.LSM_MAC, btfPrefix: 'bpf_lsm_', noun: 'LSM hook' },
  bpf_iter: {
    progType: TRACING,
    expectedAttachType: BPFAttachType.TRACE_ITER,
    btfPrefix: 'bpf_iter_',
    noun: 'iterator',
  },
};

const BTF_KIND_FUNC = 12;

/** The kind that a function's name tells (`kfunc__vfs_read`), or undefined. */
export function trampolineKind(fnName: string): TrampolineKind | undefined {
  return (Object.keys(KINDS) as TrampolineKind[]).find((kind) => fnName.startsWith(`${kind}__`));
}

/**
 * Where a program goes. `fnName` is the BPF function's name, or the kernel function's: `kfunc__vfs_read`, `vfs_read`,
 * with a module before it `kfunc__ext4__ext4_file_open` or `ext4:ext4_file_open` (`vmlinux` is the kernel itself).
 */
export function trampolineTarget(fnName: string, kind: TrampolineKind): TrampolineTarget {
  const { progType, expectedAttachType, btfPrefix, noun } = KINDS[kind];
  const [moduleName, name] = splitModule(fnName, kind);
  if (moduleName !== undefined) {
    const btf = moduleBtf(moduleName);
    if (!btf) throw unknownModule(moduleName);
    const attachBtfId = btf.findOwn(btfPrefix + name, 'func');
    if (attachBtfId === 0) {
      throw unknownTarget(
        `the module ${moduleName} has no ${noun} ${name}`,
        didYouMean(name, functionsOf(btf, btfPrefix)),
      );
    }
    return { kind, name, progType, expectedAttachType, attachBtfId, attachBtfObj: openModuleBtf(moduleName) };
  }
  const attachBtfId = runtime().btfFind(kernelBtfBlob() ?? kernelBtfMissing(), btfPrefix + name, BTF_KIND_FUNC);
  if (attachBtfId === 0) throw unknownTarget(`this kernel has no ${noun} ${name}`, nearName(name, btfPrefix));
  return { kind, name, progType, expectedAttachType, attachBtfId };
}

/** Attaches a program that was loaded for its target; `target` names it for people. */
export function attachTrampoline(program: AttachableProgram, kind: TrampolineKind, target: string): OwnedLink {
  const { progType } = KINDS[kind];
  try {
    const fd = runtime().rawTracepointOpen(null, program.fd);
    return new OwnedLink(kind, target, program.name, () => fd.close());
  } catch (error) {
    const what = `cannot attach ${program.name} to ${kind} ${target}`;
    const code = 'ERR_BCC_ATTACH_TRAMPOLINE';
    const refused = { code, hint: 'ftrace must be able to hook the function: see available_filter_functions' };
    throw attachFailure(
      what,
      error,
      {
        [EPERM]: {
          code,
          hint: 'this kernel forbids such programs (lockdown, or CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS)',
        },
        [ENOENT]: refused,
        [EINVAL]: refused,
        [EBUSY]: { code, hint: 'another tracer holds the function, or 38 programs are on it already' },
        [ENOTSUPP]: { code, hint: 'this kernel has no BPF trampolines on this architecture: use a kprobe' },
      },
      { program, types: [progType] },
    );
  }
}

/** The target as a person names it: `vfs_read`, `ext4:ext4_file_open`. */
export function trampolineName(fnName: string, kind: TrampolineKind): string {
  const [moduleName, name] = splitModule(fnName, kind);
  return moduleName === undefined ? name : `${moduleName}:${name}`;
}

/** `['ext4', 'ext4_file_open']`; the kernel's own functions have no module. */
function splitModule(fnName: string, kind: TrampolineKind): [module: string | undefined, name: string] {
  const plain = fnName.startsWith(`${kind}__`) ? fnName.slice(kind.length + 2) : fnName;
  const written = /^(\w+):(\w+)$/.exec(plain) ?? /^([A-Za-z]\w*?)__(\w+)$/.exec(plain);
  if (!written) return [undefined, plain];
  const [, moduleName, name] = written;
  if (moduleName === 'vmlinux') return [undefined, name!];
  // Many functions have two underscores in their names: only a module that is loaded makes the first part a module.
  return plain.includes(':') || moduleBtf(moduleName!) ? [moduleName, name!] : [undefined, plain];
}

function openModuleBtf(name: string): NativeFd {
  const native = runtime();
  for (const id of native.ids('btf')) {
    const fd = native.fdById('btf', id);
    const info = native.btfInfo(fd.fd);
    if (info.kernel && info.name === name) return fd;
    fd.close();
  }
  throw unknownModule(name);
}

function kernelBtfMissing(): never {
  kernelBtf();
  throw new Error('unreachable: kernelBtf() throws where there is no BTF');
}

function unknownModule(name: string): AttachError {
  return unknownTarget(
    `there is no BTF of a module ${name}`,
    didYouMean(name, modulesWithBtf()) ?? 'load the module; it has BTF from Linux 5.11 on, if it was built with it',
  );
}

function unknownTarget(message: string, hint: string | undefined): AttachError {
  return new AttachError(message, {
    code: 'ERR_BCC_ATTACH_UNKNOWN_FUNCTION',
    errno: ENOENT,
    hint: hint ?? 'functions without BTF cannot be hooked this way: use a kprobe',
  });
}

/** The same name in a module, or near ones in the kernel. */
function nearName(name: string, prefix: string): string | undefined {
  const owner = modulesWithBtf().find((module) => moduleBtf(module)?.findOwn(prefix + name, 'func'));
  if (owner) return `it is in a module: give ${owner}:${name}, or MODULE_KFUNC_PROBE(${owner}, ${name}, …)`;
  return didYouMean(name, functionsOf(kernelBtf(), prefix));
}

function* functionsOf(btf: Btf, prefix: string): IterableIterator<string> {
  for (const type of btf.ownTypes()) {
    if (type.kind === 'func' && type.name.startsWith(prefix)) yield type.name.slice(prefix.length);
  }
}
