// Requests of io_uring, by the owner of the ring.
#include <linux/io_uring.h>
#include <uapi/linux/io_uring.h>

struct key_t {
  u32 opcode, pid;
};
BPF_HASH(requests, struct key_t);

int on_submit(struct pt_regs *ctx, struct io_uring_sqe *sqe) {
  struct key_t key = {.pid = bpf_get_current_pid_tgid() >> 32};
  u8 flags = 0;
  bpf_probe_read_user(&key.opcode, 1, &sqe->opcode);
  bpf_probe_read_user(&flags, sizeof(flags), &sqe->flags);
  if (key.opcode == IORING_OP_NOP || (flags & (1U << IOSQE_IO_LINK_BIT)))
    return 0;
  requests.increment(key);
  return 0;
}
