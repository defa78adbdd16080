// Retransmissions: the sequence, flags and length of the segment.
#include <linux/skbuff.h>
#include <net/tcp.h>

struct event_t {
  u32 seq, end, length;
  u16 lport;
  u8 flags, fin;
};
BPF_PERF_OUTPUT(events);

int on_retransmit(struct pt_regs *ctx, struct sock *sk, struct sk_buff *skb) {
  struct tcp_skb_cb *cb = (struct tcp_skb_cb *)&skb->cb[0];
  struct event_t e = {};
  e.lport = sk->sk_num;
  e.length = skb->len;
  bpf_probe_read_kernel(&e.seq, sizeof(e.seq), &cb->seq);
  bpf_probe_read_kernel(&e.end, sizeof(e.end), &cb->end_seq);
  bpf_probe_read_kernel(&e.flags, sizeof(e.flags), &cb->tcp_flags);
  e.fin = !!(e.flags & (TCPHDR_FIN | TCPHDR_RST));
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
