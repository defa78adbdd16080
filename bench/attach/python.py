"""BCC's side of bench/attach.mjs: prints seconds and the number of functions, as one line of JSON."""
import json
import sys
import time

from bcc import BPF

job = json.loads(sys.argv[1])
b = BPF(text=job["text"])
start = time.monotonic()
b.attach_kprobe(event_re=job["pattern"].encode() + b"$", fn_name=b"on_call")
attach = time.monotonic() - start
functions = b.num_open_kprobes()
start = time.monotonic()
b.cleanup()
print(json.dumps({"attach": attach, "detach": time.monotonic() - start, "functions": functions}))
