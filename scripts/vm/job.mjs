/**
 * A word that a POSIX shell takes as exactly this text.
 * @param {string} text without NUL
 */
export function shellQuote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * The part of a run that differs from run to run, as shell text for guest/run to read.
 * @param {object} job
 * @param {string} job.release
 * @param {string} job.image the folder that holds the kernel's `boot` and `lib`
 * @param {string} job.folder where the command runs
 * @param {string[]} job.command
 * @param {Record<string, string>} job.env
 * @param {string[]} job.shares folders that the guest may write to
 * @param {boolean} job.headers whether the disk with the kernel's headers is there
 * @param {string} job.token what ends each output stream
 */
export function jobText({ release, image, folder, command, env, shares, headers, token }) {
  const mounts = shares.map(
    (path, index) =>
      `  $bb mkdir -p ${shellQuote(path)} &&\n` +
      `  $bb mount -t 9p -o trans=virtio,version=9p2000.L,cache=mmap,msize=512000 ${shareTag(index)} ${shellQuote(path)} ||\n` +
      '  return 1',
  );
  const exports = Object.entries(env).map(([name, value]) => `  export ${name}=${shellQuote(value)}`);
  return [
    `release=${shellQuote(release)}`,
    `image=${shellQuote(image)}`,
    `folder=${shellQuote(folder)}`,
    `headers=${headers ? 'yes' : ''}`,
    `token=${token}`,
    'mount_shares() {',
    ...mounts,
    '  :',
    '}',
    'unmount_shares() {',
    ...shares.map((path) => `  $bb umount ${shellQuote(path)}`),
    '  :',
    '}',
    'set_environment() {',
    ...exports,
    '  :',
    '}',
    'command_line() {',
    // The guest's own shell has busybox built in, and would take that for commands of the same names.
    `  exec /bin/sh -c 'exec "$@"' vm ${command.map(shellQuote).join(' ')}`,
    '}',
    '',
  ].join('\n');
}

/**
 * The name that a share has on its way into the guest.
 * @param {number} index
 */
export function shareTag(index) {
  return `share${index}`;
}

/** Whether a text can be the name of an environment variable in a shell. */
export function isVariableName(name) {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name);
}
