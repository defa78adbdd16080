import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { publishFeatures } from './features';

const FILESYSTEMS = [
  { type: 'debugfs', path: '/sys/kernel/debug', proof: '/sys/kernel/debug/tracing' },
  { type: 'tracefs', path: '/sys/kernel/tracing', proof: '/sys/kernel/tracing/events' },
  { type: 'bpf', path: '/sys/fs/bpf', proof: undefined },
];

/** Mounts what the kernel tests read, where that is allowed, and finds out once what this machine can do. */
export default function globalSetup(): void {
  if (process.geteuid?.() === 0) {
    for (const { type, path, proof } of FILESYSTEMS) {
      if (!existsSync(path) || (proof !== undefined && existsSync(proof))) continue;
      if (proof === undefined && spawnSync('mountpoint', ['-q', path]).status === 0) continue;
      spawnSync('mount', ['-t', type, type, path], { stdio: 'ignore' });
    }
  }
  publishFeatures();
}
