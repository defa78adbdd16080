// Seccomp: the mode of a task and what a system call's filter saw.
#include <linux/seccomp.h>
#include <linux/sched.h>
#include <uapi/linux/unistd.h>

BPF_HASH(calls, u32);

int on_filter(struct pt_regs *ctx, const struct seccomp_data *data) {
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  if (task->seccomp.mode != SECCOMP_MODE_FILTER)
    return 0;
  u32 number = data->nr;
  if (number == __NR_read || number == __NR_write || number == __NR_futex)
    return 0;
  calls.increment(number);
  return 0;
}
