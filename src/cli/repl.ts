import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { type REPLServer, start } from 'node:repl';
import { inspect } from 'node:util';
import * as tsbcc from '../index';
import type { Command } from './command';
import { complete } from './completion';
import { PROGRAM_OPTIONS, programOptions } from './program';
import { showing } from './progress';

/** What the REPL works on: its context, where `b` is the program, whoever assigned it. */
interface Session {
  b?: tsbcc.BCC | undefined;
}

const STARTER = `#include <linux/sched.h>

struct data_t {
  u32 pid;
  char comm[TASK_COMM_LEN];
};
BPF_RINGBUF_OUTPUT(events, 1 << 4);
BPF_HASH(counts, u32, u64);

int tracepoint__syscalls__sys_enter_execve(void *ctx) {
  struct data_t data = {};
  data.pid = bpf_get_current_pid_tgid() >> 32;
  bpf_get_current_comm(&data.comm, sizeof(data.comm));
  events.ringbuf_output(&data, sizeof(data), 0);
  counts.increment(data.pid);
  return 0;
}
`;

type Completer = (line: string, done: (error: Error | null, result: [string[], string]) => void) => void;

/** Node's own completion, and names of the kernel and the program where only we know them. */
function completerFor(session: Session, original: Completer): Completer {
  return (line, done) => {
    let found: ReturnType<typeof complete>;
    try {
      found = complete(session.b, line);
    } catch {
      // without tracefs, kallsyms or that library there is nothing to offer
    }
    if (found) done(null, found);
    else original(line, done);
  };
}

/** Lets `$EDITOR` change the program's text; undefined where nothing was changed. */
function edit(text: string): string | undefined {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'tsbcc-edit-'));
  const file = path.join(folder, 'program.c');
  try {
    writeFileSync(file, text, { mode: 0o600 });
    // EDITOR may hold arguments, as in `code --wait`; the file's name is never read by a shell.
    const [program, ...args] = (process.env.VISUAL ?? process.env.EDITOR ?? 'vi').split(/\s+/);
    const { error } = spawnSync(program!, [...args, file], { stdio: 'inherit' });
    if (error) throw error;
    const edited = readFileSync(file, 'utf8');
    return edited === text ? undefined : edited;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function onlyStackTable(b: tsbcc.BCC): string {
  const names = Object.keys(b.tables).filter((name) => b.tables[name]!.type === tsbcc.BPFMapType.STACK_TRACE);
  if (names.length === 1) return names[0]!;
  throw new RangeError(
    names.length === 0 ? 'the program has no table of stacks' : `which table? .stack ${names.join(' or ')} ID`,
  );
}

function defineCommands(server: REPLServer, session: Session, say: (text: string) => void): void {
  const withProgram = (use: (b: tsbcc.BCC, argument: string) => void) =>
    function action(this: REPLServer, argument: string) {
      try {
        if (session.b) use(session.b, argument.trim());
        else say('no program is loaded: b = new BCC(`…`), or .edit');
      } catch (error) {
        say((error as Error).message);
      }
      this.displayPrompt();
    };
  server.defineCommand('probes', {
    help: 'What is attached',
    action: withProgram((b) =>
      say(
        b.links.length > 0
          ? b.links.map((link) => inspect(link, { colors: server.useColors })).join('\n')
          : 'nothing is attached',
      ),
    ),
  });
  server.defineCommand('tables', {
    help: 'The tables, with their types and sizes',
    action: withProgram((b) => {
      for (const [name, { type, keySize, leafSize, maxEntries }] of Object.entries(b.tables)) {
        const kind = Object.entries(tsbcc.BPFMapType).find(([, number]) => number === type)?.[0] ?? String(type);
        const size =
          type === tsbcc.BPFMapType.RINGBUF
            ? `${maxEntries} bytes`
            : `key ${keySize} bytes, leaf ${leafSize} bytes, ${maxEntries} entries at most`;
        say(`${name.padEnd(20)} ${kind}, ${size}`);
      }
    }),
  });
  server.defineCommand('hist', {
    help: '.hist NAME: a table as a log2 histogram',
    action: withProgram((b, name) => b.table(name).printLog2Hist()),
  });
  server.defineCommand('stack', {
    help: '.stack [TABLE] ID [PID]: the functions of a stack, of the kernel or of a process',
    action: withProgram((b, argument) => {
      const words = argument.split(/\s+/);
      const name = /^\d/.test(words[0]!) ? onlyStackTable(b) : words.shift()!;
      const [id = '', pid = '-1'] = words;
      for (const address of b.table(name).walk(Number(id))) {
        say(`  ${tsbcc.BCC.sym(address, Number(pid), { showModule: true, showOffset: true })}`);
      }
    }),
  });
  server.defineCommand('edit', {
    help: "Change the program's C text in $EDITOR, and load what comes out as b",
    action(this: REPLServer) {
      try {
        this.pause();
        const text = edit(session.b?.program.origin.text ?? STARTER);
        this.resume();
        if (text === undefined) say('unchanged');
        else {
          const fresh = new tsbcc.BCC(text);
          session.b?.close();
          session.b = fresh;
          say(inspect(fresh, { colors: this.useColors }));
        }
      } catch (error) {
        say((error as Error).message);
      }
      this.displayPrompt();
    },
  });
}

export const command: Command = {
  usage: '[options] [prog.c]',
  about:
    "Node's REPL with everything of tsbcc at hand and a program loaded as b. Tab completes tables, functions, kernel\n" +
    'functions and tracepoints inside strings; await works at the top level; leaving detaches everything.',
  options: PROGRAM_OPTIONS,
  examples: [
    ['hello.c', 'explore what hello.c counts'],
    ["-e 'BPF_HASH(h);'", 'a table to play with'],
  ],
  async run(values, positionals) {
    const options = programOptions(values, positionals);
    const first = options && (await showing('compiling', tsbcc.BCC.load(options)));
    const say = (text: string) => process.stdout.write(`${text}\n`);
    const colors = process.stdout.hasColors?.() ?? false;
    say(first ? inspect(first, { colors }) : 'b = new BCC(`…`) loads a program; .edit writes one; .help tells more');
    const server = start({ prompt: 'tsbcc> ', useGlobal: true });
    const session: Session = Object.assign(server.context, tsbcc, { b: first });
    const original = server.completer as unknown as Completer;
    Object.assign(server, { completer: completerFor(session, original) });
    defineCommands(server, session, say);
    await new Promise<void>((resolve) => server.once('exit', resolve));
    session.b?.close();
    return 0;
  },
};
