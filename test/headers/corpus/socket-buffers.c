// Socket memory: what is queued and what may be.
#include <net/sock.h>
#include <linux/net.h>
#include <linux/socket.h>

struct event_t {
  int wmem_queued, rcvbuf, sndbuf, err;
  u32 type, shutdown;
};
BPF_PERF_OUTPUT(events);

int on_recvmsg(struct pt_regs *ctx, struct socket *sock) {
  struct sock *sk = sock->sk;
  struct event_t e = {};
  e.type = sock->type;
  if (e.type != SOCK_STREAM && e.type != SOCK_DGRAM)
    return 0;
  e.wmem_queued = sk->sk_wmem_queued;
  e.rcvbuf = sk->sk_rcvbuf;
  e.sndbuf = sk->sk_sndbuf;
  e.err = sk->sk_err;
  e.shutdown = sk->sk_shutdown & (RCV_SHUTDOWN | SEND_SHUTDOWN);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
