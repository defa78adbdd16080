// Outgoing connections, both families.
#include <net/sock.h>
#include <uapi/linux/ptrace.h>
#include <bcc/proto.h>

struct event_t {
  unsigned __int128 saddr, daddr;
  u16 family, sport, dport;
  u32 pid;
};
BPF_PERF_OUTPUT(events);

int on_connect(struct pt_regs *ctx, struct sock *sk) {
  struct event_t e = {.pid = bpf_get_current_pid_tgid() >> 32};
  e.family = sk->sk_family;
  e.sport = sk->sk_num;
  u16 port = sk->sk_dport;
  e.dport = ntohs(port);
  if (e.family == AF_INET) {
    e.saddr = sk->sk_rcv_saddr;
    e.daddr = sk->sk_daddr;
  } else if (e.family == AF_INET6) {
    bpf_probe_read_kernel(&e.saddr, sizeof(e.saddr), sk->sk_v6_rcv_saddr.in6_u.u6_addr32);
    bpf_probe_read_kernel(&e.daddr, sizeof(e.daddr), sk->sk_v6_daddr.in6_u.u6_addr32);
  } else {
    return 0;
  }
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
