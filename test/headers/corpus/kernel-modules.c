// Modules as they are loaded: name, state, who uses them.
#include <linux/module.h>
#include <linux/kobject.h>

struct event_t {
  u32 state;
  char name[56];
};
BPF_PERF_OUTPUT(events);

int on_load(struct pt_regs *ctx, struct module *module) {
  struct event_t e = {};
  e.state = module->state;
  bpf_probe_read_kernel_str(e.name, sizeof(e.name), module->name);
  if (e.state != MODULE_STATE_GOING)
    events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
