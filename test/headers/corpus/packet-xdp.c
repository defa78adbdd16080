// XDP: drops malformed packets, counts the others by protocol, with bounds checked.
#include <uapi/linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/in.h>

BPF_PERCPU_ARRAY(counts, u64, 256);

int xdp_count(struct xdp_md *ctx) {
  void *data = (void *)(long)ctx->data;
  void *end = (void *)(long)ctx->data_end;
  struct ethhdr *eth = data;
  u64 offset = sizeof(*eth);
  if (data + offset > end)
    return XDP_DROP;
  u16 protocol = eth->h_proto;
  if (protocol == htons(ETH_P_8021Q) || protocol == htons(ETH_P_8021AD)) {
    struct vlan_hdr *vlan = data + offset;
    offset += sizeof(*vlan);
    if (data + offset > end)
      return XDP_DROP;
    protocol = vlan->h_vlan_encapsulated_proto;
  }
  u32 slot = 0;
  if (protocol == htons(ETH_P_IP)) {
    struct iphdr *ip = data + offset;
    if ((void *)(ip + 1) > end)
      return XDP_DROP;
    slot = ip->protocol;
  } else if (protocol == htons(ETH_P_IPV6)) {
    struct ipv6hdr *ip6 = data + offset;
    if ((void *)(ip6 + 1) > end)
      return XDP_DROP;
    slot = ip6->nexthdr;
  }
  u64 *count = counts.lookup(&slot);
  if (count)
    *count += 1;
  return XDP_PASS;
}
