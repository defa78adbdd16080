// Listening sockets and how full their accept queue is.
#include <net/sock.h>
#include <net/inet_sock.h>

struct event_t {
  u32 backlog, max;
  u16 port;
  u8 reuse;
};
BPF_PERF_OUTPUT(events);

int on_request(struct pt_regs *ctx, struct sock *sk) {
  if (sk->sk_state != TCP_LISTEN)
    return 0;
  struct event_t e = {};
  e.backlog = sk->sk_ack_backlog;
  e.max = sk->sk_max_ack_backlog;
  e.port = ((struct inet_sock *)sk)->inet_sport;
  u8 bits = 0;
  bpf_probe_read_kernel(&bits, sizeof(bits), (void *)sk + offsetof(struct sock, __sk_common.skc_state) + 1);
  e.reuse = bits & 0xf;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
