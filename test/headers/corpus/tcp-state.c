// State changes of TCP sockets and how long each state lasted.
#include <linux/tcp.h>
#include <net/tcp.h>
#include <net/tcp_states.h>

BPF_HASH(since, struct sock *);
BPF_HASH(spent, u32);

int on_state(struct pt_regs *ctx, struct sock *sk, int state) {
  u32 old = sk->sk_state;
  u64 now = bpf_ktime_get_ns();
  u64 *then = since.lookup(&sk);
  if (then)
    spent.increment(old, now - *then);
  if (state == TCP_CLOSE)
    since.delete(&sk);
  else
    since.update(&sk, &now);
  if ((1 << state) & (TCPF_FIN_WAIT1 | TCPF_CLOSE_WAIT | TCPF_LAST_ACK)) {
    u32 closing = 0x100 | state;
    spent.increment(closing);
  }
  return 0;
}
