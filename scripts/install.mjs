/*
 * Builds the native addons with node-gyp, and only when something they are made of has changed: the install script of
 * the package, and `npm run build:native` in a checkout. `--force` builds in any case.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeCode } from './code-cache.mjs';
import { libraries, libraryVersion, MissingLibrary } from './pkg-config.mjs';

const root = path.dirname(path.dirname(realpathSync(fileURLToPath(import.meta.url))));
const build = path.join(root, 'build');
const products = ['runtime.node', 'compiler'].map((name) => path.join(build, 'Release', name));
const stampFile = path.join(build, 'native.stamp');

const TOOLS = [
  {
    programs: ['c++', 'g++', 'clang++'],
    variable: 'CXX',
    name: 'a C++20 compiler',
    debian: 'g++',
    fedora: 'gcc-c++',
    arch: 'gcc',
  },
  { programs: ['make', 'gmake'], variable: 'MAKE', name: 'make', debian: 'make', fedora: 'make', arch: 'make' },
  {
    programs: ['python3', 'python'],
    variable: 'PYTHON',
    name: 'python3',
    debian: 'python3',
    fedora: 'python3',
    arch: 'python',
  },
];

function inPath(program) {
  return (process.env.PATH ?? '').split(path.delimiter).some((folder) => {
    try {
      accessSync(path.join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function checkTools() {
  for (const { programs, variable, name, debian, fedora, arch } of TOOLS) {
    if (process.env[variable] || programs.some(inPath)) continue;
    throw new MissingLibrary(
      [
        `${name} was not found, and the native addons are built with it`,
        `  Debian, Ubuntu: apt-get install ${debian}`,
        `  Fedora:         dnf install ${fedora}`,
        `  Arch:           pacman -S ${arch}`,
      ].join('\n'),
    );
  }
}

function filesBelow(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

/** Everything the addons depend on. Node's version is not in it: they speak Node-API, which is stable across versions. */
function fingerprint() {
  const hash = createHash('sha256');
  for (const { name } of libraries) hash.update(`${name} ${libraryVersion(name)}\n`);
  const require = createRequire(path.join(root, 'package.json'));
  hash.update(`node-addon-api ${require('node-addon-api/package.json').version} ${process.arch}\n`);
  for (const file of [path.join(root, 'binding.gyp'), ...filesBelow(path.join(root, 'native'))]) {
    hash.update(`${path.relative(root, file)}\n`).update(readFileSync(file));
  }
  return hash.digest('hex');
}

/** npm carries a node-gyp that fits its Node; the newest of the registry may not. */
function findNodeGyp() {
  const inside = ['node_modules', 'node-gyp', 'bin', 'node-gyp.js'];
  const npmHomes = [];
  if (process.env.npm_execpath) npmHomes.push(path.resolve(process.env.npm_execpath, '../..'));
  npmHomes.push(path.resolve(process.execPath, '../../lib/node_modules/npm'), '/usr/share/nodejs/npm');
  for (const folder of (process.env.PATH ?? '').split(path.delimiter)) {
    const npm = path.join(folder, 'npm');
    if (existsSync(npm)) npmHomes.push(path.resolve(realpathSync(npm), '../..'));
  }
  const candidates = npmHomes.flatMap((home) => [
    path.join(home, ...inside),
    path.join(home, '..', ...inside.slice(1)),
  ]);
  const script = [process.env.npm_config_node_gyp, ...candidates].find((file) => file && existsSync(file));
  if (script) return { program: process.execPath, args: [script] };
  if (inPath('node-gyp')) return { program: 'node-gyp', args: [] };
  throw new MissingLibrary(
    'node-gyp was not found beside npm nor in PATH\n  install npm, or run: npm install -g node-gyp',
  );
}

/** Node's own headers where they are installed with it, so that nothing need be downloaded. */
function nodeDir() {
  const prefix = path.resolve(realpathSync(process.execPath), '../..');
  return existsSync(path.join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : [];
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Two builds in one folder spoil each other's object files: the second waits for the first. */
async function withLock(action) {
  mkdirSync(build, { recursive: true });
  const lock = path.join(build, 'native.lock');
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const owner = existsSync(lock) ? Number(readFileSync(lock, 'utf8')) : 0;
      if (owner > 0 && !alive(owner)) rmSync(lock, { force: true });
      else await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
  try {
    return await action();
  } finally {
    rmSync(lock, { force: true });
  }
}

/** Builds what is out of date; true where there was something to build. Throws MissingLibrary with a message for people. */
export async function buildNative({ force = false } = {}) {
  const isFresh = () =>
    products.every((file) => existsSync(file)) &&
    existsSync(stampFile) &&
    readFileSync(stampFile, 'utf8') === fingerprint();
  if (!force && isFresh()) return false;
  checkTools();
  const { program, args } = findNodeGyp();
  return withLock(async () => {
    if (!force && isFresh()) return false;
    console.log('tsbcc: building the native addons (a minute or two)');
    const stamp = fingerprint();
    rmSync(stampFile, { force: true });
    const steps = [...args, 'configure', 'build', '--jobs', String(availableParallelism()), ...nodeDir()];
    const { status, error, stdout, stderr } = spawnSync(program, steps, {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    if (error || status !== 0)
      throw new Error(
        `${stdout}${stderr}\nthe native addons did not build: ${error ?? `node-gyp exited with ${status}`}`,
      );
    writeFileSync(stampFile, stamp);
    return true;
  });
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    if (process.platform !== 'linux')
      throw new MissingLibrary('BPF is a part of Linux; there is nothing to build elsewhere');
    for (const { name } of libraries) libraryVersion(name);
    await buildNative({ force: process.argv.includes('--force') });
    makeCode();
  } catch (error) {
    console.error(`tsbcc: ${error.message}`);
    process.exitCode = 1;
  }
}
