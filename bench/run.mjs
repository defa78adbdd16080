// `npm run bench -- NAME [options]` runs bench/NAME.mjs; without a name it lists them.
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const names = readdirSync(here)
  .filter((file) => file.endsWith('.mjs') && !['run.mjs', 'report.mjs'].includes(file))
  .map((file) => file.slice(0, -4));
const [name, ...options] = process.argv.slice(2);

if (!names.includes(name)) {
  console.error(`usage: npm run bench -- ${names.join('|')} [options]`);
  process.exit(2);
}
if (!existsSync(new URL('../lib/index.js', import.meta.url))) {
  console.error('lib/ is not built: run npm run build first');
  process.exit(2);
}
process.argv = [process.argv[0], `${here}${name}.mjs`, ...options];
await import(`./${name}.mjs`);
