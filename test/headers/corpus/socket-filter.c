// A socket filter: packets by protocol and port, with BCC's cursor.
#include <bcc/proto.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in.h>

BPF_HASH(ports, u16);
BPF_ARRAY(protocols, u64, 256);

int filter(struct __sk_buff *skb) {
  u8 *cursor = 0;
  struct ethernet_t *ethernet = cursor_advance(cursor, sizeof(*ethernet));
  if (ethernet->type != ETH_P_IP)
    return 0;
  struct ip_t *ip = cursor_advance(cursor, sizeof(*ip));
  int protocol = ip->nextp;
  protocols.increment(protocol);
  if (protocol != IPPROTO_TCP)
    return 0;
  struct tcp_t *tcp = cursor_advance(cursor, sizeof(*tcp));
  u16 port = tcp->dst_port;
  ports.increment(port);
  return -1;
}
