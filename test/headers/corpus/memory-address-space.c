// A process's address space in numbers.
#include <linux/mm_types.h>
#include <linux/sched.h>

struct event_t {
  u64 total, locked, data, stack, code, brk, arguments;
  int maps;
};
BPF_PERF_OUTPUT(events);

int on_mmap(struct pt_regs *ctx) {
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  struct mm_struct *mm = task->mm;
  if (!mm)
    return 0;
  struct event_t e = {};
  e.total = mm->total_vm << PAGE_SHIFT;
  e.locked = mm->locked_vm;
  e.data = mm->data_vm;
  e.stack = mm->stack_vm;
  e.code = mm->end_code - mm->start_code;
  e.brk = mm->brk - mm->start_brk;
  e.arguments = mm->arg_end - mm->arg_start;
  e.maps = mm->map_count;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
