// Where a packet stands in netfilter, and what the hook said.
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/skbuff.h>

struct key_t {
  u32 hook, family, verdict;
};
BPF_HASH(verdicts, struct key_t);
BPF_HASH(pending, u32, struct key_t);

int on_hook(struct pt_regs *ctx, struct sk_buff *skb, struct nf_hook_state *state) {
  struct key_t key = {.hook = state->hook, .family = state->pf};
  if (key.family != NFPROTO_IPV4 && key.family != NFPROTO_IPV6)
    return 0;
  if (key.hook == NF_INET_LOCAL_OUT || key.hook == NF_INET_LOCAL_IN) {
    u32 tid = bpf_get_current_pid_tgid();
    pending.update(&tid, &key);
  }
  return 0;
}

int after_hook(struct pt_regs *ctx) {
  u32 tid = bpf_get_current_pid_tgid();
  struct key_t *key = pending.lookup(&tid);
  if (!key)
    return 0;
  key->verdict = PT_REGS_RC(ctx) == NF_DROP ? NF_DROP : NF_ACCEPT;
  verdicts.increment(*key);
  pending.delete(&tid);
  return 0;
}
