// The io priority class that a task asks with.
#include <linux/ioprio.h>
#include <linux/iocontext.h>
#include <linux/sched.h>

BPF_ARRAY(classes, u64, 4);

int on_io(struct pt_regs *ctx) {
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  struct io_context *io = task->io_context;
  if (!io)
    return 0;
  int class = io->ioprio >> IOPRIO_CLASS_SHIFT;
  if (class <= IOPRIO_CLASS_IDLE)
    classes.increment(class);
  return 0;
}
