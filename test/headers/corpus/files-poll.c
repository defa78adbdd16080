// epoll: which events are asked for.
#include <linux/fs.h>
#include <linux/eventpoll.h>
#include <linux/poll.h>
#include <linux/capability.h>

BPF_ARRAY(wanted, u64, 4);

int on_insert(struct pt_regs *ctx, const struct epoll_event *event) {
  u32 mask = event->events;
  int slot = (mask & EPOLLET) ? 0 : (mask & EPOLLIN) ? 1 : (mask & EPOLLOUT) ? 2 : 3;
  wanted.increment(slot);
  return 0;
}
