import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

const COMPILER = fileURLToPath(new URL('../../build/Release/compiler', import.meta.url));

/** Runs the compiler ($1) where the kernel's tracefs is the folder $0. */
const WITH_TRACEFS =
  'mount --bind "$0" /sys/kernel/tracing && { [ ! -d /sys/kernel/debug/tracing ] || mount --bind "$0" /sys/kernel/debug/tracing; } && exec "$1"';

/** Milliseconds after which the rest of a request is not awaited any more: its asker was killed. */
const PATIENCE = 5000;

/** Whether this process may compile for others: libbcc makes maps while it compiles. */
export const canCompile = () => process.geteuid?.() === 0 && existsSync(COMPILER);

/** Debian's two header packages as the one tree that libbcc is pointed at, made of links. */
export async function joinHeaders({ build, source }, tree) {
  for (const folder of ['include', 'arch/x86/include']) {
    await mkdir(join(tree, folder), { recursive: true });
    for (const part of [source, build]) {
      for (const name of await readdir(join(part, folder))) {
        if (!existsSync(join(tree, folder, name))) await symlink(join(part, folder, name), join(tree, folder, name));
      }
    }
  }
  return tree;
}

async function run(command, { input, stdio = ['pipe', 'pipe', 'pipe', 'pipe'], ...options }) {
  const child = spawn(command[0], command.slice(1), { stdio, ...options });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const [[code], ...outputs] = await Promise.all([
    once(child, 'close'),
    ...child.stdio
      .slice(1)
      .filter(Boolean)
      .map((one) => buffer(one)),
  ]);
  return { code, outputs };
}

/**
 * Compiles what a VM asks for: guest/compiler is the other side.
 *
 * A request is `compile NAME TREE FORMATS SIZE`, a newline, so many bytes of a tar archive with the headers (none: the
 * kernel's header packages), of one with the formats of its tracepoints as in tracefs, and the request that the compiler
 * reads. The answer is `NAME STATUS OUT ERR RESULT` and the bytes.
 */
export class CompileServer {
  #port;
  #packages;
  #folder;
  #bytes = Buffer.alloc(0);
  #forget;
  /** How many programs, and the milliseconds that it took. */
  compiled = { programs: 0, milliseconds: 0 };

  /**
   * @param {import('node:net').Socket} port
   * @param {import('./headers.mjs').KernelHeaders} [packages]
   */
  constructor(port, packages) {
    this.#port = port;
    this.#packages = packages;
    this.#folder = mkdtemp(join(tmpdir(), 'tsbcc-compile-'));
    port.on('data', (chunk) => this.#take(chunk));
  }

  #take(chunk) {
    clearTimeout(this.#forget);
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    const head = /compile (\S+) (\d+) (\d+) (\d+)\n/.exec(this.#bytes.toString('latin1', 0, 4096));
    if (head) {
      const parts = [];
      let end = head.index + head[0].length;
      for (const size of head.slice(2).map(Number)) {
        parts.push(this.#bytes.subarray(end, end + size));
        end += size;
      }
      if (this.#bytes.length >= end) {
        this.#bytes = Buffer.alloc(0);
        this.#answer(head[1], ...parts).catch(() => this.#port.write(`${head[1]} 255 0 0 0\n`));
        return;
      }
    }
    this.#forget = setTimeout(() => {
      this.#bytes = Buffer.alloc(0);
    }, PATIENCE);
  }

  async #answer(name, archive, formats, request) {
    const started = performance.now();
    const tree = await this.#tree(name, archive);
    const tracefs = await this.#unpack(`${name.replace(/\W/g, '-')}-tracing`, formats);
    const { code, outputs } = await run(['unshare', '--mount', 'sh', '-c', WITH_TRACEFS, tracefs, COMPILER], {
      input: request,
      env: { ...process.env, BCC_KERNEL_SOURCE: tree },
    });
    if (code === 0) {
      this.compiled.programs++;
      this.compiled.milliseconds += performance.now() - started;
    }
    this.#port.write(`${name} ${code ?? 255} ${outputs.map(({ length }) => length).join(' ')}\n`);
    for (const output of outputs) this.#port.write(output);
    if (archive.length > 0) await rm(tree, { recursive: true, force: true });
    await rm(tracefs, { recursive: true, force: true });
  }

  async #tree(name, archive) {
    if (archive.length > 0) return this.#unpack(name.replace(/\W/g, '-'), archive);
    if (!this.#packages) throw new Error('no header packages');
    const tree = join(await this.#folder, 'packages');
    return existsSync(tree) ? tree : joinHeaders(this.#packages, tree);
  }

  async #unpack(name, archive) {
    const folder = join(await this.#folder, name);
    await mkdir(folder);
    await writeFile(`${folder}.tar`, archive);
    await run(['tar', '-C', folder, '-xf', `${folder}.tar`], { stdio: ['pipe', 'ignore', 'inherit'] });
    await rm(`${folder}.tar`);
    return folder;
  }

  async close() {
    clearTimeout(this.#forget);
    this.#port.destroy();
    await rm(await this.#folder, { recursive: true, force: true });
  }
}
