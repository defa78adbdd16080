import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { HeadersError } from '../errors';
import { headersGeneration } from './headers/generation';
import { defaultCacheDir, sha256 } from './headers/store';
import { btfTree } from './headers/tree';

/**
 * Where a program's kernel headers come from: 'auto' (the first that is there: `$BCC_KERNEL_SOURCE`, the installed
 * headers of the running kernel, kheaders, BTF), 'btf', 'kernel' (installed headers or kheaders, no BTF), or the path of
 * a kernel tree. The object form names modules whose types are wanted as well (BTF alone has them).
 */
export type HeadersOption =
  | 'auto'
  | 'btf'
  | 'kernel'
  | (string & {})
  | { mode?: 'auto' | 'btf' | 'kernel'; modules?: string[]; path?: string; trim?: boolean };

/** What was chosen for one program. */
export interface KernelHeaders {
  mode: 'env' | 'kernel' | 'kheaders' | 'btf' | 'path';
  /** The value for `BCC_KERNEL_SOURCE`; '' where libbcc finds the headers itself. */
  path: string;
  /** The kernel's release, as `uname -r` says it. */
  release: string;
  /** Changes when what the program would see may have changed. */
  identity: string;
  /** Flags to compile with. */
  cflags: string[];
  /** A hash of the kernel's BTF, '' where it cannot be had. */
  btf(): string;
  /** One line for people. */
  describe(): string;
}

/** Which kernel, and what besides the text is part of the program. */
export interface HeadersContext {
  /** The release of another kernel than the running one; `btfPath` must then be given, or its headers be installed. */
  release?: string;
  /** A BTF file of that kernel. Its modules' BTF files lie in the same folder. */
  btfPath?: string;
  /** A configuration file of that kernel; otherwise it is looked for by release. */
  configPath?: string;
  /** A folder with a copy of that kernel's `/sys/kernel/tracing/events`; its tracepoints are otherwise taken from its BTF. */
  tracefsPath?: string;
  /** LINUX_VERSION_CODE where the release does not tell it truly (Debian's 6.1.0-56 is 6.1.192). */
  versionCode?: number;
  /** The folder for generated trees, by default `$XDG_CACHE_HOME/tsbcc/headers`. */
  cacheDir?: string;
  arch?: 'x64' | 'arm64';
  /** The program's own flags: folders of its header files (`-I`), macros it defines (`-D`). */
  cflags?: readonly string[];
}

const RUNNING_BTF = '/sys/kernel/btf/vmlinux';

const BTF_FLAGS = ['-Werror=implicit-function-declaration', '-Wno-macro-redefined', '-Wno-duplicate-decl-specifier'];

/**
 * Chooses the headers and, where they are made from BTF, makes those that this program needs.
 *
 * `text` is all of the program's own C: its header text, its main text. A struct, enum, macro or function that it
 * declares wins over the kernel's of that name.
 *
 * @throws HeadersError where nothing serves; its code tells why: ERR_BCC_HEADERS (no source at all),
 * ERR_BCC_HEADERS_PATH, ERR_BCC_HEADERS_NO_BTF, ERR_BCC_HEADERS_BAD_BTF, ERR_BCC_HEADERS_MODULE, ERR_BCC_HEADERS_INCLUDE,
 * ERR_BCC_HEADERS_CACHE.
 */
export function resolveHeaders(
  option: HeadersOption | undefined,
  text: string,
  context: HeadersContext = {},
): KernelHeaders {
  const { mode, modules, tree, trim } = normalize(option);
  const release = context.release ?? os.release();
  const running = context.release === undefined || context.release === os.release();
  if (tree !== undefined) return fromPath('path', tree, release, 'headers');
  if (modules.length > 0 && mode === 'kernel') {
    throw new TypeError("headers: modules' types come from BTF; 'kernel' has none");
  }
  if (mode !== 'btf' && modules.length === 0) {
    const found = installed(mode, release, running, context.btfPath !== undefined);
    if (found) return found;
  }
  const btfPath = context.btfPath ?? (running ? RUNNING_BTF : undefined);
  if (mode !== 'kernel' && btfPath !== undefined && (mode === 'btf' || modules.length > 0 || fs.existsSync(btfPath))) {
    return fromBtf();
  }
  throw nothing(mode, release, running);

  function fromBtf(): KernelHeaders {
    const made = btfTree({
      text,
      release,
      running: running && context.btfPath === undefined,
      btfPath: btfPath!,
      modules,
      arch: context.arch ?? architecture(),
      cacheDir: context.cacheDir ?? defaultCacheDir(),
      cflags: context.cflags ?? [],
      versionCode: context.versionCode,
      configPath: context.configPath,
      everything: !trim,
    });
    const how =
      made.made === 'cached' ? 'from the cache' : made.made === 'kernel' ? 'made now' : 'made now for this program';
    return {
      mode: 'btf',
      path: made.path,
      release,
      identity: made.identity,
      cflags: [...BTF_FLAGS],
      btf: () => made.btf,
      describe: () =>
        `headers of ${release} from BTF (${btfPath}${modules.map((name) => `, ${name}`).join('')}), ${how}: ${made.path}; configuration from ${made.config}`,
    };
  }
}

/** A hash of a kernel's BTF, by default the running one's; '' where it cannot be read. */
export function btfHash(file = RUNNING_BTF): string {
  try {
    return sha256(fs.readFileSync(file));
  } catch {
    return '';
  }
}

/**
 * Changes when {@link resolveHeaders} would choose or make others, found without making any: what a cache of compiled
 * programs goes by, in a millisecond instead of twenty. The program's own header files are not in it.
 */
export function headersIdentity(option: HeadersOption | undefined, context: HeadersContext = {}): string {
  const { mode, modules, tree } = normalize(option);
  const release = context.release ?? os.release();
  const running = context.release === undefined || context.release === os.release();
  if (tree !== undefined) return fromPath('path', tree, release, 'headers').identity;
  if (mode !== 'btf' && modules.length === 0) {
    const found = installed(mode, release, running, context.btfPath !== undefined);
    if (found) return found.identity;
  }
  const { btfPath, configPath } = context;
  // A running kernel's notes hold its build id, and every build has another.
  const kernel = btfPath === undefined ? readNotes() : fileStamp(btfPath);
  const moduleStamps = modules.map((name) => fileStamp(path.join('/sys/module', name, 'notes', '.note.gnu.build-id')));
  const config = configPath === undefined ? '' : fileStamp(configPath);
  const made = sha256(headersGeneration(), JSON.stringify([option, context]), kernel, config, ...moduleStamps);
  return `btf:${release}:${made}`;
}

function readNotes(): string {
  try {
    return fs.readFileSync('/sys/kernel/notes', 'latin1') + os.version();
  } catch {
    return os.version();
  }
}

function fileStamp(file: string): string {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  return stat ? `${stat.ino}:${stat.size}:${stat.mtimeMs}` : '-';
}

function normalize(option: HeadersOption | undefined): {
  mode: 'auto' | 'btf' | 'kernel';
  modules: string[];
  tree: string | undefined;
  trim: boolean;
} {
  if (option === undefined) return { mode: 'auto', modules: [], tree: undefined, trim: true };
  if (typeof option === 'string') {
    if (option === '') throw new TypeError("headers: '' is neither 'auto', 'btf', 'kernel' nor a path");
    const isMode = option === 'auto' || option === 'btf' || option === 'kernel';
    return isMode
      ? { mode: option as 'auto' | 'btf' | 'kernel', modules: [], tree: undefined, trim: true }
      : { mode: 'auto', modules: [], tree: option, trim: true };
  }
  if (typeof option !== 'object' || option === null) {
    throw new TypeError(`headers: expected 'auto', 'btf', 'kernel', a path or an object, not ${typeof option}`);
  }
  const { mode = 'auto', modules = [], path: tree, trim = true } = option;
  if (!['auto', 'btf', 'kernel'].includes(mode)) {
    throw new TypeError(`headers.mode: expected 'auto', 'btf' or 'kernel', not ${JSON.stringify(mode)}`);
  }
  if (!Array.isArray(modules) || modules.some((name) => typeof name !== 'string')) {
    throw new TypeError('headers.modules: expected an array of module names');
  }
  if (tree !== undefined && (typeof tree !== 'string' || tree === '')) {
    throw new TypeError('headers.path: expected the path of a kernel tree');
  }
  return { mode, modules, tree, trim };
}

function architecture(): 'x64' | 'arm64' {
  if (process.arch === 'x64' || process.arch === 'arm64') return process.arch;
  throw new HeadersError(`headers are made from BTF for x64 and arm64, not for ${process.arch}`, {
    hint: "install the kernel's headers",
  });
}

const PROBE = path.join('include', 'linux', 'kconfig.h');

function fromPath(mode: 'env' | 'path', tree: string, release: string, named: string): KernelHeaders {
  const resolved = path.resolve(tree);
  if (!fs.existsSync(path.join(resolved, PROBE))) {
    throw new HeadersError(`${named} names ${tree}, which is no kernel tree: it has no ${PROBE}`, {
      code: 'ERR_BCC_HEADERS_PATH',
      hint:
        mode === 'env' ? 'unset BCC_KERNEL_SOURCE to let headers be found' : "headers: 'auto' lets headers be found",
    });
  }
  return plain(mode, resolved, release, resolved);
}

function plain(mode: KernelHeaders['mode'], tree: string, release: string, where: string): KernelHeaders {
  const identity = `${mode}:${release}:${sha256(where, treeStamp(where)).slice(0, 16)}`;
  const origin = {
    env: '$BCC_KERNEL_SOURCE',
    kernel: 'the installed package',
    kheaders: 'kheaders',
    btf: 'BTF',
    path: 'the given path',
  };
  return {
    mode,
    path: tree,
    release,
    identity,
    cflags: [],
    btf: () => (release === os.release() ? btfHash() : ''),
    describe: () => `headers of ${release} from ${origin[mode]}: ${where}`,
  };
}

/** What changes when a tree is replaced: the sizes and times of files that every kernel build writes anew. */
function treeStamp(tree: string): string {
  const files = ['include/generated/autoconf.h', 'include/generated/uapi/linux/version.h', 'Makefile', '.'];
  return files
    .flatMap((file) => [path.join(tree, file), path.join(tree, 'build', file)])
    .map(fileStamp)
    .join();
}

/** `$BCC_KERNEL_SOURCE`, the release's own headers, kheaders; undefined where none of them is there. */
function installed(
  mode: 'auto' | 'kernel',
  release: string,
  running: boolean,
  otherBtf: boolean,
): KernelHeaders | undefined {
  const env = process.env.BCC_KERNEL_SOURCE;
  if (env && !otherBtf) return fromPath('env', env, release, 'BCC_KERNEL_SOURCE');
  const base = path.join('/lib/modules', release);
  const isTree = (name: string) => fs.existsSync(path.join(base, name, PROBE));
  const split = fs.existsSync(path.join(base, 'build')) && fs.existsSync(path.join(base, 'source'));
  if (running && (split ? isTree('source') : isTree('build'))) return plain('kernel', '', release, base);
  if (!running && !split && isTree('build')) return plain('kernel', path.join(base, 'build'), release, base);
  if (!running) return undefined;
  const unpacked = path.join(kheadersFolder(), `kheaders-${release}`);
  if (trusted(unpacked)) {
    if (fs.existsSync('/sys/kernel/kheaders.tar.xz')) return plain('kheaders', '', release, unpacked);
    if (mode === 'kernel' && hasKheadersModule(base)) return plain('kheaders', '', release, unpacked);
  }
  return undefined;
}

/**
 * The folder in which libbcc unpacks kheaders. It has a shell do that, `tar -xf … -C $TMPDIR/…`: a TMPDIR which a shell
 * would read as more than a path is passed over.
 */
export function kheadersFolder(): string {
  const folder = process.env.TMPDIR;
  return folder !== undefined && /^\/[\w./+:@-]*$/.test(folder) ? folder : '/tmp';
}

/** libbcc unpacks kheaders at a name that anybody can guess: what lies there must be nobody else's. */
function trusted(unpacked: string): boolean {
  const stat = fs.lstatSync(unpacked, { throwIfNoEntry: false });
  if (!stat) return true;
  return stat.isDirectory() && (stat.uid === 0 || stat.uid === process.geteuid?.()) && (stat.mode & 0o022) === 0;
}

function hasKheadersModule(base: string): boolean {
  const folder = path.join(base, 'kernel', 'kernel');
  return fs.existsSync(folder) && fs.readdirSync(folder).some((name) => name.startsWith('kheaders.ko'));
}

function nothing(mode: 'auto' | 'btf' | 'kernel', release: string, running: boolean): HeadersError {
  const debian = `linux-headers-${release}`;
  const install = `install the headers of ${release} (Debian, Ubuntu: apt-get install ${debian}; Fedora: dnf install kernel-devel-${release})`;
  if (mode === 'kernel') {
    return new HeadersError(`no installed headers for the kernel ${release}, and no kheaders`, {
      hint: `${install}, or use headers: 'auto', which can do with BTF`,
    });
  }
  return new HeadersError(
    `no kernel headers for ${release}: none in /lib/modules/${release}, no kheaders, and no types (BTF) in /sys/kernel/btf/vmlinux`,
    {
      hint: running
        ? `${install}, or set BCC_KERNEL_SOURCE to a kernel tree`
        : `give btfPath, the BTF file of ${release}, or set BCC_KERNEL_SOURCE to its tree`,
    },
  );
}
