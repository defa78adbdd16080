import * as fs from 'node:fs';
import * as os from 'node:os';

/**
 * LINUX_VERSION_CODE of a kernel. For the running one the distribution's own word is taken where the release does not
 * tell the whole truth: Debian's `6.1.0-56-amd64` is 6.1.192 (`uname -v`), Ubuntu's is in /proc/version_signature.
 */
export function versionCode(release: string, running: boolean): number {
  if (running) {
    const debian = /^#.* Debian (\d+)\.(\d+)\.(\d+)/.exec(os.version());
    const ubuntu = / (\d+)\.(\d+)\.(\d+)\S*\s*$/.exec(readText('/proc/version_signature'));
    const told = debian ?? ubuntu;
    if (told) return code(told[1]!, told[2]!, told[3]!);
  }
  const match = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(release);
  return match ? code(match[1]!, match[2]!, match[3] ?? '0') : 0;
}

function code(major: string, minor: string, patch: string): number {
  return Number(major) * 65536 + Number(minor) * 256 + Math.min(Number(patch), 255);
}

export function readText(path: string): string {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
