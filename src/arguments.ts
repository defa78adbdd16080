import { inspect } from 'node:util';
import { didYouMean } from './errors';

/*
 * What callers give, looked at before anything is done with it: each throws a TypeError that names the argument and shows
 * the value, where the engine would speak of an expression of ours.
 */

export function requireText(value: unknown, what: string): asserts value is string {
  if (typeof value !== 'string') throw new TypeError(`${what} must be a string, not ${inspect(value)}`);
}

export function requireName(value: unknown, what: string): string {
  if (typeof value !== 'string' || value === '') throw new TypeError(`${what} must be a name, not ${inspect(value)}`);
  return value;
}

export function requireFunction(value: unknown, what: string): void {
  if (typeof value !== 'function') throw new TypeError(`${what} must be a function, not ${inspect(value)}`);
}

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
