import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { accessSync, constants, copyFileSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exists } from './cache.mjs';
import { CompileServer } from './compile-server.mjs';
import { VmDied, VmError } from './errors.mjs';
import { getHeaders } from './headers.mjs';
import { getInitramfs } from './initramfs.mjs';
import { jobText, shareTag } from './job.mjs';
import { getKernel } from './kernels.mjs';
import { startError } from './process.mjs';
import { UntilToken } from './stream.mjs';

/** The folder that package.json stands in, and that commands run in. */
export const projectFolder = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** How often a VM is booted that dies before its command begins. */
const MOST_BOOTS = 3;

/** How much of the boot console is kept, in bytes, to be shown when a VM fails. */
const CONSOLE_TAIL = 8192;

/**
 * How a VM's processor is to be had. A /dev/kvm alone does not prove that stock kernels run under it: where the
 * processor does not show the extension, the host is a guest itself, of a kind that they may hang under.
 * @param {string} [cpuinfo] the text of /proc/cpuinfo
 * @returns {'kvm' | 'tcg'}
 */
export function accelerator(cpuinfo = readFileSync('/proc/cpuinfo', 'latin1')) {
  if (!/^flags\s*:.*\b(vmx|svm)\b/m.test(cpuinfo)) return 'tcg';
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return 'kvm';
  } catch {
    return 'tcg';
  }
}

/**
 * @typedef {object} VmOptions
 * @property {string} kernel `6.1` or `6.12`
 * @property {string[]} command program and arguments; run as root, found through the host's PATH
 * @property {number} [memory] MiB, 2048 by default
 * @property {number} [cpus] 2 by default
 * @property {boolean} [headers] whether the kernel's headers are there; not by default
 * @property {boolean} [compile] compile on the host what the guest wants compiled; the host must be root
 * @property {Record<string, string>} [env] environment variables, besides HOME, PATH, TERM, LANG and TSBCC_VM
 * @property {string[]} [shares] folders of the host that the guest may write to, at the same paths
 * @property {number} [timeout] seconds after which the VM is ended, boot included; none by default
 * @property {number} [bootTimeout] seconds in which the command must have begun, 180 by default
 * @property {AbortSignal} [signal] ends the VM
 * @property {(line: string) => void} [progress] is told what goes on
 * @property {(chunk: Buffer) => void} [console] is given what the kernel prints
 * @property {NodeJS.WritableStream} [stdout] takes the command's output; process.stdout by default
 * @property {NodeJS.WritableStream} [stderr] takes what it writes to stderr; process.stderr by default
 */

/**
 * @typedef {object} VmResult
 * @property {number} status the command's exit status (128 + signal where it was killed); 124 after a timeout
 * @property {boolean} timedOut
 * @property {{ programs: number, milliseconds: number }} [compiled] what the host compiled
 * @property {number} bootSeconds from the start of QEMU to the start of the command
 * @property {number} seconds from the start of QEMU to its end
 */

/** QEMU's arguments that do not depend on the command. */
function qemuArguments({ kernel, initramfs, memory, cpus, headers, shares, jobFolder, compile }) {
  const accel = accelerator();
  const append = [
    'console=ttyS0 quiet panic=-1',
    // The emulator keeps translated code by address: programs that load where they did before need no new translation.
    'norandmaps',
    // The self-tests of ciphers take most of a second of an emulated boot.
    'cryptomgr.notests',
    // QEMU keeps the emulated time stamp counters in step, which the kernel would not believe of this processor: it
    // would take a clock that is ten times as slow to read.
    ...(accel === 'tcg' ? ['tsc=reliable'] : []),
    `tsbcc.job=${jobFolder}`,
  ];
  const ports = { out: 3, err: 4, status: 5, ...(compile && { compiler: 7 }) };
  return [
    '-nodefaults -no-user-config -no-reboot -display none',
    // Without the fast string instructions the kernel and libc copy and clear memory by words: the emulator does those
    // instructions byte by byte, and is two to three times as slow with them.
    accel === 'kvm' ? '-accel kvm -cpu host' : '-accel tcg,thread=multi -cpu max,-erms,-fsrm',
    '-machine q35',
  ]
    .flatMap((words) => words.split(' '))
    .concat([
      ...['-m', String(memory), '-smp', String(cpus)],
      ...['-kernel', kernel.vmlinux, '-initrd', initramfs, '-append', append.join(' ')],
      ...['-fsdev', 'local,id=host,path=/,security_model=none,readonly=on,multidevs=remap'],
      ...['-device', 'virtio-9p-pci,fsdev=host,mount_tag=host'],
      ...shares.flatMap((path, index) => [
        '-fsdev',
        `local,id=${shareTag(index)},path=${path.replaceAll(',', ',,')},security_model=none,multidevs=remap`,
        '-device',
        `virtio-9p-pci,fsdev=${shareTag(index)},mount_tag=${shareTag(index)}`,
      ]),
      ...(headers
        ? [
            '-drive',
            `if=none,id=headers,format=raw,readonly=on,file=${headers.image.replaceAll(',', ',,')}`,
            '-device',
            'virtio-blk-pci,drive=headers',
          ]
        : []),
      ...['-device', 'virtio-serial-pci'],
      // Each leads to a socket of this process, as does 6, which takes the console.
      ...Object.entries(ports).flatMap(([port, fd], index) => [
        '-chardev',
        `socket,id=${port},fd=${fd}`,
        '-device',
        `virtserialport,nr=${index + 1},chardev=${port},name=${port}`,
      ]),
      ...['-chardev', 'socket,id=console,fd=6', '-serial', 'chardev:console'],
    ]);
}

/** The last part of what a VM's console said. */
class Tail {
  #bytes = Buffer.alloc(0);

  add(chunk) {
    this.#bytes = Buffer.concat([this.#bytes, chunk]).subarray(-CONSOLE_TAIL);
  }

  get text() {
    return this.#bytes.toString().replaceAll('\r', '').trim();
  }
}

/** @param {NodeJS.ReadableStream} stream @param {(line: string) => void} line */
function onLines(stream, line) {
  let text = '';
  stream.on('data', (chunk) => {
    const lines = (text + chunk).split('\n');
    text = lines.pop();
    for (const each of lines) line(each);
  });
}

/**
 * Boots a stock Debian kernel with the host's files in it, runs a command there as root in the project's folder, and
 * ends the VM. What the command writes to files is lost, except below `shares`; there is no network but the loopback.
 * @param {VmOptions} options
 * @returns {Promise<VmResult>}
 * @throws VmError where the VM itself fails: a tool or kernel is missing, it does not boot, it ends too early
 */
export async function runInVm(options) {
  const { memory = 2048, cpus = 2, env = {}, shares = [], progress = () => {} } = options;
  for (const path of shares) {
    if (!(await exists(path)))
      throw new VmError(`there is no folder ${path} to share`, `Make it with: mkdir -p ${path}`);
  }
  const kernel = await getKernel(options.kernel, { progress });
  const headers = options.headers ? await getHeaders(kernel, { progress }) : undefined;
  const initramfs = await getInitramfs(kernel);
  const token = randomBytes(16).toString('hex');
  const jobFolder = await mkdtemp(join(/[\s,]/.test(tmpdir()) ? '/tmp' : tmpdir(), 'tsbcc-vm-'));
  try {
    copyFileSync(fileURLToPath(new URL('guest/run', import.meta.url)), join(jobFolder, 'run'));
    const job = jobText({
      release: kernel.release,
      image: join(kernel.folder, 'image'),
      folder: projectFolder,
      command: options.command,
      env: {
        ...guestEnvironment(options.kernel),
        ...(options.compile && { TSBCC_COMPILER: join(projectFolder, 'scripts/vm/guest/compiler') }),
        ...env,
      },
      shares,
      headers: Boolean(headers),
      token,
    });
    await writeFile(join(jobFolder, 'job'), job);
    const { compile } = options;
    const args = qemuArguments({ kernel, initramfs, memory, cpus, headers, shares, jobFolder, compile });
    progress(`booting ${kernel.release} (${accelerator()})`);
    for (let boot = 1; ; boot++) {
      try {
        return await runQemu(args, token, options, headers);
      } catch (error) {
        if (!(error instanceof VmDied) || error.booted || accelerator() === 'kvm' || boot === MOST_BOOTS) throw error;
        progress('the emulated processor failed while it booted: once more');
      }
    }
  } finally {
    await rm(jobFolder, { recursive: true, force: true });
  }
}

/** @param {string} kernel */
function guestEnvironment(kernel) {
  const { PATH = '/usr/local/bin:/usr/bin:/bin', LANG = 'C.UTF-8', TERM = 'dumb' } = process.env;
  return { HOME: '/root', USER: 'root', PATH: `${PATH}:/usr/local/sbin:/usr/sbin:/sbin`, LANG, TERM, TSBCC_VM: kernel };
}

/**
 * @param {string[]} args
 * @param {string} token
 * @param {VmOptions} options
 * @param {import('./headers.mjs').KernelHeaders} [headers]
 * @returns {Promise<VmResult>}
 */
function runQemu(args, token, options, headers) {
  const { stdout = process.stdout, stderr = process.stderr, progress = () => {}, signal } = options;
  const { timeout, bootTimeout = 180 } = options;
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const seconds = () => (performance.now() - started) / 1000;
    // A session of its own: Ctrl-C reaches this process, which then ends QEMU.
    const qemu = spawn('qemu-system-x86_64', args, {
      detached: true,
      stdio: ['ignore', ...Array(options.compile ? 7 : 6).fill('pipe')],
    });
    const [, said, complained, out, err, status, serial, requests] = qemu.stdio;
    const server = requests && new CompileServer(requests, headers);
    const tail = new Tail();
    const timers = [];
    let bootSeconds;
    let outcome;
    let failure;

    const end = (how) => {
      outcome ??= how;
      qemu.kill('SIGKILL');
    };
    const abort = () => {
      end({ error: new VmError('the VM was ended', undefined, { cause: signal.reason }) });
      // Nobody may be reading what these lead to any more, and QEMU counts as closed only after them.
      out.destroy();
      err.destroy();
    };
    const endAfter = (limit, how) => timers.push(setTimeout(() => end(how()), limit * 1000));

    if (timeout) endAfter(timeout, () => ({ status: 124, timedOut: true }));
    const boot = setTimeout(
      () => end({ error: failed(`the VM did not start the command within ${bootTimeout} s`, tail.text) }),
      bootTimeout * 1000,
    );
    timers.push(boot);
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted) abort();

    const streams = [
      [out, stdout],
      [err, stderr],
    ].map(([from, to]) => {
      const until = from.pipe(new UntilToken(token));
      until.pipe(to, { end: false });
      return until;
    });
    serial.on('data', (chunk) => {
      tail.add(chunk);
      options.console?.(chunk);
    });
    for (const stream of [said, complained]) stream.on('data', (chunk) => tail.add(chunk));
    onLines(status, async (line) => {
      const [word, ...rest] = line.split(' ');
      if (word === 'ready') {
        clearTimeout(boot);
        bootSeconds = seconds();
        progress(`the command runs ${bootSeconds.toFixed(1)} s after the start`);
      } else if (word === 'exit') {
        await Promise.all(streams.map(({ ended }) => ended));
        end({ status: Number(rest[0]), timedOut: false });
      } else if (word === 'fail') {
        end({ error: failed(`the VM could not be set up: ${rest.join(' ')}`, tail.text) });
      }
    });
    qemu.on('error', (cause) => {
      failure = startError('qemu-system-x86_64', cause);
    });
    // A killed QEMU resets its sockets; that is how they are meant to end.
    for (const stream of [out, err, status, serial, requests]) stream?.on('error', () => {});
    qemu.on('close', () => {
      for (const timer of timers) clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      server?.close();
      if (failure) reject(failure);
      else if (!outcome) reject(new VmDied(bootSeconds !== undefined, consoleEnd(tail.text)));
      else if (outcome.error) reject(outcome.error);
      else
        resolve({ ...outcome, compiled: server?.compiled, bootSeconds: bootSeconds ?? seconds(), seconds: seconds() });
    });
  });
}

/** @param {string} message @param {string} text */
function failed(message, text) {
  return new VmError(message, consoleEnd(text));
}

function consoleEnd(text) {
  return text ? `The end of its console:\n${text}` : 'Its console said nothing.';
}
