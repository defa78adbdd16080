import { readFileSync, statSync } from 'node:fs';
import { createRequire, wrap } from 'node:module';
import * as path from 'node:path';
import { runInThisContext, Script } from 'node:vm';

/*
 * What lib/index.js is: it exports what lib/index.bundle.js, the library, exports. V8 takes longer to parse that file than
 * all else in a start from the cache of programs takes; so it is given what it made of it when the package was installed,
 * by scripts/code-cache.mjs.
 */

const FILE = path.join(__dirname, 'index.bundle.js');

/** What V8 made of the library; undefined where that is missing, or was made of an older one. */
function readCode(): Buffer | undefined {
  // Beside the addon, which is trusted as much.
  const file = path.join(__dirname, '..', 'build', 'Release', `index-${process.versions.v8}.code`);
  try {
    return statSync(file).mtimeMs >= statSync(FILE).mtimeMs ? readFileSync(file) : undefined;
  } catch {
    return undefined;
  }
}

/** The library as Node would run it. A V8 with other flags refuses the code and parses the text. */
function run(cachedData: Buffer): unknown {
  const script = new Script(wrap(readFileSync(FILE, 'utf8')), { filename: FILE, cachedData });
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(FILE), module, FILE, __dirname);
  return module.exports;
}

/** Node itself must run it where source maps are wanted, or where the caller's realm is another (in jest): it knows both. */
const byNode = process.sourceMapsEnabled || runInThisContext('globalThis') !== globalThis;
const code = byNode ? undefined : readCode();
module.exports = code ? run(code) : require(FILE);
