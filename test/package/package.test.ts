import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { outputOf, requireRoot } from '../helpers';

/* The package as a consumer receives it: packed, installed in an empty folder, built there, and used from outside. */

requireRoot();

const root = path.join(__dirname, '..', '..');
const bin = (name: string) => path.join(root, 'node_modules', '.bin', name);
let folder: string;
let files: string[];

const inFolder = (program: string, args: string[]) =>
  outputOf('/bin/sh', ['-c', 'cd "$0" && exec "$@"', folder, program, ...args]);

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-consumer-'));
  const packed = JSON.parse(outputOf('npm', ['pack', root, '--json', '--pack-destination', folder]));
  files = packed[0].files.map((file: { path: string }) => file.path);
  writeFileSync(path.join(folder, 'package.json'), '{ "name": "consumer", "private": true }');
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))!;
  // npm 11 runs no dependency's install script unasked; what its approval would run is run here.
  inFolder('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', `./${tarball}`]);
  inFolder(process.execPath, ['node_modules/tsbcc/scripts/install.mjs']);
}, 600_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('holds what it needs and nothing of the tests', () => {
  expect(files).toEqual(
    expect.arrayContaining(['lib/index.js', 'lib/index.d.ts', 'binding.gyp', 'LICENSE', 'README.md']),
  );
  expect(files.some((file) => file.startsWith('headers/'))).toBe(true);
  expect(files.filter((file) => /^(test|bench|examples|build|node_modules)\//.test(file))).toEqual([]);
});

it('is required and imported by the same names, and loads a program', () => {
  const use =
    "const b = new BCC('BPF_HASH(counts, u32, u64);'); b.table('counts').set(1, 2n); console.log([...b.table('counts')]); b.close();";
  const expected = '[ [ 1, 2n ] ]\n';
  expect(inFolder(process.execPath, ['-e', `const { BCC } = require('tsbcc'); ${use}`])).toBe(expected);
  expect(inFolder(process.execPath, ['--input-type=module', '-e', `import { BCC } from 'tsbcc'; ${use}`])).toBe(
    expected,
  );
});

describe('what V8 made of the library at installation', () => {
  const code = () =>
    path.join(folder, 'node_modules', 'tsbcc', 'build', 'Release', `index-${process.versions.v8}.code`);
  const library = () => readFileSync(path.join(folder, 'node_modules', 'tsbcc', 'lib', 'index.bundle.js'));
  /** Whether it was given to V8, and taken; with the library's own word that it runs. */
  const start = (...flags: string[]) => {
    const script = `
      const vm = require('node:vm');
      let given = 'not given';
      vm.Script = class extends vm.Script {
        constructor(text, options) {
          super(text, options);
          if (options.cachedData) given = this.cachedDataRejected ? 'refused' : 'taken';
        }
      };
      const { BCC, BCCError } = require('tsbcc');
      try { new BCC({}); } catch (error) { console.log(given, error.message); }`;
    return inFolder(process.execPath, [...flags, '-e', script]);
  };
  const works = 'give the program: text, srcFile or program\n';

  it('is taken', () => expect(start()).toBe(`taken ${works}`));

  it('is not given where Node is asked for source maps', () => {
    expect(start('--enable-source-maps')).toBe(`not given ${works}`);
  });

  it('is not given in a realm that is not the main one', () => {
    const script = `
      const vm = require('node:vm');
      const context = vm.createContext({});
      const file = require.resolve('tsbcc');
      const module_ = { exports: {} };
      const params = ['exports', 'require', 'module', '__dirname', '__filename', 'process'];
      const run = vm.compileFunction(require('node:fs').readFileSync(file, 'utf8'), params, { parsingContext: context });
      run(module_.exports, require, module_, require('node:path').dirname(file), file, process);
      console.log(module_.exports === require(file.replace('index.js', 'index.bundle.js')));`;
    expect(inFolder(process.execPath, ['-e', script])).toBe('true\n');
  });

  it.each([
    ['damaged', (whole: Buffer) => whole.fill(0xee, library().length), 'refused'],
    ['cut short', (whole: Buffer) => whole.subarray(0, library().length + 1000), 'refused'],
    ['of another library', (whole: Buffer) => whole.fill(' ', 0, 1), 'not given'],
    ['of no library', () => Buffer.from('no code'), 'not given'],
  ])('%s costs time and nothing else', (_what, spoil, given) => {
    const whole = readFileSync(code());
    writeFileSync(code(), spoil(Buffer.from(whole)));
    expect(start()).toBe(`${given} ${works}`);
    writeFileSync(code(), whole);
  });

  it('is done without where it is missing', () => {
    const whole = readFileSync(code());
    rmSync(code());
    expect(start()).toBe(`not given ${works}`);
    writeFileSync(code(), whole);
  });

  it('is refused by a V8 with other flags', () => expect(start('--no-opt')).toBe(`refused ${works}`));
});

it('has its command', () => {
  expect(inFolder('node_modules/.bin/tsbcc', ['--help'])).toMatch(/^Usage: tsbcc/);
  expect(inFolder('node_modules/.bin/tsbcc', ['types', '-e', 'BPF_HASH(counts, u32, u64);'])).toContain(
    'CountsLeaf = bigint',
  );
});

it('brings types for both kinds of module', () => {
  const text = `import { BCC, type Layout, PerfType } from 'tsbcc';
    const b: BCC = new BCC({ text: '', int64: 'number' });
    const table = b.table<{ pid: number }, bigint>('x');
    const leaf: bigint | undefined = table.get({ pid: 1 });
    const layout: Layout = { kind: 'int', size: 4, signed: true };
    export const all = [leaf, layout, PerfType.SOFTWARE];
    // @ts-expect-error a text is no option
    new BCC({ int64: 'string' });\n`;
  mkdirSync(path.join(folder, 'src'));
  for (const name of ['commonjs.cts', 'module.mts']) writeFileSync(path.join(folder, 'src', name), text);
  const types = path.join(root, 'node_modules', '@types');
  const options = [
    '--noEmit',
    '--strict',
    '--module',
    'node16',
    '--target',
    'es2022',
    '--lib',
    'es2023,esnext.disposable',
  ];
  inFolder(bin('tsc'), [...options, '--typeRoots', types, '--types', 'node', 'src/commonjs.cts', 'src/module.mts']);
});

it('is published as its fields say', () => {
  expect(inFolder(bin('publint'), ['node_modules/tsbcc', '--strict'])).toMatch(/All good!/);
});
