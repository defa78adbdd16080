import { tracepointExists } from '../../attach/tracepoint';
import { type Command, integer, seconds, UsageError } from '../command';
import { requireSyscallTracepoints } from './processes';
import { DURATION, left, macros, PID, print, right, timeOfDay, userId, withProgram } from './support';

const TEXT = `
struct call {
    u64 path;
    u64 flags;
};
struct opened {
    u64 ns;
    u32 pid;
    u32 tid;
    u32 uid;
    int ret;
    u32 flags;
    char comm[16];
    char path[OPT_PATH_SIZE];
};
BPF_RINGBUF_OUTPUT(events, 64);
BPF_HASH(calls, u64, struct call);

static __always_inline int begin(const char *path, u64 flags) {
    u64 id = bpf_get_current_pid_tgid();
#ifdef OPT_FILTER_PID
    if (id >> 32 != OPT_FILTER_PID)
        return 0;
#endif
#ifdef OPT_FILTER_TID
    if ((u32)id != OPT_FILTER_TID)
        return 0;
#endif
#ifdef OPT_FILTER_UID
    if ((u32)bpf_get_current_uid_gid() != OPT_FILTER_UID)
        return 0;
#endif
#ifdef OPT_FILTER_FLAGS
    if (!(flags & OPT_FILTER_FLAGS))
        return 0;
#endif
    struct call call = {.path = (u64)path, .flags = flags};
    calls.update(&id, &call);
    return 0;
}

static __always_inline int end(long ret) {
    u64 id = bpf_get_current_pid_tgid();
    struct call *call = calls.lookup(&id);
    if (!call)
        return 0;
#ifdef OPT_FAILED_ONLY
    if (ret >= 0) {
        calls.delete(&id);
        return 0;
    }
#endif
    struct opened *opened = events.ringbuf_reserve(sizeof(*opened));
    if (opened) {
        opened->ns = bpf_ktime_get_ns();
        opened->pid = id >> 32;
        opened->tid = id;
        opened->uid = bpf_get_current_uid_gid();
        opened->ret = ret;
        opened->flags = call->flags;
        bpf_get_current_comm(opened->comm, sizeof(opened->comm));
        opened->path[0] = 0;
        bpf_probe_read_user_str(opened->path, sizeof(opened->path), (void *)call->path);
        events.ringbuf_submit(opened, 0);
    }
    calls.delete(&id);
    return 0;
}
`;

/** How each system call that opens files says which, and how. */
const SYSCALLS: Readonly<Record<string, string>> = {
  open: 'return begin((const char *)args->filename, args->flags);',
  openat: 'return begin((const char *)args->filename, args->flags);',
  openat2: `u64 flags = 0;
    bpf_probe_read_user(&flags, sizeof(flags), (void *)args->how);
    return begin((const char *)args->filename, flags);`,
};

function text(): string {
  const found = Object.entries(SYSCALLS).filter(([name]) => tracepointExists('syscalls', `sys_enter_${name}`));
  const probes = found.map(
    ([name, body]) => `
TRACEPOINT_PROBE(syscalls, sys_enter_${name}) {
    ${body}
}
TRACEPOINT_PROBE(syscalls, sys_exit_${name}) {
    return end(args->ret);
}
`,
  );
  return TEXT + probes.join('');
}

/** Values: include/uapi/asm-generic/fcntl.h, as x86 and arm64 have them unless noted. */
const OPEN_FLAGS: Readonly<Record<string, number>> = {
  O_WRONLY: 0o1,
  O_RDWR: 0o2,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_NOCTTY: 0o400,
  O_TRUNC: 0o1000,
  O_APPEND: 0o2000,
  O_NONBLOCK: 0o4000,
  O_DSYNC: 0o10000,
  O_CLOEXEC: 0o2000000,
  O_SYNC: 0o4000000,
  O_PATH: 0o10000000,
};

function flagMask(names: unknown): number | undefined {
  if (!Array.isArray(names) || names.length === 0) return undefined;
  return names.reduce<number>((mask, name) => {
    const bits = OPEN_FLAGS[String(name)];
    if (bits !== undefined) return mask | bits;
    throw new UsageError(`--flag-filter takes ${Object.keys(OPEN_FLAGS).join(', ')}, not ${JSON.stringify(name)}`);
  }, 0);
}

interface Opened {
  ns: number;
  pid: number;
  tid: number;
  uid: number;
  ret: number;
  flags: number;
  comm: string;
  path: string;
}

/** O_PATH and the like included; the access mode 0, O_RDONLY, has no bit. */
function flagText(flags: number): string {
  return (flags >>> 0).toString(8).padStart(8, '0');
}

export const command: Command = {
  usage: '[options]',
  about: 'Prints every file that is opened: by whom, with what result.',
  options: {
    timestamp: { type: 'boolean', short: 'T', help: 'Show the seconds since the first one' },
    time: { type: 'boolean', help: 'Show the time of day' },
    'print-uid': { type: 'boolean', short: 'U', help: 'Show the user' },
    failed: { type: 'boolean', short: 'x', help: 'Only what could not be opened' },
    pid: PID,
    tid: { type: 'string', short: 't', value: 'TID', help: 'Only this thread; its id is shown' },
    uid: { type: 'string', short: 'u', value: 'USER', help: 'Only this user, by name or number' },
    name: { type: 'string', short: 'n', value: 'NAME', help: 'Only commands whose name has this in it' },
    path: { type: 'string', value: 'TEXT', help: 'Only paths that have this in them' },
    extended: { type: 'boolean', short: 'e', help: 'Show the flags, octal' },
    'flag-filter': {
      type: 'string',
      short: 'f',
      multiple: true,
      value: 'FLAG',
      help: 'Only calls with this flag (O_WRONLY, O_CREAT, …)',
    },
    duration: DURATION,
  },
  examples: [
    ['', 'until Ctrl-C'],
    ['-x', 'what programs look for in vain'],
    ['-p 181 -f O_WRONLY -f O_RDWR', 'files that a process opens for writing'],
  ],
  async run(values) {
    const name = values.name as string | undefined;
    const path = values.path as string | undefined;
    const tid = integer(values, 'tid', 1);
    const cflags = macros({
      PATH_SIZE: 256,
      FILTER_PID: integer(values, 'pid', 1),
      FILTER_TID: tid,
      FILTER_UID: typeof values.uid === 'string' ? userId(values.uid) : undefined,
      FILTER_FLAGS: flagMask(values['flag-filter']),
      FAILED_ONLY: values.failed === true,
    });
    requireSyscallTracepoints('opensnoop');
    await withProgram({ text: text(), cflags, int64: 'number' }, seconds(values, 'duration'), async (b, signal) => {
      const events = b.table('events').events<Opened>({ signal });
      let began: number | undefined;
      const line = (time: string, clock: string, user: unknown, id: unknown, rest: string) =>
        print(
          (values.time === true ? left(time, 9) : '') +
            (values.timestamp === true ? left(clock, 14) : '') +
            (values['print-uid'] === true ? left(user, 6) : '') +
            left(id, 6) +
            rest,
        );
      const flags = (text: string) => (values.extended === true ? `${left(text, 8)} ` : '');
      const heading = `${left('COMM', 16)} ${right('FD', 4)} ${right('ERR', 3)} ${flags('FLAGS')}PATH`;
      line('TIME', 'TIME(s)', 'UID', tid === undefined ? 'PID' : 'TID', ` ${heading}`);
      for await (const event of events) {
        if (name !== undefined && !event.comm.includes(name)) continue;
        if (path !== undefined && !event.path.includes(path)) continue;
        const [fd, error] = event.ret >= 0 ? [event.ret, 0] : [-1, -event.ret];
        const rest = `${left(event.comm, 16)} ${right(fd, 4)} ${right(error, 3)} ${flags(flagText(event.flags))}${event.path}`;
        began ??= event.ns;
        const clock = ((event.ns - began) / 1e9).toFixed(9);
        line(timeOfDay(), clock, event.uid, tid === undefined ? event.pid : event.tid, ` ${rest}`);
      }
    });
    return 0;
  },
};
