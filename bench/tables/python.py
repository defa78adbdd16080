"""BCC's side of bench/tables.mjs: prints nanoseconds per element of every round, and the kernel's part, as JSON."""
import json
import resource
import sys

from bcc import BPF

job = json.loads(sys.argv[1])
elements, rounds = job["elements"], job["rounds"]
b = BPF(text=job["text"], cflags=["-DELEMENTS=%d" % elements])
stats = b["stats"]
Key, Leaf = stats.Key, stats.Leaf
BASE = 0xFFFF888000000000


def check(total):
    if total != elements * (elements - 1) // 2:
        raise Exception("the elements are not what was written: %d" % total)


def update():
    for i in range(elements):
        stats[Key(i, i & 3, BASE + i)] = Leaf(i, i * 2, i & 0xFFFF, 0, b"node")


def lookup():
    total = 0
    for i in range(elements):
        leaf = stats[Key(i, i & 3, BASE + i)]
        total += leaf.count
    check(total)


def scan():
    total = 0
    for key, leaf in stats.items():
        total += leaf.count + key.pid - key.pid
    check(total)


def scan_batch():
    total = 0
    for key, leaf in stats.items_lookup_batch():
        total += leaf.count + key.pid - key.pid
    check(total)


def update_batch():
    keys, leaves = (Key * elements)(), (Leaf * elements)()
    for i in range(elements):
        keys[i] = Key(i, i & 3, BASE + i)
        leaves[i] = Leaf(i, i * 2, i & 0xFFFF, 0, b"node")
    stats.items_update_batch(keys, leaves)


def take():
    total = 0
    for key, leaf in stats.items_lookup_and_delete_batch():
        total += leaf.count + key.pid - key.pid
    check(total)


def clear():
    stats.clear()


def now():
    """Nanoseconds of this process's work, and of the kernel's part in that."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1e9, usage.ru_stime * 1e9


results = {}
for round in range(rounds):
    for name, work in (
        ("update", update),
        ("lookup", lookup),
        ("scan", scan),
        ("scanBatch", scan_batch),
        ("clear", clear),
        ("updateBatch", update_batch),
        ("take", take),
    ):
        if name == "clear" and round > 0:
            # Deleting under its own iteration takes BCC seconds: once is enough.
            stats.items_delete_batch()
            continue
        before = now()
        work()
        results.setdefault(name, []).append([(b - a) / elements for a, b in zip(before, now())])
print(json.dumps(results))
