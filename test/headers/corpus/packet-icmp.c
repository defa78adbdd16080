// ICMP as it arrives: type, code, echo's id.
#include <linux/icmp.h>
#include <linux/ip.h>
#include <linux/skbuff.h>

struct event_t {
  u8 type, code;
  u16 id;
  u32 from;
};
BPF_PERF_OUTPUT(events);

int on_icmp(struct pt_regs *ctx, struct sk_buff *skb) {
  struct event_t e = {};
  struct icmphdr icmp = {};
  struct iphdr ip = {};
  unsigned char *head = skb->head;
  bpf_probe_read_kernel(&icmp, sizeof(icmp), head + skb->transport_header);
  bpf_probe_read_kernel(&ip, sizeof(ip), head + skb->network_header);
  e.type = icmp.type;
  e.code = icmp.code;
  if (e.type == ICMP_ECHO || e.type == ICMP_ECHOREPLY)
    e.id = ntohs(icmp.un.echo.id);
  e.from = ip.saddr;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
