// Programs and maps as others load them.
#include <linux/bpf.h>
#include <linux/filter.h>

struct event_t {
  u32 type, id, instructions, kind;
  char name[BPF_OBJ_NAME_LEN];
};
BPF_PERF_OUTPUT(events);

int on_program(struct pt_regs *ctx, struct bpf_prog *prog) {
  struct event_t e = {.type = prog->type, .instructions = prog->len};
  struct bpf_prog_aux *aux = prog->aux;
  e.id = aux->id;
  e.kind = prog->type == BPF_PROG_TYPE_KPROBE ? BPF_MAP_TYPE_HASH : BPF_MAP_TYPE_ARRAY;
  bpf_probe_read_kernel_str(e.name, sizeof(e.name), aux->name);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
