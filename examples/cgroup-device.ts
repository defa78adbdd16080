// Forbids one device to the processes of a cgroup: in it, /dev/random can be read and /dev/urandom (minor number 9) not.
// The cgroup is this program's own, and is gone at the end, with everything else.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { BCC, BPFAttachType, BPFProgType } from 'tsbcc';

const root = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/self/mounts', 'utf8'))?.[1];
if (root === undefined) {
  console.error('no cgroup v2 is mounted: mount -t cgroup2 none /sys/fs/cgroup');
  process.exit(1);
}

/** Reads a byte of a device in a child that has joined the cgroup; what it says. */
function readIn(cgroup: string, device: string): string {
  const script = 'echo $$ > "$0/cgroup.procs" && head -c 1 "$1" > /dev/null';
  const { status, stderr } = spawnSync('sh', ['-c', script, cgroup, device], { encoding: 'utf8' });
  return status === 0 ? 'read' : stderr.trim();
}

const b = new BCC(`
int allow(struct bpf_cgroup_dev_ctx *ctx) {
    return ctx->minor == 9 ? 0 : 1;
}`);
// It takes a second; ended by Ctrl-C in the midst of it, it would leave the cgroup behind.
process.on('SIGINT', () => {});
const cgroup = `${root}/tsbcc-example-${process.pid}`;
mkdirSync(cgroup);
try {
  const allow = b.loadFunc('allow', BPFProgType.CGROUP_DEVICE);
  BCC.attachFunc(allow, cgroup, BPFAttachType.CGROUP_DEVICE);
  for (const device of ['/dev/random', '/dev/urandom']) console.log(`${device}: ${readIn(cgroup, device)}`);
  BCC.detachFunc(allow, cgroup, BPFAttachType.CGROUP_DEVICE);
  console.log(`/dev/urandom, detached: ${readIn(cgroup, '/dev/urandom')}`);
} finally {
  b.close();
  rmdirSync(cgroup);
}
