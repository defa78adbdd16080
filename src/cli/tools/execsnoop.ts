import { type Command, integer, seconds } from '../command';
import { parentOf, requireSyscallTracepoints } from './processes';
import { DURATION, left, macros, print, right, TIMESTAMP, timeOfDay, userId, withProgram } from './support';

/** Bytes of each argument, its terminator counted. */
const ARGUMENT_SIZE = 128;

const TEXT = `
struct exec {
    u64 ns;
    u32 pid;
    u32 ppid;
    u32 uid;
    int ret;
    u32 size;
    u32 truncated;
    char comm[16];
    u8 args[(OPT_MAX_ARGS + 1) * OPT_ARGUMENT_SIZE];
};
BPF_RINGBUF_OUTPUT(events, 64);
BPF_TABLE("lru_hash", u32, u32, parents, 16384);
BPF_HASH(running, u64, struct exec, 1024);
BPF_ARRAY(blank, struct exec, 1);

TRACEPOINT_PROBE(sched, sched_process_fork) {
    u32 child = args->child_pid;
    u32 parent = bpf_get_current_pid_tgid() >> 32;
    parents.update(&child, &parent);
    return 0;
}

static __always_inline int entered(const char *file, const char *const *argv) {
#ifdef OPT_FILTER_UID
    if ((u32)bpf_get_current_uid_gid() != OPT_FILTER_UID)
        return 0;
#endif
    u64 id = bpf_get_current_pid_tgid();
    u32 pid = id >> 32;
    u32 *parent = parents.lookup(&pid);
#ifdef OPT_FILTER_PPID
    if (parent && *parent != OPT_FILTER_PPID)
        return 0;
#endif
    int zero = 0;
    struct exec *empty = blank.lookup(&zero);
    if (!empty)
        return 0;
    running.update(&id, empty);
    struct exec *exec = running.lookup(&id);
    if (!exec)
        return 0;
    exec->pid = pid;
    exec->ppid = parent ? *parent : 0;
    exec->uid = bpf_get_current_uid_gid();
    int length = bpf_probe_read_user_str(exec->args, OPT_ARGUMENT_SIZE, file);
    if (length < 0 || length > OPT_ARGUMENT_SIZE)
        return 0;
    exec->size = length;
#pragma unroll
    for (int i = 1; i < OPT_MAX_ARGS; i++) {
        const char *argument = 0;
        bpf_probe_read_user(&argument, sizeof(argument), &argv[i]);
        if (!argument)
            return 0;
        u32 size = exec->size;
        if (size > (OPT_MAX_ARGS)*OPT_ARGUMENT_SIZE)
            return 0;
        length = bpf_probe_read_user_str(&exec->args[size], OPT_ARGUMENT_SIZE, argument);
        if (length < 0 || length > OPT_ARGUMENT_SIZE)
            return 0;
        exec->size = size + length;
    }
    const char *more = 0;
    bpf_probe_read_user(&more, sizeof(more), &argv[OPT_MAX_ARGS]);
    exec->truncated = more != 0;
    return 0;
}

static __always_inline int finished(int ret) {
    u64 id = bpf_get_current_pid_tgid();
    struct exec *exec = running.lookup(&id);
    if (!exec)
        return 0;
    if (ret == 0 || OPT_SHOW_FAILED) {
        exec->ns = bpf_ktime_get_ns();
        exec->ret = ret;
        bpf_get_current_comm(&exec->comm, sizeof(exec->comm));
        events.ringbuf_output(exec, sizeof(*exec), 0);
    }
    running.delete(&id);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_execve) {
    return entered((const char *)args->filename, (const char *const *)args->argv);
}
TRACEPOINT_PROBE(syscalls, sys_exit_execve) {
    return finished(args->ret);
}
TRACEPOINT_PROBE(syscalls, sys_enter_execveat) {
    return entered((const char *)args->filename, (const char *const *)args->argv);
}
TRACEPOINT_PROBE(syscalls, sys_exit_execveat) {
    return finished(args->ret);
}
`;

interface Exec {
  ns: number;
  pid: number;
  ppid: number;
  uid: number;
  ret: number;
  size: number;
  truncated: number;
  comm: string;
  args: Uint8Array;
}

/** The program's path and its arguments but the first, its own name, which says nothing more. */
function argumentsOf({ args, size }: Exec): string[] {
  return Buffer.from(args.buffer, args.byteOffset, size).toString().split('\0').slice(0, -1);
}

function quoted(argument: string): string {
  return `"${argument.replaceAll('"', '\\"')}"`;
}

export const command: Command = {
  usage: '[options]',
  about: 'Prints every program that is started: who started it, with which arguments, and whether that went well.',
  options: {
    time: TIMESTAMP,
    timestamp: { type: 'boolean', short: 't', help: 'Show the seconds since the beginning' },
    fails: { type: 'boolean', short: 'x', help: 'Failed attempts too' },
    uid: { type: 'string', short: 'u', value: 'USER', help: 'Only this user, by name or number' },
    ppid: { type: 'string', short: 'P', value: 'PPID', help: 'Only children of this process' },
    name: { type: 'string', short: 'n', value: 'NAME', help: 'Only commands whose name has this (regular expression)' },
    line: {
      type: 'string',
      short: 'l',
      value: 'LINE',
      help: 'Only those with this among the arguments (regular expression)',
    },
    quote: { type: 'boolean', short: 'q', help: 'Put quotes around each argument' },
    'print-uid': { type: 'boolean', short: 'U', help: 'Show the user' },
    'max-args': { type: 'string', value: 'N', help: 'Show up to so many arguments (20)' },
    duration: DURATION,
  },
  examples: [
    ['', 'until Ctrl-C'],
    ['-xT', 'with failures and times'],
    ['-u www-data -n php', "one user's programs by name"],
  ],
  async run(values) {
    const maxArgs = Math.min(60, integer(values, 'max-args', 1) ?? 20);
    const ppid = integer(values, 'ppid', 1);
    const name = typeof values.name === 'string' ? new RegExp(values.name) : undefined;
    const line = typeof values.line === 'string' ? new RegExp(values.line) : undefined;
    const uid = typeof values.uid === 'string' ? userId(values.uid) : undefined;
    requireSyscallTracepoints('execsnoop');
    const cflags = macros({
      MAX_ARGS: maxArgs,
      ARGUMENT_SIZE,
      FILTER_UID: uid,
      FILTER_PPID: ppid,
      SHOW_FAILED: values.fails === true ? 1 : 0,
    });
    await withProgram({ text: TEXT, cflags, int64: 'number' }, seconds(values, 'duration'), async (b, signal) => {
      const events = b.table('events').events<Exec>({ signal });
      const began = Number(process.hrtime.bigint());
      const times = (text: string, seconds: string) =>
        (values.time === true ? left(text, 9) : '') + (values.timestamp === true ? left(seconds, 8) : '');
      const user = (text: unknown) => (values['print-uid'] === true ? left(text, 6) : '');
      print(
        `${times('TIME', 'TIME(s)')}${user('UID')}${left('PCOMM', 16)} ${left('PID', 7)} ${left('PPID', 7)} ${right('RET', 3)} ARGS`,
      );
      for await (const event of events) {
        const parent = event.ppid || parentOf(event.pid);
        if (ppid !== undefined && parent !== ppid) continue;
        if (name && !name.test(event.comm)) continue;
        const text = argumentsOf(event)
          .map((one) => (values.quote === true ? quoted(one) : one))
          .join(' ');
        if (line && !line.test(text)) continue;
        const clock = times(timeOfDay(), ((event.ns - began) / 1e9).toFixed(3));
        print(
          `${clock}${user(event.uid)}${left(event.comm, 16)} ${left(event.pid, 7)} ${left(parent, 7)} ${right(event.ret, 3)} ${text}${event.truncated ? ' ...' : ''}`,
        );
      }
    });
    return 0;
  },
};
