/*
 * Bundles a module of src/ with everything below it into one file of JavaScript: a program that starts in milliseconds
 * cannot read a hundred. `bundle` is what lib/ is made with; `requireSource` is for tests and benchmarks that want a part
 * of the library that is not public.
 */
import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);

/** As src/kernel/headers/generation.ts has it. */
function headersGeneration() {
  const hash = createHash('sha256');
  for (const folder of ['src/kernel/headers', 'headers']) {
    for (const file of readdirSync(path.join(root, folder)).sort()) {
      hash.update(readFileSync(path.join(root, folder, file))).update('\0');
    }
  }
  return hash.digest('hex');
}

/**
 * esbuild gives every module that says `import * as fs` a copy of fs with a getter for each name, in case that it had a
 * default export. Node's own modules need none.
 */
function plainBuiltins(text) {
  return text.replace(/__toESM\((require\("node:[\w/]+"\))\)/g, '$1');
}

/** Comments are all that is left in other characters, for which V8 would take two bytes for each of the text. */
function plainComments(text) {
  return text.replace(/[^\0-\x7f]/g, '.');
}

/** The line by which `import { … }` finds what is exported. */
function exportNames(text) {
  return /^0 && \(module\.exports = \{[^}]*\}\);$/m.exec(text)[0];
}

/**
 * lib/: the library as index.bundle.js, and index.js, which starts it; the command as cli/main.js.
 */
export function bundleLibrary() {
  const library = bundle('index', path.join('lib', 'index.bundle.js'));
  const start = bundle('start', path.join('lib', 'index.js'));
  appendFileSync(start, `${exportNames(readFileSync(library, 'utf8'))}\n`);
  bundle('cli/main', path.join('lib', 'cli', 'main.js'));
}

/** `entry` without its ending, relative to src/; `outfile` relative to the checkout. Returns the bundle's path. */
export function bundle(entry, outfile) {
  const file = path.join(root, outfile);
  const { outputFiles } = buildSync({
    absWorkingDir: root,
    entryPoints: [path.join('src', `${entry}.ts`)],
    outfile: file,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    define: { TSBCC_HEADERS_GENERATION: JSON.stringify(headersGeneration()) },
    // Errors and classes are known by name.
    keepNames: true,
    // src/ is in the package beside lib/.
    sourcemap: true,
    sourcesContent: false,
    logLevel: 'warning',
    write: false,
  });
  for (const { path: output, text } of outputFiles) {
    mkdirSync(path.dirname(output), { recursive: true });
    if (!output.endsWith('.js')) writeFileSync(output, text);
    else writeFileSync(output, plainComments(plainBuiltins(text)));
  }
  return file;
}

/** Bundles a module of src/ and writes it where it finds the package; its path, for processes that require it. */
export function bundleSource(entry) {
  return bundle(entry, path.join('build', 'sources', `${entry}.js`));
}

export function requireSource(entry) {
  return require(bundleSource(entry));
}
