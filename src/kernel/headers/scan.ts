/*
 * A reader of C text that knows just enough: which words a text uses, what it includes, what it declares at file scope.
 * It errs on the side of finding too much; the compiler has the last word.
 */

/** One `#include`, as written. */
export interface Include {
  name: string;
  /** `<name>` rather than `"name"`. */
  angled: boolean;
  /** Inside `#if`…`#endif`: it may never be reached. */
  conditional: boolean;
}

/** What a text declares at file scope: those names are the text's own, whatever the kernel calls by them. */
export interface Declared {
  /** struct, union and enum tags that are defined (with a body). */
  tags: Set<string>;
  /** Functions, variables, tables, typedefs, enumerators. */
  ordinary: Set<string>;
  /** Macros, by `#define`. */
  macros: Set<string>;
}

const COMMENT_OR_LITERAL =
  /\/\*[\s\S]*?(?:\*\/|$)|\/\/(?:\\\r?\n|[^\n])*|"(?:\\[\s\S]|[^"\\\n])*"|'(?:\\[\s\S]|[^'\\\n])*'/g;
const WORD = /[A-Za-z_$][A-Za-z0-9_$]*/g;

/** The text without comments; literals become empty ones unless `keepLiterals`. Lines keep their number. */
export function stripComments(text: string, keepLiterals = false): string {
  return text.replace(COMMENT_OR_LITERAL, (match) => {
    if (match[0] === '/') return ' ' + match.replace(/[^\n]+/g, '');
    return keepLiterals ? match : match[0]! + match[0]!;
  });
}

/** Every identifier of a text that has no comments; numbers such as `0x10UL` and `1e9` are none. */
export function words(text: string, into: Set<string> = new Set()): Set<string> {
  for (const match of text.matchAll(/(?:\b[0-9][A-Za-z0-9_.]*)|([A-Za-z_$][A-Za-z0-9_$]*)/g)) {
    if (match[1] !== undefined) into.add(match[1]);
  }
  return into;
}

/** The includes of a text, comments aside. `__has_include(<x>)` counts as a conditional one. */
export function includes(text: string): Include[] {
  const found: Include[] = [];
  let depth = 0;
  for (const line of stripComments(text, true)
    .replace(/\\\r?\n/g, ' ')
    .split(/\r?\n/)) {
    const directive = /^\s*#\s*(\w+)\s*(.*)$/.exec(line);
    if (!directive) continue;
    const [, word, rest] = directive as unknown as [string, string, string];
    for (const test of rest.matchAll(/__has_include\w*\s*\(\s*(?:<([^>]+)>|"([^"]+)")/g)) {
      found.push({ name: (test[1] ?? test[2])!.trim(), angled: test[1] !== undefined, conditional: true });
    }
    if (word.startsWith('if')) depth++;
    else if (word === 'endif') depth = Math.max(0, depth - 1);
    else if (word === 'include' || word === 'include_next' || word === 'import') {
      const target = /^(?:<([^>]+)>|"([^"]+)")/.exec(rest);
      if (target) {
        found.push({ name: (target[1] ?? target[2])!.trim(), angled: target[1] !== undefined, conditional: depth > 0 });
      }
    }
  }
  return found;
}

const KEYWORDS = new Set(
  (
    'auto break case char const continue default do double else enum extern float for goto if inline int long register ' +
    'restrict return short signed sizeof static struct switch typedef union unsigned void volatile while _Bool __int128 ' +
    '__attribute__ __inline __inline__ __always_inline __volatile__ __const typeof __typeof__ asm __asm__ _Static_assert'
  ).split(' '),
);

export function isKeyword(word: string): boolean {
  return KEYWORDS.has(word);
}

/** Which argument of a BCC table macro is the table's name: the first, unless it is listed here. */
const NAME_ARGUMENT: Record<string, number> = {
  BPF_TABLE: 3,
  BPF_F_TABLE: 3,
  BPF_TABLE_PUBLIC: 3,
  BPF_TABLE_SHARED: 3,
  BPF_TABLE_PINNED: 3,
  BPF_QUEUESTACK: 1,
  BPF_QUEUESTACK_PINNED: 1,
  BPF_QUEUESTACK_PUBLIC: 1,
  BPF_QUEUESTACK_SHARED: 1,
  BPF_XDP_REDIRECT_MAP: 2,
};

/**
 * What the text declares at file scope. Conditional branches all count: a name that is declared in one of them is taken
 * as the text's own.
 */
export function declarations(text: string): Declared {
  const declared: Declared = { tags: new Set(), ordinary: new Set(), macros: new Set() };
  // what is undefined before it is defined is somebody else's macro until then
  const expected = new Set<string>();
  const code = stripComments(text)
    .replace(/\\\r?\n/g, ' ')
    .replace(/^[ \t]*#[ \t]*(\w+)[ \t]*(.*)$/gm, (_line, word: string, rest: string) => {
      const name = /^\w*/.exec(rest)![0];
      if (word === 'undef') expected.add(name);
      else if (word === 'define' && name && !expected.has(name)) declared.macros.add(name);
      return '';
    })
    .replace(/__attribute__\s*\(\(.*?\)\)/g, ' ');
  for (const match of code.matchAll(/\b(struct|union|enum)\s+(\w+)\s*\{/g)) declared.tags.add(match[2]!);
  for (const match of code.matchAll(/\benum\b\s*\w*\s*\{([^}]*)\}/g)) {
    for (const item of match[1]!.split(',')) {
      const name = /^\s*(\w+)/.exec(item)?.[1];
      if (name) declared.ordinary.add(name);
    }
  }
  for (const statement of fileScope(code)) declareNames(statement, declared.ordinary);
  return declared;
}

/** The statements at file scope, with the insides of braces removed: `{}`. */
function* fileScope(code: string): Generator<string> {
  let depth = 0;
  let statement = '';
  for (const match of code.matchAll(/[{};]|[^{};]+/g)) {
    const piece = match[0];
    if (piece === '{') {
      if (depth++ === 0) statement += '{';
    } else if (piece === '}') {
      depth = Math.max(0, depth - 1);
      if (depth > 0) continue;
      statement += '}';
      // a function's body ends its definition; a type's does not
      if (/\)\s*\{\}$/.test(statement)) {
        yield statement;
        statement = '';
      }
    } else if (depth === 0) {
      if (piece === ';') {
        yield statement;
        statement = '';
      } else {
        statement += piece;
      }
    }
  }
  if (statement.trim()) yield statement;
}

function declareNames(statement: string, into: Set<string>): void {
  const add = (name: string | undefined) => {
    if (name && !KEYWORDS.has(name) && !/^\d/.test(name)) into.add(name);
  };
  // several table macros may stand in a row without semicolons, before a function as well
  const withoutTables = statement.replace(TABLE_MACRO, (_whole, macro: string, parameters: string) => {
    add(parameters.split(',')[NAME_ARGUMENT[macro] ?? 0]?.trim());
    return ' ';
  });
  const plain = withoutTables
    .replace(/\b(?:struct|union|enum)\b(?:\s+\w+)?\s*\{\}/g, ' ')
    .replace(/\b(?:struct|union|enum)\s+\w+/g, ' ')
    .replace(/\{\}/g, ' ')
    .trim();
  if (/^typedef\b/.test(plain)) {
    add(/\(\s*\*\s*(\w+)\s*\)/.exec(plain)?.[1] ?? LAST_NAME.exec(plain)?.[1]);
    return;
  }
  const call = /(\w+)\s*\(/.exec(plain);
  if (call && (plain.endsWith(')') || !plain.includes('='))) {
    add(call[1]);
    return;
  }
  for (const declarator of plain.split(',')) add(LAST_NAME.exec(declarator.split('=')[0]!.trim())?.[1]);
}

const TABLE_MACRO = /\b(BPF_[A-Z0-9_]+)\s*\(([^()]*(?:\([^()]*\)[^()]*)*)\)/g;
/** The name at the end of a declarator, array sizes aside. */
const LAST_NAME = /(\w+)\s*(?:\[[^\]]*\]\s*)*$/;

/** The words of a text in order, with what stands between them: for replacing some of them. */
export function replaceWords(text: string, replacement: (word: string) => string): string {
  return text.replace(WORD, replacement);
}
