// Keys: serial number, type, description.
#include <linux/key.h>
#include <linux/key-type.h>
#include <linux/keyctl.h>

struct event_t {
  int serial;
  u32 uid;
  char type[16], description[32];
};
BPF_PERF_OUTPUT(events);

int on_key(struct pt_regs *ctx, struct key *key) {
  struct event_t e = {.serial = key->serial};
  if (e.serial == KEY_SPEC_SESSION_KEYRING)
    return 0;
  e.uid = key->uid.val;
  bpf_probe_read_kernel_str(e.type, sizeof(e.type), key->type->name);
  bpf_probe_read_kernel_str(e.description, sizeof(e.description), key->description);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
