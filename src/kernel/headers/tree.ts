import * as fs from 'node:fs';
import * as path from 'node:path';
import { didYouMean, HeadersError } from '../../errors';
import { Btf } from '../../layout/btf';
import { verifyBtf } from '../../layout/btf-verify';
import { runtime } from '../../native';
import { linuxVersionCode, parseKernelVersion, versionCode } from '../version';
import { configPaths, type KernelConfig, parseConfig, proveConfig, readConfig } from './config';
import { includeFolders, macroText } from './flags';
import { headersGeneration } from './generation';
import { isKnownHeader, knownHeaders, leadsTo, OWN_HEADERS } from './known';
import { type Declared, declarations, includes, stripComments, words } from './scan';
import { Catalogue, select } from './select';
import { privateFolder, prune, readFolder, sha256, touch, writeFolder } from './store';
import { readUnits, splitBtfDump, splitOwnHeader, type Unit } from './units';

/*
 * A kernel source tree, as libbcc wants one, made from BTF. There are two layers in the cache:
 *   <release>-<hash>/kernel/     the kernel's types as C, its configuration (once per kernel build)
 *   <release>-<hash>/programs/   a tree per program text with the types it uses; libbcc is pointed at one of these
 * A program's tree is some hundred definitions in include/linux/kconfig.h, which libbcc includes first, and an empty
 * file for every header that the program, or BCC's own text, includes.
 */

/** Trees beyond these numbers are removed, those used longest ago first. */
const KEPT_KERNELS = 8;
const KEPT_PROGRAMS = 128;

/** Headers that BCC's own virtual headers include. */
const BCC_INCLUDES = [
  'asm/page.h',
  'linux/bpf.h',
  'linux/bpf_common.h',
  'linux/log2.h',
  'linux/ptrace.h',
  'linux/types.h',
  'linux/version.h',
  'uapi/linux/bpf.h',
  'uapi/linux/bpf_perf_event.h',
  'uapi/linux/if_ether.h',
  'uapi/linux/if_packet.h',
  'uapi/linux/ptrace.h',
];

/** Words of BCC's own text (helpers.h and what its rewriter writes): the program cannot take these names for itself. */
const BCC_WORDS = new Set(
  (
    'u8 u16 u32 u64 s8 s16 s32 s64 __u8 __u16 __u32 __u64 __s8 __s16 __s32 __s64 bool true false size_t ssize_t pid_t ' +
    'uid_t gid_t dev_t sector_t umode_t loff_t __be16 __be32 __be64 __le16 __le32 __le64 __sum16 __wsum uint8_t uint16_t ' +
    'uint32_t uint64_t uintptr_t int8_t int16_t int32_t int64_t NULL PAGE_SIZE roundup_pow_of_two bpf_stack_build_id pt_regs ' +
    'bpf_raw_tracepoint_args user_pt_regs trace_entry CONFIG_BPF_SYSCALL CONFIG_ARCH_HAS_SYSCALL_WRAPPER'
  ).split(' '),
);

/** Structs that BCC's own text points to: declared ahead, or each prototype would declare its own. */
const BCC_POINTERS = (
  '__sk_buff bpf_cgroup_storage_key bpf_context bpf_dynptr bpf_map bpf_perf_event_data bpf_pidns_info bpf_redir_neigh ' +
  'bpf_sock bpf_sock_ops bpf_sock_tuple bpf_spin_lock bpf_sysctl bpf_tcp_sock bpf_timer btf_ptr cgroup file inode iphdr ' +
  'ipv6hdr linux_binprm mptcp_sock path seq_file sk_buff socket task_struct tcp6_sock tcp_request_sock tcp_sock ' +
  'tcp_timewait_sock tcphdr udp6_sock unix_sock xdp_md'
).split(' ');

/** Types a program reaches by calling a helper, without naming them. */
const HELPER_TYPES: Record<string, string> = {
  bpf_get_current_task_btf: 'task_struct',
  bpf_task_pt_regs: 'pt_regs',
  bpf_sock_from_file: 'socket',
  bpf_sk_fullsock: 'bpf_sock',
  bpf_sk_lookup_tcp: 'bpf_sock',
  bpf_sk_lookup_udp: 'bpf_sock',
  bpf_skc_lookup_tcp: 'bpf_sock',
  bpf_get_listener_sock: 'bpf_sock',
  bpf_tcp_sock: 'bpf_tcp_sock',
  bpf_skc_to_tcp_sock: 'tcp_sock',
  bpf_skc_to_tcp6_sock: 'tcp6_sock',
  bpf_skc_to_udp6_sock: 'udp6_sock',
  bpf_skc_to_unix_sock: 'unix_sock',
  bpf_skc_to_tcp_timewait_sock: 'tcp_timewait_sock',
  bpf_skc_to_tcp_request_sock: 'tcp_request_sock',
};

/** Tags that `<bcc/proto.h>` defines. */
const PROTO_TAGS = 'ethernet_t dot1q_t arp_t ip_t icmp_t ip6_t ip6_opt_t icmp6_t udp_t tcp_t vxlan_t vxlan_gbp_t'.split(
  ' ',
);

export interface TreeRequest {
  text: string;
  release: string;
  running: boolean;
  btfPath: string;
  modules: readonly string[];
  arch: 'x64' | 'arm64';
  cacheDir: string;
  cflags: readonly string[];
  versionCode?: number;
  configPath?: string;
  /** Take every type, not only those that the program uses. */
  everything: boolean;
}

export interface Tree {
  path: string;
  identity: string;
  /** A hash of the kernel's BTF. */
  btf: string;
  /** How it came about: 'cached', or what had to be made. */
  made: 'cached' | 'program' | 'kernel';
  config: string;
}

interface Sources {
  key: string;
  btf: Buffer;
  btfHash: string;
  modules: [name: string, blob: Buffer][];
  config: { path: string; bytes: Buffer } | undefined;
  own: [file: string, text: string][];
}

/** The tree for one program on one kernel, from the cache or made now. */
export function btfTree(request: TreeRequest): Tree {
  const program = readProgram(request);
  const sources = readSources(request);
  const base = path.join(request.cacheDir, `${request.release}-${sources.key.slice(0, 16)}`);
  for (const dir of [request.cacheDir, base]) privateFolder(dir);
  touch(base);

  const key = sha256(
    sources.key,
    JSON.stringify([program.texts, program.stubs, program.formats]),
    String(request.everything),
  );
  const dir = path.join(base, 'programs', key.slice(0, 32));
  const tree = { path: dir, identity: `btf:${key}`, btf: sources.btfHash };
  const cached = readFolder(dir, key);
  if (cached) {
    touch(dir);
    return { ...tree, made: 'cached', config: cached.facts.config ?? '' };
  }

  const kernelDir = path.join(base, 'kernel');
  let kernel = readFolder(kernelDir, sources.key);
  const made = kernel ? 'program' : 'kernel';
  if (!kernel) {
    const { files, facts } = makeKernel(request, sources);
    prune(request.cacheDir, KEPT_KERNELS);
    writeFolder(kernelDir, sources.key, files, facts);
    kernel = { facts, read: (name) => files.get(name)! };
  }
  const text = makeProgram(request, program, sources, kernel);
  const files = new Map<string, string>([['include/linux/kconfig.h', text]]);
  for (const stub of program.stubs) files.set(`include/${stub}`, '');
  prune(path.dirname(dir), KEPT_PROGRAMS);
  const archFolder = request.arch === 'x64' ? 'arch/x86/include' : 'arch/arm64/include';
  writeFolder(dir, key, files, { config: kernel.facts.config ?? '' }, [archFolder]);
  return { ...tree, made, config: kernel.facts.config ?? '' };
}

function readSources(request: TreeRequest): Sources {
  const btf = readBtf(request.btfPath, 'the kernel');
  const folder = path.dirname(request.btfPath);
  const modules = request.modules.map((name): [string, Buffer] => {
    if (!/^[\w-]+$/.test(name)) {
      throw new HeadersError(`${JSON.stringify(name)} is no module's name`, { code: 'ERR_BCC_HEADERS_MODULE' });
    }
    return [name, readModuleBtf(folder, name.replace(/-/g, '_'))];
  });
  const paths = request.configPath ? [request.configPath] : configPaths(request.release, request.running);
  const config = readConfig(paths);
  if (!config && request.configPath) {
    throw new HeadersError(`the kernel configuration ${request.configPath} cannot be read`);
  }
  const own = ownFiles(request.arch).map((file): [string, string] => [
    file,
    fs.readFileSync(path.join(OWN_HEADERS, file), 'utf8'),
  ]);
  const btfHash = sha256(btf);
  const key = sha256(
    headersGeneration(),
    request.release,
    request.arch,
    String(kernelVersionCode(request)),
    btfHash,
    ...modules.flat(),
    config?.bytes ?? '',
    ...own.flat(),
  );
  return { key, btf, btfHash, modules, config, own };
}

/** Our own files that serve an architecture: `arch-<name>….h` are for one, the others for all. */
function ownFiles(arch: 'x64' | 'arm64'): string[] {
  return fs
    .readdirSync(OWN_HEADERS)
    .filter((file) => file.endsWith('.h') && (!file.startsWith('arch-') || file.startsWith(`arch-${arch}`)))
    .sort();
}

/** The bytes of a BTF file, whole. */
export function readBtf(file: string, what: string): Buffer {
  let blob: Buffer;
  try {
    blob = fs.readFileSync(file);
  } catch (error) {
    throw new HeadersError(`the types of ${what} (BTF) cannot be read from ${file}`, {
      code: 'ERR_BCC_HEADERS_NO_BTF',
      hint: 'a kernel built with CONFIG_DEBUG_INFO_BTF has them; otherwise install its headers',
      cause: error,
    });
  }
  checkBtf(blob, file);
  return blob;
}

function readModuleBtf(folder: string, name: string): Buffer {
  const file = path.join(folder, name);
  if (!fs.existsSync(file)) {
    const loaded = fs.existsSync(folder) ? fs.readdirSync(folder).filter((other) => other !== 'vmlinux') : [];
    throw new HeadersError(`the module ${name} has no types (BTF) in ${folder}`, {
      code: 'ERR_BCC_HEADERS_MODULE',
      hint: didYouMean(name, loaded) ?? `load it first: modprobe ${name} (it may also be built into the kernel)`,
    });
  }
  return readBtf(file, `the module ${name}`);
}

/** The header of a BTF blob must account for all of its bytes: a truncated one ends the process in some libbpf versions. */
export function checkBtf(blob: Buffer, file: string): void {
  let fault: string | undefined;
  if (blob.length < 24) fault = `is only ${blob.length} bytes long`;
  else if (blob.readUInt16LE(0) !== 0xeb9f) fault = 'does not begin with the mark of BTF';
  else {
    const start = blob.readUInt32LE(4);
    const end =
      start + Math.max(blob.readUInt32LE(8) + blob.readUInt32LE(12), blob.readUInt32LE(16) + blob.readUInt32LE(20));
    if (end > blob.length) fault = `is cut short: ${blob.length} bytes of ${end}`;
  }
  if (fault) {
    throw new HeadersError(`the BTF in ${file} ${fault}`, {
      code: 'ERR_BCC_HEADERS_BAD_BTF',
      hint: 'read it again from /sys/kernel/btf, or extract it again from the vmlinux file',
    });
  }
}

/** Dumps a blob through libbpf, which takes it as it comes: it is verified first. A refusal names the file. */
export function dumpBtf(blob: Buffer, file: string, base?: Buffer): string {
  try {
    verifyBtf(new Btf(blob, base && new Btf(base)));
    return runtime().btfDumpC(blob, base);
  } catch (error) {
    throw new HeadersError(`the BTF in ${file} cannot be turned into C: ${(error as Error).message}`, {
      code: 'ERR_BCC_HEADERS_BAD_BTF',
      hint: 'the blob is damaged, or newer than the installed libbpf understands',
      cause: error,
    });
  }
}

function makeKernel(
  request: TreeRequest,
  sources: Sources,
): { files: Map<string, string>; facts: Record<string, string> } {
  const units = splitBtfDump(dumpBtf(sources.btf, request.btfPath));
  const known = new Set(units.map(unitName));
  for (const [name, blob] of sources.modules) {
    const file = path.join(path.dirname(request.btfPath), name);
    for (const unit of splitBtfDump(dumpBtf(blob, file, sources.btf))) {
      if (known.has(unitName(unit))) continue;
      known.add(unitName(unit));
      units.push(unit);
    }
  }
  const config: KernelConfig = sources.config
    ? parseConfig(sources.config.path, sources.config.bytes)
    : proveConfig(units, request.running ? readText('/proc/kallsyms') : '', request.arch);
  const files = new Map([
    ['types.h', units.map((unit) => unit.text).join('\n\n') + '\n'],
    ['config.h', [...config.values].map(([name, value]) => `#define ${name} ${value}\n`).join('')],
  ]);
  return { files, facts: { config: config.source } };
}

/** What tells two units apart: a base type that a module's dump repeats is the same unit. */
function unitName(unit: Unit): string {
  return `${unit.kind} ${unit.tag !== '' ? unit.tag : unit.names.join(',') || unit.text}`;
}

interface Program {
  /** The program's text and that of every file of its own that it includes. */
  texts: string[];
  /** Kernel headers to stand in for. */
  stubs: string[];
  /** The formats of the tracepoints it names. */
  formats: string[];
}

/** Reads what the program's text leads to: files of its own, kernel headers, tracepoints' formats. */
function readProgram(request: TreeRequest): Program {
  const texts = [request.text];
  const stubs = new Set(BCC_INCLUDES);
  const read = new Set<string>();
  texts.push(macroText(request.cflags));
  const dirs = [process.cwd(), ...includeFolders(request.cflags)];
  for (let i = 0; i < texts.length; i++) {
    for (const { name, angled, conditional } of includes(texts[i]!)) {
      if (name.startsWith('bcc/') || name === 'stdarg.h') continue;
      const escapes = name.split('/').includes('..');
      if (escapes && angled) throw unknownHeader(name);
      const own = dirs.map((dir) => path.resolve(dir, name)).find(isFile);
      if (own !== undefined) {
        if (read.has(own)) continue;
        read.add(own);
        texts.push(fs.readFileSync(own, 'utf8'));
      } else if (name === 'vmlinux.h' || (isKnownHeader(name) && !escapes)) {
        stubs.add(name);
      } else if (!conditional) {
        throw unknownHeader(name);
      }
    }
  }
  return { texts, stubs: [...stubs].sort(), formats: request.running ? tracepointFormats(texts.join('\n')) : [] };
}

function isFile(file: string): boolean {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

function unknownHeader(name: string): HeadersError {
  const escapes = name.split('/').includes('..');
  return new HeadersError(
    escapes
      ? `#include <${name}> leaves the kernel's headers ('..')`
      : `#include <${name}>: no kernel that tsbcc knows has this header, and no folder of the program's has it`,
    {
      code: 'ERR_BCC_HEADERS_INCLUDE',
      hint: escapes ? 'name the header from its root, as in <linux/sched.h>' : unknownHeaderHint(name),
    },
  );
}

function unknownHeaderHint(name: string): string {
  if (name.startsWith('bpf/')) {
    return "libbpf's headers have no place in a program for BCC, which has the helpers without any: leave the line out";
  }
  const near =
    didYouMean(name, nearby(name)) ?? 'check its name, and that the folder of a header of your own is there.';
  return `${near} A header of an installed kernel needs headers: 'kernel'; one of another tree needs headers: '<its path>'; a user-space header (<stdio.h>, <sys/...>) has no place in BPF C`;
}

/** Known headers of the same folder, and those of the same name elsewhere. */
function* nearby(name: string): Generator<string> {
  const folder = path.posix.dirname(name);
  const file = path.posix.basename(name);
  for (const other of knownHeaders()) {
    if (path.posix.dirname(other) === folder || path.posix.basename(other) === file) yield other;
  }
}

/** libbcc writes a struct for each tracepoint that is named, from its format: the types of its fields must be there. */
export function tracepointFormats(text: string): string[] {
  const names = new Set<string>();
  for (const match of text.matchAll(/\bTRACEPOINT_PROBE\s*\(\s*(\w+)\s*,\s*(\w+)\s*\)/g))
    names.add(`${match[1]}/${match[2]}`);
  for (const match of text.matchAll(/\btracepoint__(\w+?)__(\w+)/g)) names.add(`${match[1]}/${match[2]}`);
  return [...names].sort().flatMap((name) => {
    const format = ['/sys/kernel/debug/tracing', '/sys/kernel/tracing']
      .map((root) => readText(`${root}/events/${name}/format`))
      .find((content) => content !== '');
    return format ? [format.slice(0, format.indexOf('print fmt:'))] : [];
  });
}

function makeProgram(
  request: TreeRequest,
  program: Program,
  sources: Sources,
  kernel: { read(name: string): string },
): string {
  const types = readUnits(kernel.read('types.h'));
  const own: Unit[] = [];
  for (const [file, text] of sources.own) own.push(...splitOwnHeader(text, file, types.length + own.length));
  const config = splitOwnHeader(kernel.read('config.h'), 'config.h');

  const declared: Declared = { tags: new Set(), ordinary: new Set(), macros: new Set() };
  const used = new Set<string>();
  for (const text of program.texts) {
    const its = declarations(text);
    for (const tag of its.tags) declared.tags.add(tag);
    for (const name of its.ordinary) declared.ordinary.add(name);
    for (const name of its.macros) declared.macros.add(name);
    if (includes(text).some(({ name }) => name === 'bcc/proto.h')) for (const tag of PROTO_TAGS) declared.tags.add(tag);
    const code = stripComments(text).replace(/^\s*#\s*include\b.*$/gm, '');
    words(code, used);
    for (const match of code.matchAll(/\bBPF_ITER\s*\(\s*(\w+)\s*\)/g)) used.add(`bpf_iter__${match[1]}`);
  }
  for (const format of program.formats) words(format, used);
  // IS_ENABLED pastes this name together
  for (const word of [...used]) if (word.startsWith('CONFIG_')) used.add(`${word}_MODULE`);
  for (const [helper, type] of Object.entries(HELPER_TYPES)) if (used.has(helper)) used.add(type);

  const base = new Set(BCC_WORDS);
  for (const unit of types) {
    if (unit.kind === 'enum' && unit.names.some((name) => name.startsWith('BPF_')))
      for (const name of unit.names) base.add(name);
  }
  const pasted = program.texts.some((text) => stripComments(text).includes('##'));
  for (const unit of own) if (unit.names[0]?.startsWith('BPF_FUNC_')) base.add(unit.names[0]);
  const text = select(new Catalogue(types, own, config), {
    words: used,
    declared,
    base,
    open: (gate) => program.stubs.some((stub) => leadsTo(stub, gate)),
    everything: request.everything || pasted,
  });
  const pointers = BCC_POINTERS.map((tag) => `struct ${tag};\n`).join('');
  const aside = macrosInTheWay(request.cflags, text);
  const begin = aside.map((name) => `#pragma push_macro("${name}")\n#undef ${name}\n`).join('');
  const end = aside.map((name) => `#pragma pop_macro("${name}")\n`).join('');
  return `${prelude(request)}${pointers}${begin}${text}${end}#endif\n`;
}

/**
 * Macros of the flags that bear names of types, members or enumerators: in a kernel's own headers a program meets those
 * of the files that it includes, and here any (LENGTH is a constant of the inflater).
 */
function macrosInTheWay(cflags: readonly string[], text: string): string[] {
  const macros = [...declarations(macroText(cflags)).macros];
  if (macros.length === 0) return macros;
  const found = words(stripComments(text.replace(/^[ \t]*#(?:.*\\\n)*.*$/gm, '')));
  return macros.filter((name) => found.has(name));
}

function kernelVersionCode(request: TreeRequest): number {
  if (request.versionCode !== undefined) return request.versionCode;
  if (request.running) return linuxVersionCode();
  const version = parseKernelVersion(request.release);
  return version ? versionCode(version) : 0;
}

function readText(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** What comes before every type: the version, and the guards that keep BCC's own copy of bpf.h out: BTF has the kernel's. */
function prelude(request: TreeRequest): string {
  const version = kernelVersionCode(request);
  return `#ifndef TSBCC_KERNEL_H
#define TSBCC_KERNEL_H
#define _UAPI__LINUX_BPF_H__
#define _UAPI__LINUX_BPF_COMMON_H__
#define LINUX_VERSION_CODE ${version}
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#define LINUX_VERSION_MAJOR ${version >> 16}
#define LINUX_VERSION_PATCHLEVEL ${(version >> 8) & 255}
#define LINUX_VERSION_SUBLEVEL ${version & 255}
#define UTS_RELEASE "${request.release.replace(/["\\]/g, '')}"
`;
}
