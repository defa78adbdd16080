// Packets that the kernel throws away: headers found through the sk_buff.
#include <linux/skbuff.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/tcp.h>
#include <net/sock.h>

struct event_t {
  u32 saddr, daddr;
  u16 sport, dport;
  u8 syn, rst;
  u16 protocol;
};
BPF_PERF_OUTPUT(events);

int on_free(struct pt_regs *ctx, struct sk_buff *skb) {
  struct event_t e = {};
  e.protocol = skb->protocol;
  unsigned char *head = skb->head;
  struct iphdr *ip = (struct iphdr *)(head + skb->network_header);
  struct tcphdr *tcp = (struct tcphdr *)(head + skb->transport_header);
  if (ip->protocol != IPPROTO_TCP)
    return 0;
  e.saddr = ip->saddr;
  e.daddr = ip->daddr;
  u16 source = tcp->source;
  u16 target = tcp->dest;
  e.sport = ntohs(source);
  e.dport = ntohs(target);
  u8 flags = 0;
  bpf_probe_read_kernel(&flags, sizeof(flags), (void *)tcp + 13);
  e.syn = !!(flags & 0x02);
  e.rst = !!(flags & 0x04);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
