// Neighbour entries: hardware address and state.
#include <net/neighbour.h>
#include <net/arp.h>

struct event_t {
  u8 address[ETH_ALEN];
  u8 state, type;
  u32 index;
};
BPF_PERF_OUTPUT(events);

int on_neighbour(struct pt_regs *ctx, struct neighbour *n) {
  struct event_t e = {};
  e.state = n->nud_state;
  e.type = n->type;
  e.index = n->dev->ifindex;
  bpf_probe_read_kernel(&e.address, sizeof(e.address), n->ha);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
