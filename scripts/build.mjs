/*
 * Brings a checkout up to date: npm packages, native addons, lib/ and the compiled examples, each only when it is out of
 * date, so that a second run costs a tenth of a second.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeCode } from './code-cache.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const at = (...parts) => path.join(root, ...parts);

function run(program, args, what) {
  console.log(`tsbcc: ${what}`);
  const { status, error, signal } = spawnSync(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (error || status !== 0) {
    console.error(`tsbcc: failed: ${program} ${args.join(' ')} (${error ?? signal ?? `exit status ${status}`})`);
    process.exit(1);
  }
}

/** Whether node_modules holds what package-lock.json asks for, by npm's own record of what it installed. */
function packagesInstalled() {
  const record = at('node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const wanted = JSON.parse(readFileSync(at('package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages;
  return Object.entries(wanted).every(
    ([name, { version, optional }]) =>
      name === '' || installed[name]?.version === version || (optional && !installed[name]),
  );
}

function sources(folder, endings) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && endings.some((ending) => entry.name.endsWith(ending)))
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

function digest(files) {
  const hash = createHash('sha256');
  for (const file of files) hash.update(`${path.relative(root, file)}\n`).update(readFileSync(file));
  return hash.digest('hex');
}

/** Output whose source has gone would still be required and packed; `scripts`: the only ones that there may be. */
function removeOrphans(from, to, scripts) {
  for (const file of sources(to, ['.js', '.d.ts', '.js.map'])) {
    const name = path.relative(to, file).replace(/(\.js\.map|\.d\.ts|\.js)$/, '');
    const wanted =
      scripts && !file.endsWith('.d.ts') ? scripts.includes(name) : existsSync(path.join(from, `${name}.ts`));
    if (!wanted) rmSync(file);
  }
}

/** `trees`: folders of sources, each with the folder that its output goes to; `scripts`: what bundle.mjs makes there. */
async function compile({ name, project, trees, also = [], scripts }) {
  const stampFile = at('build', `${name}.stamp`);
  const written = trees.flatMap(([from]) => sources(from, ['.ts']));
  const stamp = digest([...written, ...also, at(project), at('tsconfig.json'), at('package-lock.json')]);
  const present = trees.every(([, to]) => existsSync(to));
  if (present && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return;
  const tsc = createRequire(at('package.json')).resolve('typescript/bin/tsc');
  mkdirSync(at('build'), { recursive: true });
  const info = at('build', `${name}.tsbuildinfo`);
  // With the record of an earlier build, tsc would not write again what somebody has removed.
  if (!present) rmSync(info, { force: true });
  run(
    process.execPath,
    [tsc, '-p', project, '--incremental', '--tsBuildInfoFile', info],
    `compiling ${trees.map(([from]) => `${path.relative(root, from)}/`).join(' and ')}`,
  );
  if (scripts) {
    // Imported only now: on a fresh clone esbuild is not there before npm has run.
    const { bundleLibrary } = await import('./bundle.mjs');
    bundleLibrary();
  }
  for (const [from, to] of trees) removeOrphans(from, to, scripts);
  writeFileSync(stampFile, stamp);
}

// Not `npm ci`, which insists on entries for every platform's optional packages, and a registry may have some only.
if (!packagesInstalled()) {
  run('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts'], 'installing the npm packages');
}

// Imported only now: on a fresh clone its dependency is not there before npm has run.
const { buildNative } = await import('./install.mjs');
try {
  await buildNative();
} catch (error) {
  console.error(`tsbcc: ${error.message}`);
  process.exit(1);
}
await compile({
  name: 'lib',
  project: 'tsconfig.build.json',
  trees: [[at('src'), at('lib')]],
  also: [at('scripts', 'bundle.mjs'), ...sources(at('headers'), ['.h', '.txt'])],
  scripts: ['index', 'index.bundle', 'cli/main'],
});
makeCode();
await compile({
  name: 'examples',
  project: 'tsconfig.examples.json',
  trees: [
    [at('examples'), at('build', 'examples')],
    [at('docs', 'tutorial', 'answers'), at('build', 'docs', 'tutorial', 'answers')],
  ],
  also: sources(at('lib'), ['.d.ts']),
});
