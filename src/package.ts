import { existsSync } from 'node:fs';
import * as path from 'node:path';

function folderAbove(folder: string): string {
  for (let at = folder; ; at = path.dirname(at)) {
    if (existsSync(path.join(at, 'binding.gyp'))) return at;
    if (at === path.dirname(at)) throw new Error(`${folder} does not lie in the package tsbcc`);
  }
}

/** The package's own folder. The code that asks may lie anywhere below: in `src/`, or bundled in `lib/`. */
export const PACKAGE_FOLDER = folderAbove(__dirname);

/** Where the native parts are built. */
export const NATIVE_FOLDER = path.join(PACKAGE_FOLDER, 'build', 'Release');
