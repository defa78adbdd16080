import { type Command, integer, seconds, UsageError } from '../command';
import { requireTracepoints } from './processes';
import { DURATION, left, macros, PID, print, userId, withProgram } from './support';

/*
 * A socket that begins to connect changes its state to SYN_SENT in the process that connects it, on every kernel since
 * 4.16. Its own port is chosen a moment later: for that the next change of state is waited for.
 */
const TEXT = `
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define TCP_SYN_SENT 2

struct connection {
    u64 ns;
    u32 pid;
    u32 uid;
    u16 family;
    u16 sport;
    u16 dport;
    char comm[16];
    u8 saddr[16];
    u8 daddr[16];
};
BPF_RINGBUF_OUTPUT(events, 32);
BPF_HASH(begun, u64, struct connection);
#ifdef OPT_COUNT
struct flow {
    u16 family;
    u16 sport;
    u16 dport;
    u8 saddr[16];
    u8 daddr[16];
};
BPF_HASH(flows, struct flow, u64, 10240);
#endif

static __always_inline void tell(struct connection *connection) {
#ifdef OPT_COUNT
    struct flow flow = {};
    flow.family = connection->family;
    flow.sport = connection->sport;
    flow.dport = connection->dport;
    __builtin_memcpy(flow.saddr, connection->saddr, 16);
    __builtin_memcpy(flow.daddr, connection->daddr, 16);
    flows.atomic_increment(flow);
#else
    events.ringbuf_output(connection, sizeof(*connection), 0);
#endif
}

TRACEPOINT_PROBE(sock, inet_sock_set_state) {
    if (args->protocol != IPPROTO_TCP)
        return 0;
    u64 socket = (u64)args->skaddr;
    if (args->newstate != TCP_SYN_SENT) {
#ifdef OPT_WITH_PORT
        if (args->oldstate != TCP_SYN_SENT)
            return 0;
        struct connection *past = begun.lookup(&socket);
        if (past) {
            past->sport = args->sport;
            tell(past);
            begun.delete(&socket);
        }
#endif
        return 0;
    }
#ifdef OPT_FILTER_FAMILY
    if (args->family != OPT_FILTER_FAMILY)
        return 0;
#endif
    struct connection connection = {.ns = bpf_ktime_get_ns(), .family = args->family, .dport = args->dport};
    connection.pid = bpf_get_current_pid_tgid() >> 32;
    connection.uid = bpf_get_current_uid_gid();
#ifdef OPT_FILTER_PID
    if (connection.pid != OPT_FILTER_PID)
        return 0;
#endif
#ifdef OPT_FILTER_UID
    if (connection.uid != OPT_FILTER_UID)
        return 0;
#endif
#ifdef OPT_WANTED_PORT
    u16 port = connection.dport;
    if (!(OPT_WANTED_PORT))
        return 0;
#endif
    bpf_get_current_comm(&connection.comm, sizeof(connection.comm));
    if (connection.family == AF_INET) {
        __builtin_memcpy(connection.saddr, args->saddr, 4);
        __builtin_memcpy(connection.daddr, args->daddr, 4);
    } else if (connection.family == AF_INET6) {
        __builtin_memcpy(connection.saddr, args->saddr_v6, 16);
        __builtin_memcpy(connection.daddr, args->daddr_v6, 16);
    } else {
        return 0;
    }
#ifdef OPT_WITH_PORT
    begun.update(&socket, &connection);
#else
    tell(&connection);
#endif
    return 0;
}
`;

const AF_INET = 2;
const AF_INET6 = 10;

interface Flow {
  family: number;
  sport: number;
  dport: number;
  saddr: Uint8Array;
  daddr: Uint8Array;
}

interface Connection extends Flow {
  ns: number;
  pid: number;
  uid: number;
  comm: string;
}

function ipv4(bytes: Uint8Array): string {
  return bytes.subarray(0, 4).join('.');
}

const V4_MAPPED = '00000000000000000000ffff';

/** As RFC 5952 has it: the longest run of zeroes as `::`. */
function ipv6(bytes: Uint8Array): string {
  if (Buffer.from(bytes.subarray(0, 12)).toString('hex') === V4_MAPPED) return `::ffff:${ipv4(bytes.subarray(12))}`;
  const words = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16));
  let longest = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (words[at + length] === '0') length++;
    if (length > longest.length) longest = { at, length };
  }
  if (longest.at < 0) return words.join(':');
  return `${words.slice(0, longest.at).join(':')}::${words.slice(longest.at + longest.length).join(':')}`;
}

function addressText(family: number, bytes: Uint8Array): string {
  return family === AF_INET ? ipv4(bytes) : ipv6(bytes);
}

function portCondition(list: string): string {
  const ports = list.split(',').map(Number);
  if (!ports.every((port) => Number.isInteger(port) && port > 0 && port < 65536)) {
    throw new UsageError(`--port takes ports from 1 to 65535 with commas between them, not ${JSON.stringify(list)}`);
  }
  return ports.map((port) => `port==${port}`).join('||');
}

export const command: Command = {
  usage: '[options]',
  about: 'Prints every TCP connection that this machine begins, whether or not it is answered.',
  options: {
    timestamp: { type: 'boolean', short: 't', help: 'Show the seconds since the first one' },
    pid: PID,
    port: { type: 'string', short: 'P', value: 'PORTS', help: 'Only to these ports (80,443)' },
    ipv4: { type: 'boolean', short: '4', help: 'IPv4 only' },
    ipv6: { type: 'boolean', short: '6', help: 'IPv6 only' },
    lport: {
      type: 'boolean',
      short: 'L',
      help: 'Show the own port too: each is then printed when it is answered or given up',
    },
    'print-uid': { type: 'boolean', short: 'U', help: 'Show the user' },
    uid: { type: 'string', short: 'u', value: 'USER', help: 'Only this user, by name or number' },
    count: { type: 'boolean', short: 'c', help: 'Count by addresses and port, printed at the end' },
    duration: DURATION,
  },
  examples: [
    ['', 'until Ctrl-C'],
    ['-P 80,443 -U', 'the web, with users'],
    ['-c -d 60', "one minute's connections, counted"],
  ],
  async run(values) {
    if (values.ipv4 === true && values.ipv6 === true) throw new UsageError('give -4 or -6, not both');
    const withPort = values.lport === true;
    const cflags = macros({
      FILTER_PID: integer(values, 'pid', 1),
      FILTER_UID: typeof values.uid === 'string' ? userId(values.uid) : undefined,
      FILTER_FAMILY: values.ipv4 === true ? AF_INET : values.ipv6 === true ? AF_INET6 : undefined,
      WITH_PORT: withPort,
      COUNT: values.count === true,
    });
    if (typeof values.port === 'string') cflags.push(`-DOPT_WANTED_PORT=${portCondition(values.port)}`);
    requireTracepoints('tcpconnect', 'sock:inet_sock_set_state');
    await withProgram({ text: TEXT, cflags, int64: 'number' }, seconds(values, 'duration'), async (b, signal) => {
      if (values.count === true) {
        print('Tracing connect ... Hit Ctrl-C to end');
        if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        const flows = [...b.table<Flow, number>('flows').entries()] as [Flow, number][];
        print(
          `\n${left('LADDR', 25)} ${withPort ? `${left('LPORT', 20)} ` : ''}${left('RADDR', 25)} ${left('RPORT', 20)} CONNECTS`,
        );
        for (const [{ family, saddr, daddr, sport, dport }, count] of flows.sort(([, a], [, c]) => c - a)) {
          const own = withPort ? `${left(sport, 20)} ` : '';
          print(
            `${left(addressText(family, saddr), 25)} ${own}${left(addressText(family, daddr), 25)} ${left(dport, 20)} ${count}`,
          );
        }
        return;
      }
      const events = b.table('events').events<Connection>({ signal });
      const line = (time: string, user: unknown, pid: unknown, comm: string, ip: unknown, rest: string) =>
        print(
          (values.timestamp === true ? left(time, 9) : '') +
            (values['print-uid'] === true ? left(user, 6) : '') +
            `${left(pid, 7)} ${left(comm, 12)} ${left(ip, 2)} ${rest}`,
        );
      const ports = (own: unknown) => (withPort ? `${left(own, 6)} ` : '');
      line('TIME(s)', 'UID', 'PID', 'COMM', 'IP', `${left('SADDR', 16)} ${ports('LPORT')}${left('DADDR', 16)} DPORT`);
      let began: number | undefined;
      for await (const { ns, pid, uid, comm, family, saddr, daddr, sport, dport } of events) {
        began ??= ns;
        const [from, to] = [addressText(family, saddr), addressText(family, daddr)];
        const rest = `${left(from, 16)} ${ports(sport)}${left(to, 16)} ${dport}`;
        line(((ns - began) / 1e9).toFixed(3), uid, pid, comm.slice(0, 12), family === AF_INET ? 4 : 6, rest);
      }
    });
    return 0;
  },
};
