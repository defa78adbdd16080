// Unix sockets: the path that is connected to, and the peer's credentials.
#include <net/af_unix.h>
#include <net/sock.h>
#include <linux/un.h>
#include <linux/pid.h>

struct event_t {
  u64 peer;
  u32 pid;
  char path[64];
};
BPF_PERF_OUTPUT(events);

int on_connect(struct pt_regs *ctx, struct socket *sock, struct sockaddr_un *address) {
  struct event_t e = {};
  struct unix_sock *socket = (struct unix_sock *)sock->sk;
  e.peer = (u64)socket->peer;
  struct pid *pid = sock->sk->sk_peer_pid;
  struct upid first = {};
  if (pid)
    bpf_probe_read_kernel(&first, sizeof(first), &pid->numbers[0]);
  e.pid = first.nr;
  if (address->sun_family != AF_UNIX)
    return 0;
  bpf_probe_read_kernel_str(e.path, sizeof(e.path), address->sun_path);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
