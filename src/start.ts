import { readFileSync } from 'node:fs';
import { createRequire, wrap } from 'node:module';
import * as path from 'node:path';
import { runInThisContext, Script } from 'node:vm';

/*
 * What lib/index.js is: it exports what lib/index.bundle.js, the library, exports. V8 takes longer to parse that file than
 * all else in a start from the cache of programs takes; so it is given what it made of it when the package was installed,
 * by scripts/code-cache.mjs.
 */

const FILE = path.join(__dirname, 'index.bundle.js');

/**
 * What V8 made of this very text; undefined where that is missing, or was made of another. The file has the text before
 * the code, for V8 itself compares no more than lengths. It lies beside the addon, which is trusted as much.
 */
function readCode(text: Buffer): Buffer | undefined {
  try {
    const kept = readFileSync(path.join(__dirname, '..', 'build', 'Release', `index-${process.versions.v8}.code`));
    return kept.subarray(0, text.length).equals(text) ? kept.subarray(text.length) : undefined;
  } catch {
    return undefined;
  }
}

/** The library as Node would run it. A V8 with other flags refuses the code and parses the text. */
function run(text: Buffer, cachedData: Buffer): unknown {
  const script = new Script(wrap(text.toString()), { filename: FILE, cachedData });
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(FILE), module, FILE, __dirname);
  return module.exports;
}

/** Node itself must run it where source maps are wanted, or where the caller's realm is another (in jest): it knows both. */
const byNode = process.sourceMapsEnabled || runInThisContext('globalThis') !== globalThis;
const text = byNode ? undefined : readFileSync(FILE);
const code = text && readCode(text);
module.exports = text && code ? run(text, code) : require(FILE);
