/*
 * docs/api.md: every public name with its signature and its doc comment, read out of the sources by the TypeScript
 * compiler. test/unit/docs.test.ts holds the page to the sources, and every name to a comment.
 *
 *   node scripts/docs/api.mjs            writes the page, and lists names without a comment
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
export const page = path.join(root, 'docs', 'api.md');

/** What `b.table()` and the streams give: classes that nobody constructs, and types that options name. */
const REACHED = {
  Tables: [
    ['table/factory', ['AnyTable', 'TableOptions', 'OpenOptions']],
    ['table/keyed', ['KeyedTable', 'SetOptions', 'UpdateMode']],
    ['table/hash', ['HashTable', 'LruHashTable']],
    ['table/array', ['IndexedTable', 'ArrayTable']],
    ['table/per-cpu', ['PerCpuHashTable', 'LruPerCpuHashTable', 'PerCpuArrayTable', 'Reducer']],
    ['table/lpm-trie', ['LpmTrieTable']],
    ['table/stack-trace', ['StackTraceTable', 'StackFrame']],
    ['table/queue-stack', ['QueueStackTable']],
    ['table/prog-array', ['ProgArrayTable', 'ProgramRef']],
    ['table/cgroup-array', ['CgroupArrayTable']],
    ['table/map-in-map', ['MapInMapArrayTable', 'MapInMapHashTable', 'MapRef']],
    ['table/device', ['DevMapTable', 'DevMapHashTable', 'CpuMapTable', 'XskMapTable']],
    ['table/socket', ['SockMapTable', 'SockHashTable', 'ReuseportSockArrayTable', 'SocketRef']],
    ['table/storage', ['CgroupStorageTable', 'PerCpuCgroupStorageTable', 'LocalStorageTable']],
    ['table/descriptor', ['HasFd']],
    ['table/histogram', ['HistogramOptions', 'Histogram', 'HistogramBucket', 'HistogramScale']],
    ['table/ring-buffer', ['RingBufferCallback']],
    ['table/perf-event-array', ['PerfBufferCallback', 'PerfRingOptions']],
    ['table/event-type', ['EventTypeOptions']],
    ['table/spec', ['Int64Mode']],
  ],
  Streams: [
    ['events/event-stream', ['EventStream']],
    ['events/record-stream', ['RecordStream']],
    ['events/trace-pipe', ['TracePipe', 'TraceReadOptions']],
  ],
};

/** Sections of the page by the file that declares a name; the first that fits. */
const SECTIONS = [
  ['The program', /^src\/(bcc|program\/|attach\/|kernel\/)/],
  ['Tables', /^src\/table\//],
  ['Streams', /^src\/events\//],
  ['Types in memory', /^src\/layout\//],
  ['Symbols', /^src\/symbols\.ts$/],
  ['USDT probes', /^src\/usdt\.ts$/],
  ['Errors', /^src\/errors\.ts$/],
  ['Constants', /^src\/constants\.ts$/],
];

export function collect() {
  const config = ts.getParsedCommandLineOfConfigFile(
    path.join(root, 'tsconfig.build.json'),
    {},
    {
      ...ts.sys,
      onUnRecoverableConfigFileDiagnostic: () => {},
    },
  );
  const program = ts.createProgram([path.join(root, 'src', 'index.ts')], { ...config.options, noEmit: true });
  const checker = program.getTypeChecker();
  const exportsOf = (name) =>
    checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(path.join(root, 'src', name))));

  const symbols = new Map();
  for (const symbol of exportsOf('index.ts')) symbols.set(symbol.name, { symbol: resolve(symbol), exported: true });
  for (const [file, names] of Object.values(REACHED).flat()) {
    const there = exportsOf(`${file}.ts`);
    for (const name of names) {
      const symbol = there.find((one) => one.name === name);
      if (!symbol) throw new Error(`src/${file}.ts has no ${name}: see scripts/docs/api.mjs`);
      if (!symbols.has(name)) symbols.set(name, { symbol: resolve(symbol), exported: false });
    }
  }

  const undocumented = [];
  const entries = [...symbols].map(([name, { symbol, exported }]) => entryOf(name, symbol, exported));
  return { entries, undocumented };

  function resolve(symbol) {
    return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  }

  function entryOf(name, symbol, exported) {
    const declaration = symbol.valueDeclaration ?? symbol.declarations[0];
    const file = path.relative(root, declaration.getSourceFile().fileName);
    const doc = docOf(declaration);
    if (doc === '' && !symbol.declarations.some((one) => docOf(one) !== '')) undocumented.push(`${name} (${file})`);
    return {
      name,
      file,
      exported,
      doc,
      heading: headingOf(name, declaration),
      members: membersOf(name, declaration, file),
    };
  }

  function membersOf(owner, declaration, file) {
    const nodes = ts.isVariableDeclaration(declaration) ? [] : [...(declaration.members ?? [])];
    const overloaded = new Set(
      nodes.filter((node) => ts.isMethodDeclaration(node) && !node.body).map((node) => node.name.getText()),
    );
    const members = [];
    const documented = new Set();
    for (const node of nodes) {
      if (!isPublic(node)) continue;
      const name = ts.isConstructorDeclaration(node) ? 'constructor' : (node.name?.getText() ?? '');
      if (overloaded.has(name) && node.body) continue;
      if (ts.isConstructorDeclaration(node) && (node.body || !docOf(node)) && !/@throws/.test(docOf(node))) continue;
      const doc = docOf(node) || inheritedDoc(node);
      // What overrides and says nothing does what the class above says.
      if (doc === '' && ts.getCombinedModifierFlags(node) & ts.ModifierFlags.Override) continue;
      if (doc !== '') documented.add(name);
      else if (!documented.has(name) && needsDoc(node, name)) undocumented.push(`${owner}.${name} (${file})`);
      members.push({ name, text: signatureOf(node), doc });
    }
    return members;
  }

  /** The comment of what a `static readonly name = fn` refers to. */
  function inheritedDoc(node) {
    if (ts.isPropertyDeclaration(node) && node.initializer && ts.isIdentifier(node.initializer)) {
      const target = checker.getSymbolAtLocation(node.initializer);
      const declaration = target && resolve(target).declarations?.[0];
      return declaration ? docOf(declaration) : '';
    }
    return '';
  }

  function signatureOf(node) {
    const source = node.getSourceFile();
    if (ts.isPropertyDeclaration(node)) {
      const modifiers = wordsBefore(node);
      const type = node.type
        ? node.type.getText()
        : checker.typeToString(checker.getTypeAtLocation(node), node, FORMAT);
      return oneLine(`${modifiers}${node.name.getText()}${node.questionToken ? '?' : ''}: ${type}`);
    }
    const end = node.body ? node.body.getStart(source) : node.getEnd();
    let text = source.text.slice(node.getStart(source), end).trim().replace(/[;,]$/, '');
    if ((ts.isMethodDeclaration(node) || ts.isGetAccessor(node)) && !node.type) {
      const signature = checker.getSignatureFromDeclaration(node);
      text += `: ${checker.typeToString(checker.getReturnTypeOfSignature(signature), node, FORMAT)}`;
    }
    return oneLine(
      text
        .replace(/^async /, '')
        .replace(/^static async /, 'static ')
        .replace(/^override /, ''),
    );
  }

  function headingOf(name, declaration) {
    if (ts.isClassDeclaration(declaration) || ts.isInterfaceDeclaration(declaration)) {
      const source = declaration.getSourceFile();
      const brace = declaration.members.pos - 1;
      return oneLine(source.text.slice(declaration.getStart(source), brace).replace(/^export /, ''));
    }
    if (ts.isFunctionDeclaration(declaration)) return signatureOf(declaration).replace(/^export /, '');
    if (ts.isTypeAliasDeclaration(declaration))
      return oneLine(
        declaration
          .getText()
          .replace(/^export /, '')
          .replace(/;$/, ''),
      );
    if (ts.isVariableDeclaration(declaration)) {
      const keys = checker
        .getTypeAtLocation(declaration)
        .getProperties()
        .map((property) => property.name);
      return `const ${name}: { ${keys.join(', ')} }`;
    }
    return oneLine(declaration.getText());
  }
}

const FORMAT = ts.TypeFormatFlags.NoTruncation | ts.TypeFormatFlags.UseAliasDefinedOutsideCurrentScope;

/** Names that mean what they mean everywhere. */
const COMMON = /^\[Symbol\.|^\[inspect\.custom\]|^(constructor|toString|keys|values|entries|forEach|has)$/;

/** A field whose name and type say all needs no comment; a method does. */
function needsDoc(node, name) {
  return (ts.isMethodDeclaration(node) || ts.isMethodSignature(node) || ts.isGetAccessor(node)) && !COMMON.test(name);
}

function isPublic(node) {
  if (ts.isClassStaticBlockDeclaration(node) || ts.isSetAccessor(node)) return false;
  if (node.name && (ts.isPrivateIdentifier(node.name) || node.name.getText() === '[inspect.custom]')) return false;
  const flags = ts.getCombinedModifierFlags(node);
  return (flags & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) === 0;
}

function wordsBefore(node) {
  return (node.modifiers ?? [])
    .map((modifier) => modifier.getText())
    .filter((word) => word !== 'declare' && word !== 'override')
    .map((word) => `${word} `)
    .join('');
}

function docOf(node) {
  const holder = ts.isVariableDeclaration(node) ? node.parent.parent : node;
  const doc = ts.getJSDocCommentsAndTags(holder).filter(ts.isJSDoc).at(-1);
  if (!doc) return '';
  return doc
    .getText()
    .replace(/^\/\*\*\s?|\s*\*\/$/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, ''))
    .join('\n')
    .trim();
}

function oneLine(text) {
  return text
    .replace(/\/\*\*[\s\S]*?\*\//g, '')
    .replace(/\s+/g, ' ')
    .replace(/([({[]) (?=[^{])/g, (all, open) => (open === '{' ? all : open))
    .replace(/,? ([)\]])/g, '$1')
    .trim();
}

/** A comment as Markdown: `{@link X}` becomes code, `@throws` a line of its own. */
function markdown(doc) {
  return doc
    .replace(/\{@link (\w+)\}/g, '`$1`')
    .replace(/^@throws /gm, '\nThrows ')
    .replace(/^@(\w+) /gm, '\n$1: ')
    .replace(/<(?=\w)/g, '\\<');
}

export function render({ entries }) {
  const lines = [
    '<!-- Generated by scripts/docs/api.mjs from the doc comments in src/; edit those. -->',
    '# API reference',
    '',
    'Every public name, from the sources. What is not marked *(not exported)* is imported from `tsbcc`. Where a kernel version',
    'is named, older kernels have not got it; otherwise Linux 4.17 does. Sizes are bytes and times milliseconds unless a line',
    'says otherwise. The names of BCC in Python and their names here: [parity.md](parity.md).',
  ];
  for (const [title, files] of SECTIONS) {
    const own = entries.filter(({ file }) => SECTIONS.find(([, pattern]) => pattern.test(file))?.[1] === files);
    if (own.length === 0) continue;
    lines.push('', `## ${title}`);
    for (const { name, exported, heading, doc, members } of own) {
      lines.push('', `### ${name}`, '', `\`\`\`text\n${heading}\n\`\`\``);
      if (!exported) lines.push('', '*(not exported)*');
      if (doc) lines.push('', markdown(doc));
      if (members.length > 0) lines.push('');
      for (const member of members) {
        const text = markdown(member.doc).replace(/\n+/g, '\n  ');
        lines.push(`- \`${member.text}\`${text ? `\\\n  ${text}` : ''}`);
      }
    }
  }
  return `${lines.join('\n')}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const collected = collect();
  writeFileSync(page, render(collected));
  for (const name of collected.undocumented) console.error(`no doc comment: ${name}`);
}
