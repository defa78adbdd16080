// How long a thread is in a read: it cannot begin a second one before the first has ended.
BPF_HASH(entered, u32, u64);
BPF_HISTOGRAM(latency);

int on_entry(void *ctx) {
    u32 thread = bpf_get_current_pid_tgid();
    u64 now = bpf_ktime_get_ns();
    entered.update(&thread, &now);
    return 0;
}

int on_return(void *ctx) {
    u32 thread = bpf_get_current_pid_tgid();
    u64 *since = entered.lookup(&thread);
    if (!since)
        return 0;
    latency.increment(bpf_log2l((bpf_ktime_get_ns() - *since) / 1000));
    entered.delete(&thread);
    return 0;
}
