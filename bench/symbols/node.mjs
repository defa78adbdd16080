// Our side of bench/symbols.mjs: prints milliseconds of every round, as one line of JSON.
import { readFileSync } from 'node:fs';
import { requireSource } from '../../scripts/bundle.mjs';

const { ksym, sym, SymbolCache } = requireSource('symbols');
const { addresses: count, rounds } = JSON.parse(process.argv[2]);

const functions = readFileSync('/proc/kallsyms', 'latin1')
  .split('\n')
  .filter((line) => / [tT] /.test(line))
  .map((line) => BigInt(`0x${line.split(' ', 1)[0]}`));
const kernel = Array.from({ length: count }, (_, i) => functions[(i * 7919) % functions.length] + 3n);

function time(work) {
  const start = performance.now();
  work();
  return performance.now() - start;
}

/** The length of all names: a result that cannot be left out. */
function total(names) {
  let length = 0;
  for (const name of names) length += name.length;
  if (length < names.length) throw new Error('names are missing');
}

const each = (address, resolve) => () => total(address.map(resolve));
const all = { showModule: true, showOffset: true };
const results = { start: [time(() => ksym(kernel[0]))] };
results.first = [time(each(kernel, (address) => ksym(address)))];
const timed = (work) => Array.from({ length: rounds }, () => time(work));
results.ksym = timed(each(kernel, (address) => ksym(address)));
results.ksymFull = timed(each(kernel, (address) => ksym(address, all)));

const maps = readFileSync('/proc/self/maps', 'latin1');
const library = /\S*\/libc\.so\.6$/m.exec(maps)[0];
const malloc = new SymbolCache(process.pid).resolveName(library, 'malloc');
const user = Array.from({ length: count }, (_, i) => malloc + BigInt((i * 17) % 8192));
results.user = timed(each(user, (address) => sym(address, process.pid, all)));
console.log(JSON.stringify(results));
