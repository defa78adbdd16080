// Tells, or with the operand `block` forbids, sockets of the family AF_ALG (the kernel's cryptography), at the security
// hook where sockets are made. Needs a kernel that is booted with `bpf` among its LSMs.
import { BCC } from 'tsbcc';
import { limits, operands } from './lib/limits';

const blocking = operands[0] === 'block';
if (!BCC.supportLsm()) {
  console.error('this kernel runs no BPF programs at security hooks: boot it with lsm=…,bpf (see tsbcc doctor)');
  process.exit(1);
}

// Compiled in: the hook is at work from the moment it is loaded, and a table would be filled too late for some.
const cflags = [`-DFORBID=${blocking ? 1 : 0}`];
const text = `
#define AF_ALG 38
#define EPERM 1
struct socket_t {
    u32 pid;
    int type;
    int blocked;
    char comm[16];
};
BPF_RINGBUF_OUTPUT(sockets, 8);

LSM_PROBE(socket_create, int family, int type, int protocol, int kern) {
    if (family != AF_ALG)
        return 0;
    struct socket_t event = {.type = type, .blocked = FORBID};
    event.pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
    sockets.ringbuf_output(&event, sizeof(event), 0);
    return FORBID ? -EPERM : 0;
}`;
const b = new BCC({ text, cflags });
const limit = limits();

async function print() {
  console.log(`${blocking ? 'Forbidding' : 'Watching'} AF_ALG sockets; Ctrl-C ends.`);
  for await (const { pid, type, blocked, comm } of b.table('sockets').events({ signal: limit.signal })) {
    console.log(`${comm} (${pid}) AF_ALG type ${type}: ${blocked ? 'forbidden' : 'let through'}`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void print();
