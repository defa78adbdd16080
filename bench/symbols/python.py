"""BCC's side of bench/symbols.mjs: prints milliseconds of every round, as one line of JSON."""
import json
import os
import re
import sys
import time

from bcc import BPF, SymbolCache

job = json.loads(sys.argv[1])
count, rounds = job["addresses"], job["rounds"]

functions = []
with open("/proc/kallsyms") as lines:
    for line in lines:
        if re.search(" [tT] ", line):
            functions.append(int(line.split(" ", 1)[0], 16))
kernel = [functions[(i * 7919) % len(functions)] + 3 for i in range(count)]


def timed(work):
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def each(addresses, resolve):
    def work():
        if sum(len(resolve(address)) for address in addresses) < len(addresses):
            raise Exception("names are missing")

    return work


def repeated(work):
    return [timed(work) for _ in range(rounds)]


results = {"start": [timed(lambda: BPF.ksym(kernel[0]))]}
results["first"] = [timed(each(kernel, BPF.ksym))]
results["ksym"] = repeated(each(kernel, BPF.ksym))
results["ksymFull"] = repeated(each(kernel, lambda a: BPF.ksym(a, show_module=True, show_offset=True)))

with open("/proc/self/maps") as maps:
    library = re.search(r"\S*/libc\.so\.6$", maps.read(), re.M).group(0)
malloc = SymbolCache(os.getpid()).resolve_name(library.encode(), b"malloc")
user = [malloc + (i * 17) % 8192 for i in range(count)]
pid = os.getpid()
results["user"] = repeated(each(user, lambda a: BPF.sym(a, pid, show_module=True, show_offset=True)))
print(json.dumps(results))
