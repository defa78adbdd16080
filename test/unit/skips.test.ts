import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { outputOf } from '../helpers';

interface Skip {
  part: string;
  file: string;
  title: string;
  reason: string;
}

const root = path.join(__dirname, '..', '..');

const RUNNING = /^\d+\.\d+/.exec(release())![0];
const LISTS: Record<string, Record<string, string[]>> = {
  [RUNNING]: { 'no kprobes': ['kprobe.test.ts', 'facade.test.ts: * kprobes'] },
  '3.1': { 'no fprobe': ['kprobe.test.ts: on many functions (all at once)'] },
};

/** The script is an ES module: a process of its own runs it. */
function newSkips(...skips: Skip[]): string[] {
  const script = `import { newSkips } from ${JSON.stringify(pathToFileURL(path.join(root, 'scripts/skips.mjs')))};
    console.log(JSON.stringify(newSkips(${JSON.stringify(skips)}, ${JSON.stringify(LISTS)})));`;
  const found = JSON.parse(outputOf(process.execPath, ['--input-type=module', '-e', script])) as Skip[];
  return found.map(({ title }) => title);
}

it('a skip is foreseen by its file or its name, for its reason, on its kernel', () => {
  const here = { part: 'kernel tests', reason: 'no kprobes' };
  expect(
    newSkips(
      { ...here, file: 'kprobe.test.ts', title: 'any of the file' },
      { ...here, file: 'kprobe.test.ts', title: 'for another reason', reason: 'no reason given' },
      { ...here, file: 'facade.test.ts', title: 'attaches kprobes' },
      { ...here, file: 'facade.test.ts', title: 'attaches kprobes and more' },
      { ...here, file: 'tools.test.ts', title: 'of another file' },
      { ...here, file: 'kprobe.test.ts', title: 'on another kernel', part: 'vm-3.1' },
      { ...here, file: 'tools.test.ts', title: 'on a kernel without a list', part: 'vm-3.2' },
      { ...here, file: 'tools.test.ts', title: 'without a reason', part: 'vm-3.2', reason: 'no reason given' },
      { part: 'vm-3.1', file: 'kprobe.test.ts', title: 'on many functions (all at once)', reason: 'no fprobe' },
      { part: 'vm-headers-3.1', file: 'kprobe.test.ts', title: 'on many functions (all at once)', reason: 'no fprobe' },
      { part: 'node-22', file: 'kprobe.test.ts', title: 'under another Node', reason: 'no kprobes' },
    ),
  ).toEqual([
    'for another reason',
    'attaches kprobes and more',
    'of another file',
    'on another kernel',
    'without a reason',
  ]);
});

it('each file in test/skips.json is there', () => {
  const list = JSON.parse(readFileSync(path.join(root, 'test', 'skips.json'), 'utf8')) as typeof LISTS;
  const entries = Object.values(list).flatMap((reasons) => Object.values(reasons).flat());
  const folders = ['kernel', 'unit', 'headers', 'package'];
  const there = (file: string) => folders.some((folder) => existsSync(path.join(root, 'test', folder, file)));
  expect(entries.length).toBeGreaterThan(0);
  expect(entries.map((entry) => entry.split(': ')[0]!).filter((file) => !there(file))).toEqual([]);
});
