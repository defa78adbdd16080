/*
 * Whether a second run of tests took its programs from the cache that a first one filled:
 *
 *   node scripts/cache-use.mjs note FOLDER FILE     after the first: writes down what the cache holds
 *   node scripts/cache-use.mjs check FOLDER FILE    after the second: status 1 where a program was compiled again
 *
 * A program whose text or flags differ at every run (the name of a temporary folder) is compiled each time.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { requireSource } from './bundle.mjs';

const { decodeProgram } = requireSource('program/codec');
const [command, folder, file] = process.argv.slice(2);

/** Before such a text stand readers of arguments, which tell places by addresses: a process's are random. */
const NEW_AT_EVERY_RUN = /bpf_usdt_read/;

/** Every entry: what it was compiled from, and when it was made and used. */
const entries = readdirSync(folder).map((name) => {
  const { ino, mtimeMs } = statSync(path.join(folder, name));
  const { text, cflags } = decodeProgram(readFileSync(path.join(folder, name))).origin;
  return { name, ino, mtimeMs, source: JSON.stringify([text, cflags]) };
});

if (command === 'note') {
  writeFileSync(file, JSON.stringify(entries));
  console.log(`${entries.length} programs in the cache`);
} else {
  const before = new Map(JSON.parse(readFileSync(file, 'utf8')).map((entry) => [entry.name, entry]));
  const sources = new Set([...before.values()].map(({ source }) => source));
  const compiled = entries.filter(({ name, ino }) => before.get(name)?.ino !== ino);
  const again = compiled.filter(
    ({ name, source }) => before.has(name) || (sources.has(source) && !NEW_AT_EVERY_RUN.test(source)),
  );
  const used = entries.filter(({ name, mtimeMs }) => before.has(name) && mtimeMs > before.get(name).mtimeMs);
  for (const { source } of again) console.log(`compiled again: ${JSON.parse(source).join(' ')}`);
  console.log(
    `${used.length} of ${before.size} programs came from the cache, ${again.length} were compiled again; ` +
      `${compiled.length - again.length} have something in their text that differs at every run`,
  );
  process.exitCode = again.length === 0 && used.length > 2 * compiled.length ? 0 : 1;
}
