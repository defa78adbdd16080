/*
 * Loads compiled programs into the running kernel: node load-programs.mjs FOLDER, where index.json says which functions
 * of which files are loaded as what. Prints what became of each as JSON.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const { BCC, BPFProgType } = createRequire(import.meta.url)('../../lib/index.js');
const results = [];
for (const { program, file, functions } of JSON.parse(readFileSync(join(process.argv[2], 'index.json'), 'utf8'))) {
  const fullName = `${program}, compiled from BTF, is accepted by the kernel`;
  try {
    const b = new BCC({ program: file });
    for (const [fn, type] of functions) b.loadFunc(fn, BPFProgType[type]);
    b.close();
    results.push({ status: 'passed', fullName });
  } catch (error) {
    results.push({ status: 'failed', fullName, message: error.message });
  }
}
process.stdout.write(JSON.stringify(results));
