// Watches a web server in Node from outside, without a change to it: each request with its answer and the time between,
// from what the server's process reads and writes. `node-http PID`; without one, it starts a small server and asks it.
import { spawn } from 'node:child_process';
import { get } from 'node:http';
import { BCC } from 'tsbcc';
import { limits, operands } from './lib/limits';

const SERVER = `
const server = require('http').createServer((request, response) => setTimeout(() => response.end('hello'), 20));
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
`;
const server = operands[0] === undefined ? spawn(process.execPath, ['-e', SERVER]) : undefined;
const pid = server?.pid ?? Number(operands[0]);

const b = new BCC({
  text: `
#define HTTP 0x50545448 // "HTTP", as it lies in memory
#define GET 0x20544547
#define POST 0x54534f50
#define LINE 64
struct exchange_t {
    u64 begin_ns;
    u64 end_ns;
    int fd;
    char request[LINE];
    char answer[LINE];
};
struct vector_t {
    u64 base;
    u64 length;
};
struct reading_t {
    u64 buffer;
    int fd;
};
BPF_HASH(reading, u64, struct reading_t);
BPF_HASH(waiting, int, struct exchange_t);
BPF_RINGBUF_OUTPUT(exchanges, 16);

TRACEPOINT_PROBE(syscalls, sys_enter_read) {
    u64 thread = bpf_get_current_pid_tgid();
    struct reading_t call = {.buffer = (u64)args->buf, .fd = args->fd};
    if (thread >> 32 == SERVER)
        reading.update(&thread, &call);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_read) {
    u64 thread = bpf_get_current_pid_tgid();
    struct reading_t *call = reading.lookup(&thread);
    if (!call)
        return 0;
    u32 begin = 0;
    struct exchange_t exchange = {.begin_ns = bpf_ktime_get_ns(), .fd = call->fd};
    if (args->ret > 4)
        bpf_probe_read_user(&begin, sizeof(begin), (void *)call->buffer);
    if (begin == GET || begin == POST) {
        bpf_probe_read_user_str(exchange.request, LINE, (void *)call->buffer);
        waiting.update(&exchange.fd, &exchange);
    }
    reading.delete(&thread);
    return 0;
}

static int answered(int fd, u64 text) {
    struct exchange_t *exchange = waiting.lookup(&fd);
    u32 begin = 0;
    if (bpf_get_current_pid_tgid() >> 32 != SERVER || !exchange)
        return 0;
    bpf_probe_read_user(&begin, sizeof(begin), (void *)text);
    if (begin != HTTP)
        return 0;
    exchange->end_ns = bpf_ktime_get_ns();
    bpf_probe_read_user_str(exchange->answer, LINE, (void *)text);
    exchanges.ringbuf_output(exchange, sizeof(*exchange), 0);
    waiting.delete(&fd);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_write) {
    return answered(args->fd, (u64)args->buf);
}

// Headers and body in one call.
TRACEPOINT_PROBE(syscalls, sys_enter_writev) {
    struct vector_t first = {};
    bpf_probe_read_user(&first, sizeof(first), (void *)args->vec);
    return answered(args->fd, first.base);
}`,
  cflags: [`-DSERVER=${pid}`],
});
const limit = limits();

server?.stdout.once('data', (port) => {
  const timer = setInterval(() => get(`http://127.0.0.1:${Number(port)}/page`, (answer) => answer.resume()), 100);
  limit.signal.addEventListener('abort', () => clearInterval(timer));
});

async function print() {
  console.log(`Watching process ${pid}; Ctrl-C ends.`);
  for await (const { request, answer, begin_ns, end_ns } of b.table('exchanges').events({ signal: limit.signal })) {
    const milliseconds = (Number(end_ns - begin_ns) / 1e6).toFixed(1);
    console.log(`${request.split('\r\n')[0]} -> ${answer.split('\r\n')[0]} ${milliseconds} ms`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
  server?.kill();
  process.exit();
}

void print();
