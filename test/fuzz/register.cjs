/*
 * Lets Node require the project's TypeScript, with a counter at every place where the flow of src/ may part: function
 * bodies, branches, loops, cases and the right sides of &&, || and ??. The literals of each file become words for the
 * fuzzer to try.
 */
const { readFileSync } = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const ts = require('typescript');

const SOURCES = path.join(__dirname, '..', '..', 'src') + path.sep;

/** Shared with fuzzer.ts. */
const coverage = { counters: new Uint8Array(1 << 16), places: 0, words: new Set() };
globalThis.__tsbccCoverage = coverage;
globalThis.__tsbccAt = coverage.counters;

require.extensions['.ts'] = (module, file) => {
  const { outputText } = ts.transpileModule(readFileSync(file, 'utf8'), {
    fileName: file,
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022, esModuleInterop: true },
    transformers: file.startsWith(SOURCES) ? { before: [instrument] } : {},
  });
  module._compile(outputText, file);
};

/** TypeScript's way to name a module in import() is by the file that it will become. */
const resolveFilename = Module._resolveFilename;
Module._resolveFilename = (request, parent, ...rest) =>
  resolveFilename.call(
    Module,
    parent?.filename?.endsWith('.ts') ? request.replace(/^(\..*)\.js$/, '$1') : request,
    parent,
    ...rest,
  );

/** The transformer of one file. */
function instrument(context) {
  const { factory } = context;
  const count = () => {
    if (coverage.places === coverage.counters.length) throw new Error('more places than counters');
    const counter = factory.createElementAccessExpression(
      factory.createIdentifier('__tsbccAt'),
      factory.createNumericLiteral(coverage.places++),
    );
    return factory.createPostfixIncrement(counter);
  };
  const counted = (expression) => factory.createParenthesizedExpression(factory.createComma(count(), expression));
  const statement = () => factory.createExpressionStatement(count());
  const block = (body) => (ts.isBlock(body) ? body : factory.createBlock([statement(), body]));

  const visit = (node) => {
    collect(node);
    // Types are left alone: they hold literals and conditionals of their own.
    if (ts.isTypeNode(node)) return node;
    const seen = ts.visitEachChild(node, visit, context);
    if (ts.isBlock(seen)) return factory.updateBlock(seen, [statement(), ...seen.statements]);
    if (ts.isIfStatement(seen)) {
      const otherwise = seen.elseStatement ? block(seen.elseStatement) : factory.createBlock([statement()]);
      return factory.updateIfStatement(seen, seen.expression, block(seen.thenStatement), otherwise);
    }
    if (ts.isForStatement(seen)) {
      const { initializer, condition, incrementor, statement: body } = seen;
      return factory.updateForStatement(seen, initializer, condition, incrementor, block(body));
    }
    if (ts.isWhileStatement(seen)) return factory.updateWhileStatement(seen, seen.expression, block(seen.statement));
    if (ts.isForOfStatement(seen)) {
      const { awaitModifier, initializer, expression, statement: body } = seen;
      return factory.updateForOfStatement(seen, awaitModifier, initializer, expression, block(body));
    }
    if (ts.isCaseClause(seen))
      return factory.updateCaseClause(seen, seen.expression, [statement(), ...seen.statements]);
    if (ts.isDefaultClause(seen)) return factory.updateDefaultClause(seen, [statement(), ...seen.statements]);
    if (ts.isArrowFunction(seen) && !ts.isBlock(seen.body)) {
      const { modifiers, typeParameters, parameters, type, equalsGreaterThanToken: arrow, body } = seen;
      return factory.updateArrowFunction(seen, modifiers, typeParameters, parameters, type, arrow, counted(body));
    }
    if (ts.isConditionalExpression(seen)) {
      const { condition, questionToken, whenTrue, colonToken, whenFalse } = seen;
      const [yes, no] = [counted(whenTrue), counted(whenFalse)];
      return factory.updateConditionalExpression(seen, condition, questionToken, yes, colonToken, no);
    }
    if (ts.isBinaryExpression(seen) && PARTING.has(seen.operatorToken.kind)) {
      return factory.updateBinaryExpression(seen, seen.left, seen.operatorToken, counted(seen.right));
    }
    return seen;
  };
  return (file) => ts.visitNode(file, visit);
}

const PARTING = new Set([
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken,
]);

/** Short texts, numbers as text and as bytes, and the words of regular expressions. */
function collect(node) {
  const { words } = coverage;
  if (ts.isStringLiteralLike(node) && node.text.length > 0 && node.text.length <= 40) words.add(node.text);
  else if (ts.isNumericLiteral(node)) words.add(Number(node.text));
  else if (ts.isRegularExpressionLiteral(node)) {
    for (const [word] of node.text.matchAll(/[A-Za-z_][\w ]+|[^\w\s\\]/g)) words.add(word);
  }
}
