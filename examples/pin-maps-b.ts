// Opens the maps that pin-maps-a has pinned, without its program: reads its counts, and adds one of its own.
// `pin-maps-b [FOLDER]`
import { existsSync } from 'node:fs';
import { Table } from 'tsbcc';
import { operands } from './lib/limits';

const folder = operands[0] ?? '/sys/fs/bpf/tsbcc-example';
if (!existsSync(`${folder}/total`)) {
  console.error(`nothing is pinned in ${folder}: run pin-maps-a first`);
  process.exit(1);
}

// How keys and leaves lie in memory; without this they are bytes, for nothing in the kernel tells the types of these maps.
const types = {
  keyType: { kind: 'int', size: 4, signed: false } as const,
  leafType: { kind: 'int', size: 8, signed: false } as const,
};
const byPid = Table.fromPin(`${folder}/by_pid`, types);
const total = Table.fromPin(`${folder}/total`, types);

console.log(`total: ${total.get(0)}`);
for (const [pid, count] of byPid.entries()) console.log(`pid ${pid}: ${count}`);
byPid.set(process.pid, 1n);
total.set(0, (total.get(0) ?? 0n) + 1n);
console.log(`total after mine: ${total.get(0)}, of which ${byPid.get(process.pid)} by pid ${process.pid}`);
byPid.close();
total.close();
