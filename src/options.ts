import { inspect } from 'node:util';
import { didYouMean } from './errors';

/**
 * The options of a call, seen to be an object that holds nothing unknown: what is misspelt, or spelt as in Python, would
 * otherwise be ignored in silence.
 * @throws TypeError naming the option that was meant
 */
export function knownOptions<T extends object>(call: string, options: T, names: readonly string[]): T {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`${call} takes an object of options (${names.join(', ')}), not ${inspect(options)}`);
  }
  for (const name in options) {
    if (names.includes(name)) continue;
    throw new TypeError(`${call}: unknown option ${inspect(name)}: ${didYouMean(name, names) ?? names.join(', ')}`);
  }
  return options;
}
