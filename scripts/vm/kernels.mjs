import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readBtf, unpackKernel } from './bzimage.mjs';
import { cacheFolder, exists, once } from './cache.mjs';
import { VmError } from './errors.mjs';
import { run, runOrThrow } from './process.mjs';

/** Where apt keeps what it knows; its time stamp tells whether an earlier answer still holds. */
const APT_LISTS = '/var/lib/apt/lists';

/**
 * The kernels that can be asked for by name, and the Debian metapackages that may bring each: the first whose
 * dependency is a kernel of that version is taken (linux-image-amd64 is 6.1 on Debian 12 and another one elsewhere).
 * @type {Readonly<Record<string, readonly string[]>>}
 */
export const KERNELS = Object.freeze({
  6.1: ['linux-image-amd64', 'linux-image-6.1-amd64'],
  6.12: ['linux-image-6.12-amd64', 'linux-image-amd64'],
});

/** The names in KERNELS, oldest first. */
export const kernelNames = Object.freeze(
  Object.keys(KERNELS).sort((a, b) => a.localeCompare(b, undefined, { numeric: true })),
);

/**
 * A kernel in the cache folder. Every path is absolute.
 * @typedef {object} Kernel
 * @property {string} name as asked for: `6.1`
 * @property {string} release what `uname -r` says in it: `6.1.0-56-amd64`
 * @property {string} folder where all of it stands in the cache
 * @property {string} vmlinuz the compressed image, as Debian ships it
 * @property {string} vmlinux the uncompressed image (an ELF file without symbols)
 * @property {string} btf its types: what `/sys/kernel/btf/vmlinux` holds while it runs
 * @property {string} config its build configuration
 * @property {string} systemMap its symbols
 * @property {string} modules its `/lib/modules/<release>`, with the indexes that depmod makes
 */

/**
 * The kernel release that a metapackage depends on.
 * @param {string} dependsOutput what `apt-cache depends <metapackage>` prints
 * @param {string} name the version wanted, `6.1`
 * @returns {string | undefined} `6.1.0-56-amd64`, or nothing where the package brings another version
 */
export function releaseFromDepends(dependsOutput, name) {
  for (const [, release] of dependsOutput.matchAll(/^\s*\|?Depends: linux-image-(\d\S*-amd64)$/gm)) {
    if (release.startsWith(`${name}.`)) return release;
  }
  return undefined;
}

/**
 * @param {string} name
 * @returns {readonly string[]} the metapackages of a kernel
 * @throws VmError for a name that is not in KERNELS
 */
export function metapackages(name) {
  if (Object.hasOwn(KERNELS, name)) return KERNELS[name];
  throw new VmError(`there is no kernel called '${name}'`, `Known are: ${kernelNames.join(', ')}`);
}

/** @param {string} name */
async function askApt(name) {
  const packages = metapackages(name);
  for (const metapackage of packages) {
    const { status, stdout } = await run('apt-cache', ['depends', metapackage]);
    const release = status === 0 ? releaseFromDepends(stdout.toString(), name) : undefined;
    if (release) return release;
  }
  throw new VmError(
    `apt offers no Linux ${name} (looked at ${packages.join(', ')})`,
    'Run apt-get update as root, and see that the distribution is Debian 12 with its security archive.',
  );
}

/** @param {string} file */
async function readJson(file) {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/**
 * The current release of a kernel, as apt knows it. Asking apt takes most of a second, so its answer is kept until
 * apt's own lists change.
 * @param {string} name `6.1`
 * @param {string} [cache]
 * @returns {Promise<string>} `6.1.0-56-amd64`
 */
export async function currentRelease(name, cache = cacheFolder()) {
  metapackages(name);
  const lists = await stat(APT_LISTS).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  );
  const file = join(cache, `current-${name}.json`);
  const known = await readJson(file);
  if (known && lists !== undefined && known.lists === lists) return known.release;
  const release = await askApt(name);
  await mkdir(cache, { recursive: true });
  await writeFile(`${file}.${process.pid}`, JSON.stringify({ release, lists }));
  await rename(`${file}.${process.pid}`, file);
  return release;
}

/**
 * Downloads Debian packages and unpacks them into `folder`, without installing anything.
 * @param {string[]} packages
 * @param {string} folder
 */
export async function unpackPackages(packages, folder) {
  await mkdir(folder, { recursive: true });
  const downloads = await mkdtemp(`${folder}-debs-`);
  try {
    // As root, apt hands downloads to the user _apt, who may not write below root's home.
    const sandbox = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : [];
    await runOrThrow('apt-get', ['--quiet=2', ...sandbox, 'download', ...packages], {
      cwd: downloads,
      hint: 'If the package is gone from the archive, apt-get update (as root) brings the list up to date.',
    });
    for (const file of await readdir(downloads)) await runOrThrow('dpkg-deb', ['-x', join(downloads, file), folder]);
    // Files below /boot are for root alone; they come from a public archive, and tests may run as somebody else.
    const boot = join(folder, 'boot');
    if (await exists(boot)) for (const file of await readdir(boot)) await chmod(join(boot, file), 0o644);
  } finally {
    await rm(downloads, { recursive: true, force: true });
  }
}

/**
 * @param {string} name
 * @param {string} release
 * @param {string} folder
 * @returns {Kernel}
 */
function describe(name, release, folder) {
  return {
    name,
    release,
    folder,
    vmlinuz: join(folder, 'image/boot', `vmlinuz-${release}`),
    vmlinux: join(folder, 'image/boot', `vmlinux-${release}`),
    btf: join(folder, 'vmlinux.btf'),
    config: join(folder, 'image/boot', `config-${release}`),
    systemMap: join(folder, 'image/boot', `System.map-${release}`),
    modules: join(folder, 'image/lib/modules', release),
  };
}

/**
 * A stock Debian kernel, fetched into the cache folder the first time it is asked for.
 * @param {string} name `6.1` or `6.12`
 * @param {{ cache?: string, progress?: (line: string) => void }} [options]
 * @returns {Promise<Kernel>}
 * @throws VmError where the name is unknown, apt does not offer it, or a tool is missing
 */
export async function getKernel(name, { cache = cacheFolder(), progress = () => {} } = {}) {
  if (process.arch !== 'x64') {
    throw new VmError(`VMs are made for x86-64 only, and this is ${process.arch}`, 'Use an x86-64 machine.');
  }
  const release = await currentRelease(name, cache);
  const kernel = describe(name, release, join(cache, release));
  await once(join(kernel.folder, 'image'), async (partial) => {
    progress(`fetching linux-image-${release} (about 100 MB)`);
    await unpackPackages([`linux-image-${release}`], partial);
    await runOrThrow('depmod', ['--basedir', partial, release]);
  });
  await once(kernel.vmlinux, async (partial) => writeFile(partial, await unpackKernel(await readFile(kernel.vmlinuz))));
  await once(kernel.btf, async (partial) => writeFile(partial, readBtf(await readFile(kernel.vmlinux))));
  return kernel;
}
