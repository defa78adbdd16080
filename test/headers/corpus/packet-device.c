// A packet handed to a device: name, index, namespace, queue, length, fragments.
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/if.h>

struct event_t {
  char name[IFNAMSIZ];
  u32 index, mtu, length, fragments, gso;
  u16 queue;
};
BPF_PERF_OUTPUT(events);

int on_xmit(struct pt_regs *ctx, struct sk_buff *skb) {
  struct event_t e = {};
  struct net_device *dev = skb->dev;
  bpf_probe_read_kernel(&e.name, sizeof(e.name), dev->name);
  e.index = dev->ifindex;
  e.mtu = dev->mtu;
  e.length = skb->len;
  e.queue = skb->queue_mapping;
  struct skb_shared_info *shared = (struct skb_shared_info *)(skb->head + skb->end);
  e.fragments = shared->nr_frags;
  e.gso = shared->gso_size;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
