import { AttachError, didYouMean } from '../errors';
import { runtime } from '../native';
import { ENODEV } from './failure';

/*
 * Codes of errors: ERR_BCC_INTERFACE_NOT_FOUND.
 */

/** The number of an interface in this process's network namespace. */
export function interfaceIndex(dev: string): number {
  if (typeof dev !== 'string' || dev === '') throw new TypeError('dev must name a network interface');
  const { interfaces } = runtime();
  const present = interfaces();
  const found = present.find(({ name }) => name === dev);
  if (found) return found.index;
  const names = present.map(({ name }) => name);
  throw new AttachError(`there is no network interface ${dev}`, {
    code: 'ERR_BCC_INTERFACE_NOT_FOUND',
    errno: ENODEV,
    hint: didYouMean(dev, names) ?? `this network namespace has ${names.join(', ') || 'none'}`,
  });
}
