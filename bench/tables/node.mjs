/* tsbcc's side of bench/tables.mjs: prints nanoseconds per element of every round, and the kernel's part, as JSON. */
import { BCC } from '../../lib/index.js';

const { text, elements, rounds } = JSON.parse(process.argv[2]);
const b = new BCC({ text, cflags: [`-DELEMENTS=${elements}`] });
const stats = b.table('stats');
const BASE = 0xffff888000000000n;

function check(total) {
  if (total !== (elements * (elements - 1)) / 2) throw new Error(`the elements are not what was written: ${total}`);
}

const key = (i) => ({ pid: i, op: i & 3, address: BASE + BigInt(i) });
const leaf = (i) => ({ count: i, total: i * 2, largest: i & 0xffff, errors: 0, comm: 'node' });

function sum(items) {
  let total = 0;
  for (const [key, leaf] of items) total += Number(leaf.count) + key.pid - key.pid;
  check(total);
}

const works = {
  update() {
    for (let i = 0; i < elements; i++) stats.set(key(i), leaf(i));
  },
  lookup() {
    let total = 0;
    for (let i = 0; i < elements; i++) total += Number(stats.get(key(i)).count);
    check(total);
  },
  scan() {
    sum(stats);
  },
  scanBatch() {
    sum(stats.itemsLookupBatch());
  },
  clear() {
    stats.clear();
  },
  updateBatch() {
    const all = Array.from({ length: elements }, (_, i) => i);
    stats.itemsUpdateBatch(all.map(key), all.map(leaf));
  },
  take() {
    sum(stats.itemsLookupAndDeleteBatch());
  },
};

/** Nanoseconds of this process's work (the garbage collector's threads among it), and the kernel's part. */
function now() {
  const { user, system } = process.cpuUsage();
  return [(user + system) * 1000, system * 1000];
}

const results = Object.fromEntries(Object.keys(works).map((name) => [name, []]));
for (let round = 0; round < rounds; round++)
  for (const [name, work] of Object.entries(works)) {
    const before = now();
    work();
    results[name].push(now().map((ns, i) => (ns - before[i]) / elements));
  }
console.log(JSON.stringify(results));
b.close();
