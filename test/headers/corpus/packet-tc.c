// A classifier: marks packets by the upper byte of their address.
#include <uapi/linux/bpf.h>
#include <uapi/linux/pkt_cls.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/ip.h>

int tc_mark(struct __sk_buff *skb) {
  void *data = (void *)(long)skb->data;
  void *end = (void *)(long)skb->data_end;
  struct ethhdr *eth = data;
  struct iphdr *ip = data + sizeof(*eth);
  if ((void *)(ip + 1) > end || eth->h_proto != htons(ETH_P_IP))
    return TC_ACT_OK;
  if ((ntohl(ip->daddr) >> 24) == 10)
    skb->mark = 10;
  return ip->ttl <= 1 ? TC_ACT_SHOT : TC_ACT_OK;
}
