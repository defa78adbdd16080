import * as fs from 'node:fs';
import * as path from 'node:path';
import { PACKAGE_FOLDER } from '../../package';

/** The folder of our own header files, in the sources as in the package. */
export const OWN_HEADERS = path.join(PACKAGE_FOLDER, 'headers');

let known: Map<string, string> | undefined;
let gates: Map<string, string> | undefined;

/*
 * known-headers.txt names every header that a program can include from Linux 6.1's and 6.12's header packages (x86 and
 * arm64) and some that older kernels had. Lines: `gate <letter> <header>`, then `<folder>: <name>[=letters] …`, the
 * letters telling which gates' headers this one leads to.
 */
function load(): Map<string, string> {
  if (known) return known;
  known = new Map();
  gates = new Map();
  for (const line of fs.readFileSync(path.join(OWN_HEADERS, 'known-headers.txt'), 'utf8').split('\n')) {
    const gate = /^gate (\w) (\S+)$/.exec(line);
    if (gate) {
      gates.set(gate[2]!, gate[1]!);
      continue;
    }
    const colon = line.indexOf(': ');
    if (colon < 0 || line.startsWith('#')) continue;
    const folder = line.slice(0, colon);
    for (const word of line.slice(colon + 2).split(' ')) {
      const [name, letters] = word.split('=') as [string, string | undefined];
      known.set(folder === '.' ? `${name}.h` : `${folder}/${name}.h`, letters ?? '');
    }
  }
  return known;
}

/** Whether some kernel has a header that is included by this name. */
export function isKnownHeader(name: string): boolean {
  return load().has(name);
}

/** Whether including `name` brings in, by whatever way, the header that a gate is named after. */
export function leadsTo(name: string, gate: string): boolean {
  const letters = load().get(name) ?? '';
  const letter = gates!.get(gate);
  return name === gate || (letter !== undefined && letters.includes(letter));
}

export function knownHeaders(): Iterable<string> {
  return load().keys();
}
