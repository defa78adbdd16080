/*
 * Finds libbcc and libbpf for the native build, and says which package is missing where one is.
 * binding.gyp calls it as a program (`node scripts/pkg-config.mjs --cflags libbcc libbpf`); install.mjs imports it.
 */
import { spawnSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What the addons are built against, with the oldest version that they are known to build with. */
export const libraries = [
  { name: 'libbcc', minimum: '0.26' },
  { name: 'libbpf', minimum: '1.1' },
];

const REMEDY = [
  '  Debian, Ubuntu: apt-get install pkg-config libbpfcc-dev libbpf-dev',
  '  Fedora:         dnf install pkgconf-pkg-config bcc-devel libbpf-devel',
  '  Arch:           pacman -S pkgconf bcc libbpf',
];

/** A build that cannot go on; the message is all that the reader needs. */
export class MissingLibrary extends Error {}

function query(...args) {
  const program = process.env.PKG_CONFIG || 'pkg-config';
  const { error, status, stdout } = spawnSync(program, args, { encoding: 'utf8' });
  if (error) throw new MissingLibrary([`${program} was not found; it comes with`, ...REMEDY].join('\n'));
  return { ok: status === 0, text: stdout.trim() };
}

/** Whether version `a` (`0.26.0`) is `b` or newer. */
export function atLeast(a, b) {
  const [left, right] = [a, b].map((version) => version.split(/[^0-9]+/).map(Number));
  for (let i = 0; i < right.length; i++) {
    const difference = (left[i] ?? 0) - right[i];
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** The installed version of a library; throws MissingLibrary where there is none or it is too old. */
export function libraryVersion(name) {
  const { minimum } = libraries.find((library) => library.name === name) ?? { minimum: '0' };
  const { ok, text } = query('--modversion', name);
  if (!ok)
    throw new MissingLibrary([`the headers of ${name} ${minimum} or newer are not installed`, ...REMEDY].join('\n'));
  // A build from a git checkout calls itself `0.29.1+hash`; one without tags calls itself by the hash alone.
  if (/^\d+\./.test(text) && !atLeast(text, minimum)) {
    throw new MissingLibrary(`${name} is ${text} here, and tsbcc needs ${minimum} or newer`);
  }
  return text;
}

/** The linker's arguments for the runtime addon: libbcc_bpf, which no .pc file describes, lies beside libbcc. */
function runtimeLibraries() {
  const folders = query('--libs-only-L', 'libbcc').text;
  return `${folders} -lbcc_bpf ${query('--libs', 'libbpf').text}`.trim();
}

const commands = {
  '--version': (name) => libraryVersion(name),
  '--cflags': (...names) => query('--cflags', ...names).text,
  '--libs-bpf': runtimeLibraries,
  '--libs': (...names) => query('--libs', ...names).text,
};

function main([command, ...names]) {
  if (!commands[command]) {
    console.error(`usage: pkg-config.mjs ${Object.keys(commands).join(' | ')} [library ...]`);
    process.exitCode = 2;
    return;
  }
  try {
    for (const { name } of libraries) libraryVersion(name);
    console.log(commands[command](...names));
  } catch (error) {
    if (!(error instanceof MissingLibrary)) throw error;
    console.error(`tsbcc: ${error.message}`);
    process.exitCode = 1;
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) main(process.argv.slice(2));
