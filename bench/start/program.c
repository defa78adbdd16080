struct event { u64 ts; u32 pid; };
BPF_RINGBUF_OUTPUT(events, 1 << 4);
int on_call(void *ctx) {
  struct event e = {};
  e.pid = bpf_get_current_pid_tgid() >> 32;
  e.ts = bpf_ktime_get_ns();
  events.ringbuf_output(&e, sizeof(e), 0);
  return 0;
}
