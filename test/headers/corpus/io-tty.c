// What is typed and printed on a terminal: its name and driver.
#include <linux/tty.h>
#include <linux/tty_driver.h>

struct event_t {
  char name[64];
  int index;
  short major;
};
BPF_PERF_OUTPUT(events);

int on_tty(struct pt_regs *ctx, struct tty_struct *tty) {
  struct event_t e = {.index = tty->index};
  bpf_probe_read_kernel_str(e.name, sizeof(e.name), tty->name);
  e.major = tty->driver->major;
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
