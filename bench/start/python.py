# One tracer's life in BCC's Python module: load, attach, read the first event, tell its memory.
import json, os, re, sys, time
from bcc import BPF

text = open(sys.argv[1]).read()
b = BPF(text=text)
b.attach_tracepoint(tp="syscalls:sys_enter_getppid", fn_name="on_call")
seen = False


def on_event(ctx, data, size):
    global seen
    seen = seen or b["events"].event(data).pid == os.getpid()


b["events"].open_ring_buffer(on_event)
while not seen:
    os.getppid()
    b.ring_buffer_poll(100)
first = time.time() * 1000
rss = int(re.search(r"VmRSS:\s+(\d+)", open("/proc/self/status").read()).group(1)) / 1024
print(json.dumps({"rss": rss, "first": first}))
