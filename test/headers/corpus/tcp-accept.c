// Accepted connections; those of our own network namespace alone.
#include <net/sock.h>
#include <net/net_namespace.h>

struct event_t {
  u32 saddr, daddr, netns;
  u16 lport, dport;
};
BPF_PERF_OUTPUT(events);

int after_accept(struct pt_regs *ctx) {
  struct sock *sk = (struct sock *)PT_REGS_RC(ctx);
  if (!sk || sk->__sk_common.skc_family != AF_INET || sk->sk_protocol != IPPROTO_TCP)
    return 0;
  struct event_t e = {};
#ifdef CONFIG_NET_NS
  e.netns = sk->__sk_common.skc_net.net->ns.inum;
#else
#error "every kernel here has network namespaces"
#endif
  e.saddr = sk->__sk_common.skc_rcv_saddr;
  e.daddr = sk->__sk_common.skc_daddr;
  e.lport = sk->__sk_common.skc_num;
  e.dport = bpf_ntohs(sk->__sk_common.skc_dport);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
