#include <uapi/linux/ptrace.h>
#include <linux/sched.h>

struct switch_t {
    u32 from;
    u32 to;
};
BPF_HASH(switches, struct switch_t, u64, 4096);

// finish_task_switch(prev) runs in the task that now has the CPU.
int at_kprobe(struct pt_regs *ctx, struct task_struct *prev) {
    struct switch_t pair = {.from = prev->pid, .to = bpf_get_current_pid_tgid()};
    switches.increment(pair);
    return 0;
}

// sched:sched_switch runs in the task that gives the CPU up, and tells both.
int at_tracepoint(struct tracepoint__sched__sched_switch *args) {
    struct switch_t pair = {.from = args->prev_pid, .to = args->next_pid};
    switches.increment(pair);
    return 0;
}
