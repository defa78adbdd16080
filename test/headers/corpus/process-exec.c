// What is executed, before it runs: the file, its credentials, its arguments' place.
#include <linux/binfmts.h>
#include <linux/cred.h>
#include <linux/fs.h>

struct event_t {
  u64 inode, arguments;
  u32 argc, uid, euid, mode;
  char name[64];
};
BPF_PERF_OUTPUT(events);

int on_exec(struct pt_regs *ctx, struct linux_binprm *bprm) {
  struct event_t e = {};
  e.inode = bprm->file->f_inode->i_ino;
  e.arguments = bprm->p;
  e.argc = bprm->argc;
  e.uid = bprm->cred->uid.val;
  e.euid = bprm->cred->euid.val;
  e.mode = bprm->file->f_inode->i_mode;
  if (!S_ISREG(e.mode))
    return 0;
  bpf_probe_read_kernel_str(&e.name, sizeof(e.name), bprm->filename);
  events.perf_submit(ctx, &e, sizeof(e));
  return 0;
}
