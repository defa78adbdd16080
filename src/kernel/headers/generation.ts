import * as fs from 'node:fs';
import * as path from 'node:path';
import { PACKAGE_FOLDER } from '../../package';
import { sha256 } from './store';

/** What makes headers: the code of this folder, and the package's own header files. */
export const GENERATION_FOLDERS = [path.join('src', 'kernel', 'headers'), 'headers'];

/** scripts/bundle.mjs puts the hash here, so that no process need read files for it. */
declare const TSBCC_HEADERS_GENERATION: string | undefined;

let hash = typeof TSBCC_HEADERS_GENERATION === 'string' ? TSBCC_HEADERS_GENERATION : undefined;

/** A hash of what makes headers: what one version of it made must not be taken for another's. */
export function headersGeneration(): string {
  hash ??= sha256(
    ...GENERATION_FOLDERS.map((folder) => path.join(PACKAGE_FOLDER, folder)).flatMap((folder) =>
      fs
        .readdirSync(folder)
        .sort()
        .map((file) => fs.readFileSync(path.join(folder, file))),
    ),
  );
  return hash;
}
