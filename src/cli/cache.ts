import { cacheFolder, clearCache, listCache } from '../program/cache';
import { type Command, UsageError } from './command';

export const command: Command = {
  usage: '[list|clear]',
  about: 'The cache of compiled programs: what it holds, or an end of it.',
  options: {},
  run(_values, [action = 'list', ...rest]) {
    if (rest.length > 0 || (action !== 'list' && action !== 'clear'))
      throw new UsageError('tsbcc cache takes list or clear');
    if (action === 'clear') {
      process.stdout.write(`${clearCache()} programs removed from ${cacheFolder(true)}\n`);
      return 0;
    }
    const entries = listCache();
    for (const { file, bytes, used } of entries) {
      process.stdout.write(`${used.toISOString()}  ${String(bytes).padStart(9)}  ${file}\n`);
    }
    const total = entries.reduce((sum, { bytes }) => sum + bytes, 0);
    process.stdout.write(`${entries.length} programs, ${total} bytes in ${cacheFolder(true)}\n`);
    return 0;
  },
};
