import { createHash } from 'node:crypto';
import { access, constants, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { once } from './cache.mjs';
import { VmError } from './errors.mjs';
import { runOrThrow } from './process.mjs';

/** What the first stage needs before it can read the host's files; everything else is loaded from those. */
const MODULES = ['virtio_pci', 'virtio_console', '9pnet_virtio', '9p', 'overlay'];

const FILE = 0o100000;
const FOLDER = 0o040000;

/**
 * An archive in the format that the kernel unpacks at boot ("newc" cpio), made of files and folders that belong to
 * root. A folder stands before what is in it.
 * @param {{ path: string, mode: number, data?: Uint8Array }[]} entries `mode` includes the kind of file
 * @returns {Buffer}
 */
export function cpio(entries) {
  const parts = [];
  const append = (bytes) => parts.push(bytes, Buffer.alloc(-bytes.length & 3));
  const all = [...entries, { path: 'TRAILER!!!', mode: 0 }];
  all.forEach(({ path, mode, data = new Uint8Array() }, index) => {
    const name = Buffer.from(`${path}\0`);
    // Inode, mode, uid, gid, links, mtime, size, device (2), device it stands for (2), length of the name, checksum.
    const fields = [index + 1, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
    append(Buffer.concat([Buffer.from(header), name]));
    append(data);
  });
  return Buffer.concat(parts);
}

/** The name a module goes by: `kernel/fs/9p/9p.ko.xz` → `9p`; the kernel takes - and _ for the same. */
const moduleName = (path) =>
  path
    .replace(/^.*\//, '')
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_');

/**
 * The module files to load, each after those it needs, without what is built in.
 * @param {string[]} names `virtio_pci`
 * @param {string} dep the text of modules.dep
 * @param {string} builtin the text of modules.builtin
 * @returns {string[]} paths below `/lib/modules/<release>`
 * @throws VmError for a module that the kernel does not have
 */
export function moduleOrder(names, dep, builtin) {
  const needs = new Map();
  const paths = new Map();
  for (const line of dep.split('\n')) {
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const path = line.slice(0, colon);
    paths.set(moduleName(path), path);
    needs.set(
      path,
      line
        .slice(colon + 1)
        .split(' ')
        .filter(Boolean),
    );
  }
  const builtIn = new Set(builtin.split('\n').filter(Boolean).map(moduleName));
  const order = new Set();
  const visit = (path) => {
    if (order.has(path)) return;
    for (const need of needs.get(path)) visit(need);
    order.add(path);
  };
  for (const name of names) {
    const path = paths.get(name.replaceAll('-', '_'));
    if (path) visit(path);
    else if (!builtIn.has(name.replaceAll('-', '_'))) throw new VmError(`the kernel has no module '${name}'`);
  }
  return [...order];
}

/** @param {string} program */
async function findProgram(program) {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/bin']) {
    const path = join(folder, program);
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  return undefined;
}

/**
 * A busybox that needs no libraries.
 * @throws VmError where there is none
 */
async function readBusybox() {
  const path = await findProgram('busybox');
  const bytes = path && (await readFile(path));
  // A dynamically linked ELF file names its loader.
  if (bytes && !bytes.includes('/ld-linux')) return bytes;
  throw new VmError(
    bytes ? `${path} is not statically linked` : 'busybox is not installed',
    'Install the static one with: apt-get install busybox-static',
  );
}

/** @param {string} path */
async function readModule(path) {
  if (path.endsWith('.ko')) return readFile(path);
  return runOrThrow('xz', ['--decompress', '--stdout', path]);
}

/**
 * The archive that a kernel starts from: busybox, the modules that reach the host's files, and guest/init.
 * @param {import('./kernels.mjs').Kernel} kernel
 * @returns {Promise<string>} its path in the kernel's cache folder
 */
export async function getInitramfs(kernel) {
  const init = await readFile(fileURLToPath(new URL('guest/init', import.meta.url)));
  const busybox = await readBusybox();
  // Its name holds what it was made of: another busybox or another script makes another archive.
  const hash = createHash('sha256').update(init).update(busybox).update(MODULES.join()).digest('hex').slice(0, 16);
  return once(join(kernel.folder, `initramfs-${hash}.cpio`), async (partial) => {
    const [dep, builtin] = await Promise.all(
      ['modules.dep', 'modules.builtin'].map((file) => readFile(join(kernel.modules, file), 'utf8')),
    );
    const modules = await Promise.all(
      moduleOrder(MODULES, dep, builtin).map(async (path, index) => ({
        // guest/init loads them in the order of their names.
        path: `modules/${String(index).padStart(2, '0')}-${moduleName(path)}.ko`,
        mode: FILE | 0o644,
        data: await readModule(join(kernel.modules, path)),
      })),
    );
    const folders = ['bin', 'dev', 'proc', 'sys', 'modules', 'host', 'rw', 'root'];
    await writeFile(
      partial,
      cpio([
        ...folders.map((path) => ({ path, mode: FOLDER | 0o755 })),
        { path: 'bin/busybox', mode: FILE | 0o755, data: busybox },
        { path: 'init', mode: FILE | 0o755, data: init },
        ...modules,
      ]),
    );
  });
}
