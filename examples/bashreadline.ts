// Prints the commands that are typed into any running bash, from what its function readline() returns.
import { BCC } from 'tsbcc';
import { limits, operands } from './lib/limits';

const b = new BCC(`
struct line_t {
    u32 pid;
    char text[80];
};
BPF_RINGBUF_OUTPUT(lines, 8);

int on_return(struct pt_regs *ctx) {
    struct line_t line = {};
    // At the end of the input it returns no text.
    if (!PT_REGS_RC(ctx))
        return 0;
    line.pid = bpf_get_current_pid_tgid() >> 32;
    bpf_probe_read_user_str(line.text, sizeof(line.text), (void *)PT_REGS_RC(ctx));
    lines.ringbuf_output(&line, sizeof(line), 0);
    return 0;
}`);
b.attachUretprobe({ name: operands[0] ?? '/bin/bash', sym: 'readline', fnName: 'on_return' });
const limit = limits();

async function print() {
  console.log(`${'TIME'.padEnd(9)} ${'PID'.padEnd(7)} COMMAND`);
  for await (const { pid, text } of b.table('lines').events({ signal: limit.signal })) {
    console.log(`${new Date().toTimeString().slice(0, 8).padEnd(9)} ${String(pid).padEnd(7)} ${text}`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void print();
