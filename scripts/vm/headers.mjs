import { join } from 'node:path';
import { once } from './cache.mjs';
import { unpackPackages } from './kernels.mjs';
import { runOrThrow } from './process.mjs';

/**
 * The headers of a kernel, which Debian splits in two trees: what depends on the configuration, and the rest.
 * @typedef {object} KernelHeaders
 * @property {string} folder holds `usr/src/linux-headers-…`, as the packages lay it out
 * @property {string} build the folder that `/lib/modules/<release>/build` leads to
 * @property {string} source the folder that `/lib/modules/<release>/source` leads to
 * @property {string} image an ext2 image of `folder`, for a VM to mount
 */

/**
 * The headers of a kernel, fetched into its cache folder the first time they are asked for.
 * @param {import('./kernels.mjs').Kernel} kernel
 * @param {{ progress?: (line: string) => void }} [options]
 * @returns {Promise<KernelHeaders>}
 */
export async function getHeaders(kernel, { progress = () => {} } = {}) {
  const { release } = kernel;
  const flavour = `linux-headers-${release}`;
  const common = `linux-headers-${release.replace(/-amd64$/, '')}-common`;
  const folder = await once(join(kernel.folder, 'headers'), async (partial) => {
    progress(`fetching ${flavour} and ${common} (about 15 MB)`);
    await unpackPackages([flavour, common], partial);
  });
  const image = await once(join(kernel.folder, 'headers.ext2'), (partial) => makeImage(folder, partial));
  return { folder, build: join(folder, 'usr/src', flavour), source: join(folder, 'usr/src', common), image };
}

/**
 * Makes a file system image of a folder. It is ext2 because mke2fs is on every Debian and can fill it without being
 * root, and uncompressed because an emulated processor unpacks slowly.
 * @param {string} folder
 * @param {string} image
 */
async function makeImage(folder, image) {
  const options = ['-q', '-t', 'ext2', '-m', '0', '-b', '4096', '-N', '40000', '-E', 'root_owner=0:0'];
  await runOrThrow('mke2fs', [...options, '-d', folder, image, '256M']);
}
