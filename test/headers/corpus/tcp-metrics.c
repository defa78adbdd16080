// Smoothed round trip, window and counters of a connection.
#include <linux/tcp.h>
#include <net/tcp.h>
#include <net/inet_sock.h>
#include <net/inet_connection_sock.h>

struct event_t {
  u64 acked, received;
  u32 srtt_us, mdev_us, cwnd, ssthresh, retrans;
  u32 daddr;
  u16 dport;
  char algorithm[16];
};
BPF_PERF_OUTPUT(events);

int on_ack(struct pt_regs *ctx, struct sock *sk) {
  struct tcp_sock *tp = (struct tcp_sock *)sk;
  struct inet_connection_sock *icsk = (struct inet_connection_sock *)sk;
  struct inet_sock *inet = (struct inet_sock *)sk;
  struct event_t e = {};
  e.srtt_us = tp->srtt_us >> 3;
  e.mdev_us = tp->mdev_us >> 2;
  e.cwnd = tp->snd_cwnd;
  e.ssthresh = tp->snd_ssthresh;
  e.retrans = tp->total_retrans;
  e.acked = tp->bytes_acked;
  e.received = tp->bytes_received;
  e.daddr = inet->inet_daddr;
  e.dport = inet->inet_dport;
  bpf_probe_read_kernel_str(e.algorithm, sizeof(e.algorithm), icsk->icsk_ca_ops->name);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
