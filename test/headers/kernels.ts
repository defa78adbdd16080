import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HeadersContext } from '../../src/kernel/headers';

const { cacheFolder } = require('../../scripts/vm/cache.mjs') as { cacheFolder(): string };

/**
 * A kernel of the VMs' cache, for which programs can be compiled here from its BTF, or why there is none: words for a
 * skipped test.
 */
export function otherKernel(name: string): (HeadersContext & { release: string; btfPath: string }) | string {
  const current = join(cacheFolder(), `current-${name}.json`);
  if (!existsSync(current)) return `kernel ${name} has not been fetched (npm run vm -- --kernel ${name} -- true)`;
  const { release } = JSON.parse(readFileSync(current, 'utf8')) as { release: string };
  const folder = join(cacheFolder(), release);
  const btfPath = join(folder, 'vmlinux.btf');
  if (!existsSync(btfPath)) return `kernel ${name} has not been unpacked (npm run vm -- --kernel ${name} -- true)`;
  return { release, btfPath, configPath: join(folder, 'image/boot', `config-${release}`) };
}
