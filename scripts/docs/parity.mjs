/*
 * docs/parity.md: every public name of BCC's Python module, its name here, and the test that shows its effect. Generated,
 * and held to the code by test/unit/parity.test.ts: a name that is not exported, a test that does not exist and a page
 * that is out of date all fail it.
 *
 *   node scripts/docs/parity.mjs         writes the page
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const page = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..', 'docs', 'parity.md');

const facade = 'kernel/facade.test.ts';
const bcc = 'kernel/bcc.test.ts';
const hash = 'kernel/table-hash.test.ts';
const array = 'kernel/table-array.test.ts';
const kinds = 'kernel/table-kinds.test.ts';
const macros = 'kernel/table-macros.test.ts';
const storage = 'kernel/table-storage.test.ts';
const ring = 'kernel/ring-events.test.ts';
const perf = 'kernel/perf-events.test.ts';
const usdt = 'kernel/usdt.test.ts';
const uprobes = 'kernel/uprobe-bcc.test.ts';
const symbols = 'kernel/symbols.test.ts';
const trace = 'kernel/trace-pipe.test.ts';
const tracepoints = 'kernel/tracepoint.test.ts';
const constants = 'kernel/constants.test.ts';

/** [Python's name, where it is found here ('Class.method', 'Class#method' of instances, or an export), test file, test] */
export const sections = {
  BPF: [
    ['BPF(text, src_file, …)', 'BCC', bcc, 'tells how it came about'],
    [
      'BPF(…, debug, cflags, …)',
      'BCC',
      'kernel/compiling.test.ts',
      'serves a program again, and not one with other flags',
    ],
    ['close, cleanup, with', 'BCC#close', bcc, 'leaves nothing in the kernel when it is closed'],
    ['cleanup', 'BCC#cleanup', bcc, 'leaves nothing in the kernel when it is closed'],
    ['b[name]', 'BCC#table', bcc, 'counts in a table that reads as a Map'],
    ['get_table', 'BCC#getTable', macros, "types of one's own take the place of C's"],
    ['decode_table', 'BCC#decodeTable', facade, 'shows its functions as instructions and as text'],
    ['load_func', 'BCC#loadFunc', facade, 'shows its functions as instructions and as text'],
    ['load_funcs', 'BCC#loadFuncs', bcc, 'loads every function at once'],
    ['dump_func', 'BCC#dumpFunc', facade, 'shows its functions as instructions and as text'],
    ['disassemble_func', 'BCC#disassembleFunc', facade, 'shows its functions as instructions and as text'],
    ['attach_kprobe', 'BCC#attachKprobe', facade, 'and kretprobes by name, each found again by every name it has'],
    ['attach_kprobe(event_re=)', 'BCC#attachKprobe', facade, 'by a pattern, through one link where the kernel can'],
    [
      'attach_kretprobe',
      'BCC#attachKretprobe',
      facade,
      'and kretprobes by name, each found again by every name it has',
    ],
    ['detach_kprobe', 'BCC#detachKprobe', facade, 'and kretprobes by name, each found again by every name it has'],
    [
      'detach_kretprobe',
      'BCC#detachKretprobe',
      facade,
      'and kretprobes by name, each found again by every name it has',
    ],
    ['detach_kprobe_event', 'BCC#detachKprobeEvent', facade, 'by a pattern, through one link where the kernel can'],
    ['detach_kprobe_event_by_fn', 'BCC#detachKprobeEventByFn', facade, 'and kretprobes by name, each found again'],
    ['get_kprobe_functions', 'BCC.getKprobeFunctions', 'kernel/kprobe.test.ts', 'find the functions of a pattern'],
    ['get_probe_limit', 'BCC.getProbeLimit', 'kernel/kprobe.test.ts', 'are limited by BCC_PROBE_LIMIT'],
    ['get_syscall_prefix', 'BCC#getSyscallPrefix', facade, 'system calls are found by their kernel functions'],
    [
      'get_syscall_fnname',
      'BCC#getSyscallFnname',
      facade,
      'and kretprobes by name, each found again by every name it has',
    ],
    ['fix_syscall_fnname', 'BCC#fixSyscallFnname', facade, 'system calls are found by their kernel functions'],
    ['attach_uprobe', 'BCC#attachUprobe', uprobes, 'read arguments and return values'],
    [
      'attach_uprobe(sym_re=)',
      'BCC#attachUprobe',
      uprobes,
      'attach to all functions that fit a pattern, and leave one',
    ],
    ['attach_uretprobe', 'BCC#attachUretprobe', uprobes, 'read arguments and return values'],
    ['detach_uprobe', 'BCC#detachUprobe', uprobes, 'attach to all functions that fit a pattern, and leave one'],
    ['detach_uretprobe', 'BCC#detachUretprobe', uprobes, 'read arguments and return values'],
    ['detach_uprobe_event', 'BCC#detachUprobeEvent', uprobes, 'put two functions on one place and detach by the name'],
    ['find_library', 'BCC.findLibrary', 'kernel/uprobe.test.ts', 'find libraries and executables'],
    ['find_exe', 'BCC.findExe', 'kernel/uprobe.test.ts', 'find libraries and executables'],
    ['get_user_functions', 'BCC.getUserFunctions', 'kernel/uprobe.test.ts', 'list functions and addresses'],
    ['get_user_addresses', 'BCC.getUserAddresses', 'kernel/uprobe.test.ts', 'list functions and addresses'],
    [
      'get_user_functions_and_addresses',
      'BCC.getUserFunctionsAndAddresses',
      'kernel/uprobe.test.ts',
      'take an address of the file, and an offset behind a symbol',
    ],
    ['attach_tracepoint', 'BCC#attachTracepoint', facade, 'tracepoints by name and by pattern'],
    ['detach_tracepoint', 'BCC#detachTracepoint', facade, 'tracepoints by name and by pattern'],
    ['get_tracepoints', 'BCC.getTracepoints', tracepoints, 'are listed by a pattern that fits from the start'],
    ['tracepoint_exists', 'BCC.tracepointExists', tracepoints, 'are listed by a pattern that fits from the start'],
    ['attach_raw_tracepoint', 'BCC#attachRawTracepoint', facade, 'raw tracepoints'],
    ['detach_raw_tracepoint', 'BCC#detachRawTracepoint', facade, 'raw tracepoints'],
    ['attach_kfunc', 'BCC#attachKfunc', facade, 'attach by their names, and detach'],
    ['attach_kretfunc', 'BCC#attachKretfunc', facade, 'attach by their names, and detach'],
    ['attach_fmod_ret', 'BCC#attachFmodRet', 'kernel/trampoline.test.ts', 'with a verdict decide the result: kmod_ret'],
    ['attach_lsm', 'BCC#attachLsm', facade, 'LSM hooks'],
    ['detach_kfunc', 'BCC#detachKfunc', facade, 'attach by their names, and detach'],
    ['detach_kretfunc', 'BCC#detachKretfunc', facade, 'attach by their names, and detach'],
    ['detach_fmod_ret', 'BCC#detachFmodRet', 'kernel/trampoline.test.ts', 'with a verdict decide the result: kmod_ret'],
    ['detach_lsm', 'BCC#detachLsm', facade, 'LSM hooks'],
    ['support_kfunc', 'BCC.supportKfunc', 'kernel/features.test.ts', 'agree with what other means find'],
    ['support_lsm', 'BCC.supportLsm', 'kernel/features.test.ts', 'agree with what other means find'],
    ['support_fmod_ret', 'BCC.supportFmodRet', 'kernel/features.test.ts', 'agree with what other means find'],
    [
      'support_raw_tracepoint',
      'BCC.supportRawTracepoint',
      'kernel/features.test.ts',
      'agree with what other means find',
    ],
    [
      'support_raw_tracepoint_in_module',
      'BCC.supportRawTracepointInModule',
      'kernel/features.test.ts',
      'agree with what',
    ],
    [
      'kernel_struct_has_field',
      'BCC.kernelStructHasField',
      'kernel/features.test.ts',
      'have fields, those of anonymous',
    ],
    ['kernel_enum_has_val', 'BCC.kernelEnumHasVal', 'kernel/features.test.ts', 'have values of enums'],
    ['attach_perf_event', 'BCC#attachPerfEvent', facade, 'perf events'],
    ['detach_perf_event', 'BCC#detachPerfEvent', facade, 'perf events'],
    ['attach_perf_event_raw', 'BCC#attachPerfEventRaw', 'kernel/perf-event.test.ts', 'take a structure of their own'],
    ['attach_raw_socket', 'BCC.attachRawSocket', facade, 'raw sockets, XDP and tc on an interface'],
    ['attach_xdp', 'BCC.attachXdp', facade, 'raw sockets, XDP and tc on an interface'],
    ['remove_xdp', 'BCC.removeXdp', facade, 'raw sockets, XDP and tc on an interface'],
    ['(pyroute2)', 'BCC#attachTc', facade, 'raw sockets, XDP and tc on an interface'],
    ['attach_func', 'BCC.attachFunc', facade, 'cgroup programs'],
    ['detach_func', 'BCC.detachFunc', facade, 'cgroup programs'],
    ['bcc_iter_attach, bcc_iter_create', 'BCC#attachIter', facade, 'an iterator is read in records'],
    ['trace_open', 'BCC#traceOpen', trace, 'gives its lines, at once or by waiting'],
    ['trace_readline', 'BCC#traceReadline', trace, 'gives its lines, at once or by waiting'],
    ['trace_fields', 'BCC#traceFields', trace, 'tells who wrote a line, and when'],
    ['trace_print', 'BCC#tracePrint', trace, 'is printed, whole or by its fields'],
    ['perf_buffer_poll', 'BCC#perfBufferPoll', bcc, 'sends typed structs through perf and ring buffers'],
    ['perf_buffer_consume', 'BCC#perfBufferConsume', perf, 'deliver events with their CPU, and losses in their place'],
    ['ring_buffer_poll', 'BCC#ringBufferPoll', bcc, 'sends typed structs through perf and ring buffers'],
    ['ring_buffer_consume', 'BCC#ringBufferConsume', bcc, 'tells two structs on one table apart by their size'],
    ['kprobe_poll', 'BCC#kprobePoll', bcc, 'polls perf buffers by its older name as well'],
    ['sym', 'BCC.sym', symbols, "are what BCC's Python makes of them"],
    ['ksym', 'BCC.ksym', symbols, 'have the names that /proc/kallsyms gives them'],
    ['ksymname', 'BCC.ksymname', symbols, 'are [unknown] where nothing is, and names -1n'],
    ['num_open_kprobes', 'BCC#numOpenKprobes', facade, 'and kretprobes by name, each found again by every name it has'],
    ['num_open_uprobes', 'BCC#numOpenUprobes', uprobes, 'attach to all functions that fit a pattern, and leave one'],
    ['num_open_tracepoints', 'BCC#numOpenTracepoints', facade, 'tracepoints by name and by pattern'],
    ['monotonic_time', 'BCC.monotonicTime', facade, "the clock is the kernel's own"],
    ['free_bcc_memory', 'BCC#freeBccMemory', bcc, 'frees what it has of the compiler, which is nothing'],
    ['add_module', 'BCC.addModule', symbols, 'are named without a process'],
    ['add_prefix', 'BCC.addPrefix', 'unit/probe-functions.test.ts', 'are not put before a name twice'],
    [
      'generate_auto_includes',
      'BCC.generateAutoIncludes',
      'unit/source.test.ts',
      'chooses includes by the words of a program',
    ],
    ['SymbolCache', 'SymbolCache', symbols, 'are found in libraries that are loaded later'],
    ['SymbolCache.resolve', 'SymbolCache#resolve', symbols, 'are found in libraries that are loaded later'],
    ['SymbolCache.resolve_name', 'SymbolCache#resolveName', symbols, "are what BCC's Python makes of them"],
    ['PerfType', 'PerfType', facade, 'perf events'],
    ['PerfHWConfig', 'PerfHWConfig', constants, 'PerfHWConfig'],
    ['PerfSWConfig', 'PerfSWConfig', facade, 'perf events'],
    [
      'PerfEventSampleFormat',
      'PerfEventSampleFormat',
      'kernel/perf-event.test.ts',
      'carry all that is asked for, in the order',
    ],
    ['BPFProgType', 'BPFProgType', constants, 'BPFProgType'],
    ['BPFAttachType', 'BPFAttachType', constants, 'BPFAttachType'],
    ['XDPAction', 'XDPAction', 'kernel/network.test.ts', 'runs the program for each frame in skb mode'],
    ['XDPFlags', 'XDPFlags', 'kernel/network.test.ts', 'does not take the place of another program where'],
    ['DEBUG_*', 'Debug', bcc, 'tells on stderr what debug flags ask for'],
    ['kprobe__… and the other prefixes', 'BCC', bcc, 'attaches functions by their names alone'],
  ],
  Tables: [
    ['t[key], in, del, len', 'HashTable#get', hash, 'what is set is got, had, counted and deleted'],
    ['t[key] = leaf', 'HashTable#set', hash, 'what is set is got, had, counted and deleted'],
    [
      'keys, values, items, iter',
      'HashTable#items',
      hash,
      'keys, values, entries, items, forEach and for..of tell the same',
    ],
    ['clear, zero, clearitem', 'HashTable#clearitem', hash, 'zero and clearitem zero leaves, clear deletes'],
    ['next', 'HashTable#next', hash, 'next('],
    ['get_fd', 'HashTable#getFd', macros, 'every table is there by name'],
    [
      'key_sprintf, leaf_sprintf, key_scanf, leaf_scanf',
      'HashTable#keySprintf',
      macros,
      'keys and leaves as BCC writes them in text',
    ],
    ['items_lookup_batch', 'HashTable#itemsLookupBatch', hash, 'write, read and delete many at once'],
    ['items_update_batch', 'HashTable#itemsUpdateBatch', hash, 'write, read and delete many at once'],
    ['items_delete_batch', 'HashTable#itemsDeleteBatch', hash, 'write, read and delete many at once'],
    [
      'items_lookup_and_delete_batch',
      'HashTable#itemsLookupAndDeleteBatch',
      'kernel/table-concurrency.test.ts',
      'taking all out while a program writes loses nothing',
    ],
    ['print_log2_hist', 'HashTable#printLog2Hist', 'unit/histogram.test.ts', 'log2'],
    ['print_linear_hist', 'HashTable#printLinearHist', 'unit/histogram.test.ts', 'linear'],
    [
      'print_json_hist',
      'HashTable#printJsonHist',
      'unit/histogram.test.ts',
      'the stored texts are what the installed BCC prints',
    ],
    ['per-CPU getvalue, sum, max, average, reducer', 'PerCpuHashTable#sum', array, 'has a leaf for every possible CPU'],
    [
      'PerfEventArray.open_perf_buffer',
      'PerfEventArrayTable#openPerfBuffer',
      perf,
      'deliver events with their CPU, and losses',
    ],
    ['PerfEventArray.event', 'PerfEventArrayTable#event', bcc, 'sends typed structs through perf and ring buffers'],
    [
      'PerfEventArray.open_perf_event',
      'PerfEventArrayTable#openPerfEvent',
      perf,
      'are there for the program while they are open',
    ],
    [
      'RingBuf.open_ring_buffer',
      'RingBufferTable#openRingBuffer',
      ring,
      'deliver every event in order, with its context and its size',
    ],
    ['RingBuf.event', 'RingBufferTable#event', bcc, 'tells two structs on one table apart by their size'],
    ['StackTrace.walk', 'StackTraceTable#walk', kinds, 'walks the kernel addresses that a program collected'],
    [
      'QueueStack.push, pop, peek, values',
      'QueueStackTable#push',
      kinds,
      'a queue gives back in order, a stack in reverse',
    ],
    ['HASH', 'HashTable', macros, 'BPF_HASH'],
    ['ARRAY', 'ArrayTable', array, 'shows what a program counted'],
    ['PROG_ARRAY', 'ProgArrayTable', macros, 'BPF_PROG_ARRAY by the name of a function'],
    ['PERF_EVENT_ARRAY', 'PerfEventArrayTable', perf, 'deliver events with their CPU, and losses in their place'],
    ['PERCPU_HASH', 'PerCpuHashTable', macros, 'per-CPU tables'],
    ['PERCPU_ARRAY', 'PerCpuArrayTable', macros, 'per-CPU tables'],
    ['STACK_TRACE', 'StackTraceTable', macros, 'BPF_STACK_TRACE and BPF_STACK_TRACE_BUILDID'],
    ['CGROUP_ARRAY', 'CgroupArrayTable', kinds, 'a program asks whether it runs under a cgroup'],
    ['LRU_HASH', 'LruHashTable', hash, 'an lru hash takes more keys than it holds'],
    ['LRU_PERCPU_HASH', 'LruPerCpuHashTable', macros, 'per-CPU tables'],
    ['LPM_TRIE', 'LpmTrieTable', kinds, 'finds the longest prefix that matches'],
    ['ARRAY_OF_MAPS', 'MapInMapArrayTable', macros, 'BPF_ARRAY_OF_MAPS and BPF_HASH_OF_MAPS'],
    ['HASH_OF_MAPS', 'MapInMapHashTable', macros, 'BPF_ARRAY_OF_MAPS and BPF_HASH_OF_MAPS'],
    ['DEVMAP', 'DevMapTable', macros, 'maps of devices, CPUs, sockets and cgroups exist as declared'],
    ['DEVMAP_HASH', 'DevMapHashTable', kinds, "'DEVMAP', 'DEVMAP_HASH'"],
    ['SOCKMAP', 'SockMapTable', kinds, 'SOCKMAP and SOCKHASH take sockets and tell their cookies'],
    ['SOCKHASH', 'SockHashTable', kinds, 'SOCKMAP and SOCKHASH take sockets and tell their cookies'],
    ['CPUMAP', 'CpuMapTable', kinds, 'CPUMAP takes the length of a queue'],
    ['XSKMAP', 'XskMapTable', kinds, 'XSKMAP refuses what is no AF_XDP socket'],
    ['CGROUP_STORAGE', 'CgroupStorageTable', kinds, 'keeps a leaf for every cgroup a program is attached to'],
    [
      'PERCPU_CGROUP_STORAGE',
      'PerCpuCgroupStorageTable',
      kinds,
      'keeps a leaf for every cgroup a program is attached to',
    ],
    [
      'REUSEPORT_SOCKARRAY',
      'ReuseportSockArrayTable',
      kinds,
      'REUSEPORT_SOCKARRAY refuses a socket that shares no port',
    ],
    ['QUEUE, STACK', 'QueueStackTable', macros, 'BPF_QUEUE and BPF_STACK'],
    ['SK_STORAGE', 'LocalStorageTable', kinds, 'SK_STORAGE keeps a leaf in a socket'],
    ['TASK_STORAGE', 'LocalStorageTable', storage, 'keeps a leaf in each task, read by a pidfd, by a pid'],
    ['INODE_STORAGE', 'LocalStorageTable', storage, 'keeps a leaf in each inode, read by a descriptor or a path'],
    ['STRUCT_OPS', 'Table', kinds, 'STRUCT_OPS is refused by name'],
    ['RINGBUF', 'RingBufferTable', ring, 'deliver every event in order, with its context and its size'],
    ['BPF_TABLE_PUBLIC, extern', 'BCC', bcc, 'are found by name where they are exported'],
    ['BPF_TABLE_PINNED', 'BCC', macros, 'BPF_TABLE_PINNED outlives its program, and the next one finds it'],
    ['pin! (RbBCC)', 'BCC.pin', 'kernel/table-pin.test.ts', 'a pinned table outlives the one who made it'],
    [
      'TableBase.from_pin (RbBCC)',
      'Table.fromPin',
      'kernel/table-pin.test.ts',
      'a pinned table outlives the one who made it',
    ],
  ],
  USDT: [
    ['USDT(pid, path)', 'USDT', usdt, 'of a process are those of all that it has mapped'],
    ['enable_probe', 'USDT#enableProbe', usdt, 'takes all places of a probe'],
    ['enable_probe_or_bail', 'USDT#enableProbeOrBail', usdt, 'probes that do not exist, naming near ones'],
    ['get_text', 'USDT#getText', 'kernel/usdt-arguments.test.ts', 'read arguments through the text of getText'],
    ['get_probe_arg_ctype', 'USDT#getProbeArgCtype', usdt, 'tell the C types that hold their arguments everywhere'],
    ['enumerate_probes', 'USDT#enumerateProbes', usdt, 'are listed with their places and arguments'],
    ['enumerate_active_probes', 'USDT#enumerateActiveProbes', usdt, 'takes all places of a probe'],
    ['USDTProbe.short_name', 'USDTProbe#shortName', usdt, 'are listed with their places and arguments'],
    ['USDTProbe.get_location', 'USDTProbe#getLocation', usdt, 'are listed with their places and arguments'],
    [
      'USDTProbeLocation.get_argument',
      'USDTProbeLocation#getArgument',
      usdt,
      'are listed with their places and arguments',
    ],
  ],
};

export function render() {
  const lines = [
    '<!-- Generated by scripts/docs/parity.mjs; edit the rows there. -->',
    '# Parity with BCC',
    '',
    "Every public name of BCC's Python module (and what RbBCC has besides), its name here, and the test that shows what it does.",
    'The rule is mechanical: snake_case becomes lowerCamelCase, keyword arguments become one options object.',
  ];
  for (const [title, rows] of Object.entries(sections)) {
    lines.push('', `## ${title}`, '', '| Python | here | test |', '|---|---|---|');
    for (const [python, name, file, test] of rows) {
      const here = name
        .replace(/^BCC#/, 'b.')
        .replace(/^(\w+)#/, (_, type) => `${type[0].toLowerCase()}${type.slice(1)}.`);
      lines.push(
        `| \`${python.replaceAll('|', '\\|')}\` | \`${here}\` | [${file}](../test/${file}): ${test.replaceAll('|', '\\|')} |`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(page, render());
