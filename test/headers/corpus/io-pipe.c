// Pipes: how full they are.
#include <linux/fs.h>
#include <linux/wait.h>
#include <linux/mutex.h>
#include <linux/pipe_fs_i.h>

struct event_t {
  u32 head, tail, size, readers, writers;
};
BPF_PERF_OUTPUT(events);

int on_pipe(struct pt_regs *ctx, struct file *file) {
  struct pipe_inode_info *pipe = file->private_data;
  struct event_t e = {};
  e.head = pipe->head;
  e.tail = pipe->tail;
  e.size = pipe->ring_size;
  e.readers = pipe->readers;
  e.writers = pipe->writers;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
