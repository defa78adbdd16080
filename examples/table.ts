// A table is a Map in the kernel: written and read from here, no program attached.
import { BCC } from 'tsbcc';

const b = new BCC('BPF_HASH(squares, u32, u64);');
const squares = b.table<number, bigint>('squares');

for (const n of [3, 12, 4_000_000_000]) squares.set(n, BigInt(n) ** 2n);
console.log(`12 squared is ${squares.get(12)}`);
console.log(`13 is ${squares.has(13) ? '' : 'not '}there; there are ${squares.size}`);
for (const [n, square] of [...squares.entries()].sort(([a], [b]) => a - b)) console.log(`${n} -> ${square}`);
squares.clear();
console.log(`after clear() there are ${squares.size}`);
b.close();
