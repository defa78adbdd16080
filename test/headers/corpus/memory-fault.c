// Page faults: address, area, its flags and file.
#include <linux/mm.h>
#include <linux/mm_types.h>
#include <linux/fs.h>

struct event_t {
  u64 address, start, end, inode;
  u32 write, exec, pages;
};
BPF_PERF_OUTPUT(events);

int on_fault(struct pt_regs *ctx, struct vm_area_struct *vma, unsigned long address, unsigned int flags) {
  struct event_t e = {.address = address & PAGE_MASK};
  e.start = vma->vm_start;
  e.end = vma->vm_end;
  e.pages = (e.end - e.start) >> PAGE_SHIFT;
  e.write = !!(flags & FAULT_FLAG_WRITE);
  unsigned long area = vma->vm_flags;
  e.exec = !!(area & VM_EXEC);
  if (area & (VM_IO | VM_PFNMAP))
    return 0;
  struct file *file = vma->vm_file;
  if (file)
    e.inode = file->f_inode->i_ino;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
