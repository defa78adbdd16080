// Datagrams by port: who sends how much.
#include <net/sock.h>
#include <linux/udp.h>
#include <net/inet_sock.h>
#include <linux/in.h>

struct key_t {
  u32 pid;
  u16 port;
  u16 family;
};
BPF_HASH(bytes, struct key_t);

int on_send(struct pt_regs *ctx, struct sock *sk, struct msghdr *msg, size_t length) {
  if (sk->sk_protocol != IPPROTO_UDP)
    return 0;
  struct key_t key = {.pid = bpf_get_current_pid_tgid() >> 32, .family = sk->sk_family};
  struct sockaddr_in *to = msg->msg_name;
  u16 port = sk->sk_dport;
  if (to)
    port = to->sin_port;
  key.port = ntohs(port);
  bytes.increment(key, length);
  return 0;
}
