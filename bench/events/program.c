// What every side of the comparison loads: events of 48 bytes from each getppid() of one process, PER_CALL at a time.
struct event {
  u32 pid;
  u32 cpu;
  u64 seq;
  u64 ts;
  u64 address;
  char comm[16];
};

#ifdef RING_PAGES
BPF_RINGBUF_OUTPUT(events, RING_PAGES);
#else
BPF_PERF_OUTPUT(events);
#endif

BPF_ARRAY(refused, u64, 1);
BPF_ARRAY(sent, u64, 1);

TRACEPOINT_PROBE(syscalls, sys_enter_getppid) {
  if (bpf_get_current_pid_tgid() >> 32 != PRODUCER) return 0;
  int zero = 0;
  u64 *seq = sent.lookup(&zero);
  if (!seq) return 0;
  struct event event = {.pid = PRODUCER, .cpu = bpf_get_smp_processor_id(), .address = 0xffffffff81000000};
  bpf_get_current_comm(&event.comm, sizeof(event.comm));
#pragma unroll
  for (int i = 0; i < PER_CALL; i++) {
    event.seq = *seq;
    event.ts = bpf_ktime_get_ns();
    *seq += 1;
#ifdef RING_PAGES
    if (events.ringbuf_output(&event, sizeof(event), 0)) refused.increment(zero);
#else
    if (events.perf_submit(args, &event, sizeof(event))) refused.increment(zero);
#endif
  }
  return 0;
}
