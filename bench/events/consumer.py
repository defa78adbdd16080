"""BCC's Python side: see consumer.mjs for what it takes and prints."""
import json
import os
import subprocess
import sys
import threading
import time

from bcc import BPF

job = json.loads(sys.argv[1])
per_call = job.get("perCall", 1)
ring = job["buffer"] == "ring"

producer = subprocess.Popen(
    [job["producer"], str(job["producerCpu"])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
)
producer.stdout.readline()


def start_producing(events, per_second=0):
    producer.stdin.write("%d %d\n" % (events // per_call, per_second // per_call))
    producer.stdin.flush()


def produce(events, per_second=0):
    """Seconds that the producer took."""
    start_producing(events, per_second)
    return int(producer.stdout.readline().split()[1]) / 1e9


cflags = ["-DPRODUCER=%d" % producer.pid, "-DPER_CALL=%d" % per_call]
if ring:
    cflags.append("-DRING_PAGES=%d" % job["pages"])
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "program.c")) as source:
    b = BPF(text=source.read(), cflags=cflags)
events = b["events"]
seen = 0
last = ()


def open_buffer(callback):
    if ring:
        events.open_ring_buffer(callback)
    else:
        wakeup_events = 1000 if job["mode"] == "drain" else 1
        events.open_perf_buffer(callback, page_cnt=job["pages"], lost_cb=count_lost, wakeup_events=wakeup_events)


lost_by_perf = 0


def count_lost(count):
    global lost_by_perf
    lost_by_perf += count


def all_fields(_, data, size):
    global seen, last
    event = events.event(data)
    last = (event.pid, event.cpu, event.seq, event.ts, event.address, event.comm)
    seen += 1


def one_field(_, data, size):
    global seen, last
    last = (events.event(data).pid,)
    seen += 1


def consume():
    b.ring_buffer_consume() if ring else b.perf_buffer_consume()


def poll(timeout):
    b.ring_buffer_poll(timeout) if ring else b.perf_buffer_poll(timeout)


def drain():
    global seen
    open_buffer(one_field if job["way"] == "field" else all_fields)
    best = None
    for _ in range(job.get("rounds", 3)):
        seen = 0
        produce(job["events"])
        start, cpu = time.monotonic_ns(), time.process_time_ns()
        while seen < job["events"]:
            consume()
        ns, cpu = time.monotonic_ns() - start, time.process_time_ns() - cpu
        result = {"events": seen, "perSecond": seen / ns * 1e9, "perCpuSecond": seen / cpu * 1e9}
        best = result if best is None else {name: max(best[name], result[name]) for name in result}
    return best


def live():
    open_buffer(all_fields)
    start = time.process_time()
    took = []
    threading.Thread(
        target=lambda: took.append(produce(job["perSecond"] * job["seconds"], job["perSecond"])), daemon=True
    ).start()
    while not took:
        poll(100)
    for _ in range(10):
        poll(100)
    lost = b["refused"][0].value if ring else lost_by_perf
    return {
        "received": seen,
        "sent": b["sent"][0].value,
        "lost": lost,
        "producerSeconds": took[0],
        "cpuSeconds": time.process_time() - start,
    }


def latency():
    times = []

    def stamp(_, data, size):
        times.append((time.monotonic_ns() - events.event(data).ts) / 1000)

    open_buffer(stamp)
    count = job["perSecond"] * job["seconds"]
    start_producing(count, job["perSecond"])
    while len(times) < count:
        poll(-1)
    times.sort()
    return {"medianUs": times[len(times) // 2], "p99Us": times[int(len(times) * 0.99)], "events": len(times)}


result = {"drain": drain, "live": live, "latency": latency}[job["mode"]]()
result["last"] = " ".join(map(str, last))
producer.stdin.close()
print(json.dumps(result))
