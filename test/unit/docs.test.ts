import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { outputOf } from '../helpers';

const root = path.join(__dirname, '..', '..');
const SKIPPED = new Set(['node_modules', 'build', 'lib', '.git']);

function pagesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : pagesIn(file);
    return entry.name.endsWith('.md') ? [file] : [];
  });
}

interface Block {
  /** The page and the line that the block begins after. */
  at: string;
  language: string;
  text: string;
}

interface Page {
  file: string;
  /** Without its code. */
  prose: string;
  blocks: Block[];
  headings: Set<string>;
}

/** The fragment that GitHub gives a heading. */
function slug(heading: string): string {
  const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/[`*]/g, '');
  return plain
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M} _-]/gu, '')
    .replaceAll(' ', '-');
}

function read(file: string): Page {
  const name = path.relative(root, file);
  const prose: string[] = [];
  const blocks: Block[] = [];
  let open: Block | undefined;
  readFileSync(file, 'utf8')
    .split('\n')
    .forEach((line, index) => {
      const fence = /^\s*```(\w*)/.exec(line);
      if (!fence) {
        if (open) open.text += `${line}\n`;
        else prose.push(line);
        return;
      }
      if (open) blocks.push(open);
      open = open ? undefined : { at: `${name}:${index + 1}`, language: fence[1]!, text: '' };
    });
  if (open) throw new Error(`${(open as Block).at}: the code block has no end`);
  const headings = new Set(prose.filter((line) => /^#+ /.test(line)).map((line) => slug(line.replace(/^#+ /, ''))));
  return { file, prose: prose.join('\n').replace(/`[^`\n]*`/g, ''), blocks, headings };
}

const pages = pagesIn(root).map(read);
const blocks = pages.flatMap((page) => page.blocks);

it('every link to a file or heading leads somewhere', () => {
  const broken = pages.flatMap(({ file, prose }) =>
    Array.from(prose.matchAll(/\]\(([^)\s]+)\)/g), ([, target]) => target!)
      .filter((target) => !/^(https?|mailto):/.test(target))
      .filter((target) => {
        const [name, fragment] = target.split('#') as [string, string | undefined];
        const linked = name === '' ? file : path.resolve(path.dirname(file), decodeURIComponent(name));
        if (!existsSync(linked)) return true;
        if (fragment === undefined || !linked.endsWith('.md')) return false;
        return !pages.find((page) => page.file === linked)?.headings.has(decodeURIComponent(fragment));
      })
      .map((target) => `${path.relative(root, file)}: ${target}`),
  );
  expect(broken).toEqual([]);
});

it('every TypeScript block compiles against the public names', () => {
  const sources = new Map<string, { block: Block; text: string }>();
  blocks
    .filter(({ language }) => language === 'ts')
    .forEach((block, index) => {
      sources.set(path.join(root, `docs-block-${index}.ts`), { block, text: prelude(block.text) + block.text });
    });
  expect(sources.size).toBeGreaterThan(20);

  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts', 'lib.dom.asynciterable.d.ts'],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    strict: true,
    skipLibCheck: true,
    noEmit: true,
    esModuleInterop: true,
    types: ['node'],
    baseUrl: root,
    paths: { tsbcc: ['./src/index.ts'] },
  };
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile } = host;
  host.fileExists = (file) => sources.has(file) || fileExists.call(host, file);
  host.readFile = (file) => sources.get(file)?.text ?? readFile.call(host, file);
  host.getSourceFile = (file, target) => {
    const text = host.readFile(file);
    return text === undefined ? undefined : ts.createSourceFile(file, text, target, true);
  };
  const program = ts.createProgram([...sources.keys()], options, host);
  const problems = [...sources].flatMap(([file, { block }]) => {
    const source = program.getSourceFile(file)!;
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ start = 0, messageText }) => {
        const line = source.text.slice(0, start).split('\n').length - 1;
        return `${block.at} line ${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
      },
    );
  });
  expect(problems).toEqual([]);
}, 120_000);

/** One line before a block: what the page has introduced above it, where the block does not do so itself. */
function prelude(text: string): string {
  const names = { b: 'BCC', signal: 'AbortSignal', text: 'string' };
  const missing = Object.entries(names).filter(([name]) => !new RegExp(`\\b(const|let|using) ${name}\\b`).test(text));
  const declared = missing.map(
    ([name, type]) => `declare const ${name}: ${type === 'BCC' ? "import('tsbcc').BCC" : type};`,
  );
  const imports = ['BCC', 'USDT'].filter((name) => !new RegExp(`import \\{[^}]*\\b${name}\\b`).test(text));
  const imported = imports.length > 0 ? `import { ${imports.join(', ')} } from 'tsbcc';` : '';
  return `export {}; ${imported} ${declared.join(' ')}\n`;
}

/** BPF C in a block of its own, or in a template literal that begins a program. */
function cTexts({ language, text }: Block): string[] {
  if (language === 'c') return [text];
  if (language !== 'ts') return [];
  return Array.from(text.matchAll(/`([^`]*)`/g), ([, literal]) => literal!).filter((literal) =>
    /\b(BPF_|int |struct )/.test(literal),
  );
}

it('every program in C closes what it opens', () => {
  const unbalanced = blocks.flatMap((block) =>
    cTexts(block)
      .filter((text) =>
        ['{}', '()', '[]'].some(([open, close]) => text.split(open!).length !== text.split(close!).length),
      )
      .map(() => block.at),
  );
  expect(unbalanced).toEqual([]);
});

describe('docs/api.md', () => {
  /** The script is an ES module: a process of its own reads it. */
  const { text, undocumented } = JSON.parse(
    outputOf(process.execPath, [
      '--input-type=module',
      '-e',
      `import { collect, render } from ${JSON.stringify(path.join(root, 'scripts/docs/api.mjs'))};
       const collected = collect();
       console.log(JSON.stringify({ text: render(collected), undocumented: collected.undocumented }));`,
    ]),
  ) as { text: string; undocumented: string[] };

  it('has a comment for every public name', () => {
    expect(undocumented).toEqual([]);
  });

  it('is what the doc comments say', () => {
    // node scripts/docs/api.mjs writes it.
    expect(readFileSync(path.join(root, 'docs', 'api.md'), 'utf8')).toBe(text);
  });
});

it('the tutorial in Japanese has the lessons of the one in English, with the same programs', () => {
  const [english, japanese] = ['README.md', 'README.ja.md'].map((name) =>
    read(path.join(root, 'docs', 'tutorial', name)),
  );
  const lessons = ({ file }: Page) =>
    Array.from(readFileSync(file, 'utf8').matchAll(/\]\((answers\/[^)]+)\)/g), ([, name]) => name);
  expect(lessons(japanese!)).toEqual(lessons(english!));
  expect(japanese!.blocks.map(({ text }) => text)).toEqual(english!.blocks.map(({ text }) => text));
});
