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

/** Output whose source has gone would still be required and packed. */
function removeOrphans(from, to) {
  for (const file of sources(to, ['.js', '.d.ts', '.js.map'])) {
    const source = path.join(from, path.relative(to, file).replace(/(\.js\.map|\.d\.ts|\.js)$/, '.ts'));
    if (!existsSync(source)) rmSync(file);
  }
}

function compile({ name, project, from, to, also = [] }) {
  const stampFile = at('build', `${name}.stamp`);
  const stamp = digest([...sources(from, ['.ts']), ...also, at(project), at('tsconfig.json'), at('package-lock.json')]);
  if (existsSync(to) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return;
  const tsc = createRequire(at('package.json')).resolve('typescript/bin/tsc');
  mkdirSync(at('build'), { recursive: true });
  const info = at('build', `${name}.tsbuildinfo`);
  // With the record of an earlier build, tsc would not write again what somebody has removed.
  if (!existsSync(to)) rmSync(info, { force: true });
  run(
    process.execPath,
    [tsc, '-p', project, '--incremental', '--tsBuildInfoFile', info],
    `compiling ${path.relative(root, from)}/`,
  );
  removeOrphans(from, to);
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
compile({ name: 'lib', project: 'tsconfig.build.json', from: at('src'), to: at('lib') });
compile({
  name: 'examples',
  project: 'tsconfig.examples.json',
  from: at('examples'),
  to: at('build', 'examples'),
  also: sources(at('lib'), ['.d.ts']),
});
