import { readFileSync, writeSync } from 'node:fs';
import { serialize } from 'node:v8';
import { compiler, type NativeFunctionDescription, type NativeTableDescription } from '../native';

/*
 * The process that compiles, and nothing else: LLVM's memory ends with it, and so does whatever LLVM does to a process
 * (it aborts on some programs and exits on others). It reads a request as JSON from its standard input, tells the
 * compiler's messages on stderr, and writes what came out to descriptor 3.
 */

/** Compiled in turn until one succeeds: the annotated text first, then the user's own, for true messages. */
export interface ChildRequest {
  texts: string[];
  cflags: string[];
  debug: number;
  allowRlimit: boolean;
  device: string | null;
}

export interface ChildResult {
  /** Which of the texts compiled. */
  text: number;
  libbcc: string;
  license: string;
  kernVersion: number;
  functions: NativeFunctionDescription[];
  tables: NativeTableDescription[];
  btf: Uint8Array;
}

/** Stands on stderr between the messages of one text and the next. */
export const NEXT_TEXT = '\x1etsbcc: next text\n';

/** The exit status for a text that does not compile. */
export const REFUSED_STATUS = 65;

function main(): void {
  const request = JSON.parse(readFileSync(0, 'utf8')) as ChildRequest;
  const { libbccVersion, compile } = compiler();
  for (const [index, text] of request.texts.entries()) {
    if (index > 0) process.stderr.write(NEXT_TEXT);
    const module = compile(text, request.cflags, request.debug, request.allowRlimit, request.device);
    if (!module) continue;
    const result: ChildResult = {
      text: index,
      libbcc: libbccVersion,
      license: module.license,
      kernVersion: module.kernVersion,
      functions: module.functions(),
      tables: module.tables(),
      btf: module.btf(),
    };
    const bytes = serialize(result);
    for (let written = 0; written < bytes.length; ) written += writeSync(3, bytes, written);
    return;
  }
  process.exitCode = REFUSED_STATUS;
}

if (require.main === module) main();
