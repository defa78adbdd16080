/*
 * Keeps what V8 makes of lib/index.bundle.js beside the native addon, for src/start.ts: a part of the install script, and
 * of `npm run build` in a checkout. Without it the library is parsed at every start.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';

const script = realpathSync(fileURLToPath(import.meta.url));
const root = path.dirname(path.dirname(script));
const bundle = path.join(root, 'lib', 'index.bundle.js');
const product = path.join(root, 'build', 'Release', `index-${process.versions.v8}.code`);

/** Runs the library once, so that the functions that run whenever it is required are in the code. */
function make() {
  const text = readFileSync(bundle);
  const library = new Script(Module.wrap(text.toString()), { filename: bundle });
  const module = { exports: {} };
  library.runInThisContext()(module.exports, createRequire(bundle), module, bundle, path.dirname(bundle));
  const temporary = `${product}.${process.pid}`;
  writeFileSync(temporary, Buffer.concat([text, library.createCachedData()]));
  renameSync(temporary, product);
}

/** Makes it where there is a library. It is for this V8, without flags. */
export function makeCode() {
  if (!existsSync(bundle)) return;
  const { NODE_OPTIONS: _, ...env } = process.env;
  spawnSync(process.execPath, [script], { env, stdio: ['ignore', 'ignore', 'inherit'] });
}

if (process.argv[1] && realpathSync(process.argv[1]) === script) make();
