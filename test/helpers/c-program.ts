import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { outputOf, stopProcess } from './processes';

/** Compiles C text to `folder/name`; the path of what came out. */
export function compileC(folder: string, name: string, text: string, flags: readonly string[] = []): string {
  const source = path.join(folder, `${name}.c`);
  const output = path.join(folder, name);
  writeFileSync(source, text);
  outputOf('cc', ['-O1', '-o', output, source, ...flags]);
  return output;
}

/** A program that answers each line of its standard input with one line: how a test makes it do something and waits. */
export class Interactive {
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  constructor(program: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = process.env) {
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], env });
    this.#lines = createInterface({ input: this.#child.stdout! });
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the program did not start');
    return this.#child.pid;
  }

  /** Sends a line and waits for the answer. */
  ask(line: string | number): Promise<string> {
    return new Promise((resolve, reject) => {
      const ended = () => reject(new Error(`the program ended instead of answering "${line}"`));
      this.#child.once('exit', ended);
      this.#lines.once('line', (answer) => {
        this.#child.off('exit', ended);
        resolve(answer);
      });
      this.tell(line);
    });
  }

  /** Sends a line that has no answer. */
  tell(line: string | number): void {
    this.#child.stdin!.write(`${line}\n`);
  }

  async stop(): Promise<void> {
    await stopProcess(this.#child);
    this.#lines.close();
  }
}
