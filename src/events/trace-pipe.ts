import { closeSync, constants, openSync, readSync } from 'node:fs';
import * as path from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { requireText } from '../arguments';
import { privilegeHint } from '../capabilities';
import { BCCError, ClosedError, errnoText } from '../errors';
import { tracefsRoot } from '../kernel/tracefs';
import { type NativeFdWatcher, runtime } from '../native';

/*
 * trace_pipe: where bpf_trace_printk writes, one text for the whole system. Whoever reads a line takes it from everybody
 * else, and since Linux 6.6 only one process at a time can open it.
 */

/** A line of trace_pipe: the task's name, its pid, the CPU, the flags, seconds since boot, the message. */
export type TraceFields = [task: string, pid: number, cpu: number, flags: string, ts: number, msg: string];

/** What `traceFields({ nonblocking: true })` returns where no line is there. */
export type NoTraceFields = [undefined, undefined, undefined, undefined, undefined, undefined];

/** What reading one line may be told. */
export interface TraceReadOptions {
  /** Return at once where there is no line. */
  nonblocking?: boolean;
}

/** What reading lines as they come may be told. */
export interface TraceOptions {
  /** Ends the lines when it is aborted. */
  signal?: AbortSignal;
}

/*
 *             sh-1234    [001] d..31 12345.678901: bpf_trace_printk: message
 * The task's name may hold anything, blanks and dashes too, but at 15 bytes not all that must follow it. Between pid and
 * CPU stands the thread group's id where the option record-tgid is on; without irq-info there are no flags; before Linux
 * 4.13 no symbol stands before the message.
 */
const LINE = /^\s*(.*?)-(\d+)\s+(?:\(\s*[\d-]+\)\s+)?\[(\d+)\]\s+(?:(\S{4,8})\s+)?(\d+(?:\.\d+)?): ?[^:]*: ?(.*)$/s;

/** The parts of a line of trace_pipe; undefined for what is no message, such as the kernel's notice of lost lines. */
export function parseTraceLine(line: string): TraceFields | undefined {
  requireText(line, 'line');
  const match = LINE.exec(line);
  if (!match) return undefined;
  const [, task, pid, cpu, flags = '', ts, msg] = match;
  return [task!, Number(pid), Number(cpu), flags, Number(ts), msg!];
}

/** `[[fill]align][0][width][.precision][type]` of Python's format. */
const FORMAT_SPEC = /^(?:(.)?([<>^]))?(0)?(\d+)?(?:\.(\d+))?([dfs])?$/su;

/** One field by the part behind the colon; undefined where that does not fit the field. */
function formatField(field: string | number, spec: string): string | undefined {
  const match = FORMAT_SPEC.exec(spec);
  if (!match) return undefined;
  const [, fill, align, zero, width = '0', precision, type] = match;
  const isText = typeof field === 'string';
  if (isText ? type === 'd' || type === 'f' : type === 's' || (precision !== undefined && type !== 'f'))
    return undefined;
  if (type === 'd' && !Number.isInteger(field)) return undefined;
  let text = String(field);
  if (type === 'f') text = (field as number).toFixed(Number(precision ?? 6));
  else if (precision !== undefined) text = text.slice(0, Number(precision));
  const room = Math.max(0, Number(width) - text.length);
  const before = { '<': 0, '>': room, '^': room >> 1 }[align ?? (isText ? '<' : '>')]!;
  const padding = fill ?? zero ?? ' ';
  return padding.repeat(before) + text + padding.repeat(room - before);
}

/**
 * `{5}` by the field's number, `{}` by the next one in order, `{1:>6}` and `{4:.3f}` in columns, doubled braces for
 * themselves: as Python's str.format.
 */
export function formatTraceFields(fmt: string, fields: TraceFields): string {
  let next = 0;
  return fmt.replace(/\{\{|\}\}|\{([^{}]*)\}|[{}]/g, (whole, inside: string | undefined) => {
    if (whole === '{{' || whole === '}}') return whole[0]!;
    const [, index, spec = ''] = /^(\d*)(?::(.*))?$/su.exec(inside ?? '-') ?? [];
    const field = index === undefined ? undefined : fields[index === '' ? next++ : Number(index)];
    const text = field === undefined ? undefined : formatField(field, spec);
    if (text === undefined) {
      throw new RangeError(
        `'${whole}' in ${JSON.stringify(fmt)} is no field: they are {0} task to {5} message, {1:>6} and {4:.3f} in columns`,
      );
    }
    return text;
  });
}

const CHUNK_BYTES = 64 * 1024;

/** The kernel's trace_pipe, where bpf_trace_printk of every program writes. A line read is gone for all other readers. */
export class TracePipe {
  #fd: number | undefined;
  #nonblocking = false;
  readonly #chunk = Buffer.alloc(CHUNK_BYTES);
  readonly #decoder = new StringDecoder('utf8');
  /** Complete lines not yet returned, latest first, and what has come of the next one. */
  #lines: string[] = [];
  #rest = '';
  #closed = false;
  /** Whether lines() is under way. */
  #following = false;
  /** Ends a wait that close() finds under way. */
  #interrupt: (() => void) | undefined;

  /** @param writer what must not be collected while its lines are read */
  constructor(readonly writer?: object) {}

  /**
   * Opens the file where it is not open; the other calls do so themselves.
   * @throws BCCError `ERR_BCC_TRACE_PIPE`: busy, or not allowed
   */
  open({ nonblocking = false }: TraceReadOptions = {}): this {
    if (this.#closed) throw new ClosedError('trace_pipe');
    if (this.#fd !== undefined && this.#nonblocking === nonblocking) return this;
    if (this.#following) throw beingRead();
    this.#release();
    const file = path.join(tracefsRoot(), 'trace_pipe');
    try {
      this.#fd = openSync(file, constants.O_RDONLY | (nonblocking ? constants.O_NONBLOCK : 0));
    } catch (cause) {
      const errno = -((cause as NodeJS.ErrnoException).errno ?? 0);
      const busy = (cause as NodeJS.ErrnoException).code === 'EBUSY';
      throw new BCCError('ERR_BCC_TRACE_PIPE', `${file} cannot be opened: ${errnoText(errno)}`, {
        errno,
        cause,
        hint: busy
          ? 'end the other process (or the other BCC object) that reads it: since Linux 6.6 there can be only one'
          : privilegeHint(errno),
      });
    }
    this.#nonblocking = nonblocking;
    return this;
  }

  /**
   * The next line, without its end. It blocks the whole thread until there is one, or with `nonblocking` returns undefined;
   * so it does, too, when a signal ends the wait.
   */
  readline({ nonblocking = false }: TraceReadOptions = {}): string | undefined {
    const buffered = this.#lines.pop();
    if (buffered !== undefined) return buffered;
    this.open({ nonblocking });
    while (this.#lines.length === 0) if (!this.#read()) return undefined;
    return this.#lines.pop();
  }

  /** The next line that is a message, in its parts. */
  fields(options?: { nonblocking?: false }): TraceFields;
  fields(options?: TraceReadOptions): TraceFields | NoTraceFields;
  fields(options: TraceReadOptions = {}): TraceFields | NoTraceFields {
    for (;;) {
      const line = this.readline(options);
      if (line === undefined) {
        if (options.nonblocking) return [undefined, undefined, undefined, undefined, undefined, undefined];
        continue;
      }
      const fields = parseTraceLine(line);
      if (fields) return fields;
    }
  }

  /** The lines as they come; the event loop waits for them. Ends with the signal, or when the pipe is closed. */
  async *lines({ signal }: TraceOptions = {}): AsyncGenerator<string, void, undefined> {
    if (this.#following) throw beingRead();
    this.open({ nonblocking: true });
    const watcher = new (runtime().FdWatcher)(this.#fd!);
    this.#following = true;
    const interrupt = () => this.#interrupt?.();
    signal?.addEventListener('abort', interrupt);
    const ended = () => this.#closed || signal?.aborted;
    try {
      while (!ended()) {
        const line = this.#lines.pop();
        if (line !== undefined) yield line;
        else if (!this.#read()) await this.#readable(watcher);
        // Between two pieces of text the event loop has a turn.
        else await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      signal?.removeEventListener('abort', interrupt);
      watcher.close();
      this.#following = false;
    }
  }

  /** Prints each line, or with `fmt` the fields it chooses of each message ({@link formatTraceFields}), until the end. */
  async print(fmt?: string, options: TraceOptions = {}): Promise<void> {
    for await (const line of this.lines(options)) {
      const fields = fmt === undefined ? undefined : parseTraceLine(line);
      if (fmt === undefined) process.stdout.write(`${line}\n`);
      else if (fields) process.stdout.write(`${formatTraceFields(fmt, fields)}\n`);
    }
  }

  /** Harmless when repeated. */
  close(): void {
    this.#closed = true;
    this.#lines = [];
    this.#interrupt?.();
    this.#release();
  }

  #release(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** Reads what is there, or waits for it where the file was opened so; false where nothing came. */
  #read(): boolean {
    let count: number;
    try {
      count = readSync(this.#fd!, this.#chunk);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EAGAIN' || code === 'EINTR') return false;
      throw error;
    }
    if (count === 0) return false;
    const lines = (this.#rest + this.#decoder.write(this.#chunk.subarray(0, count))).split('\n');
    this.#rest = lines.pop()!;
    this.#lines = lines.reverse();
    return true;
  }

  #readable(watcher: NativeFdWatcher): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#interrupt = undefined;
        watcher.stop();
        resolve();
      };
      this.#interrupt = done;
      watcher.start(done);
    });
  }
}

function beingRead(): BCCError {
  return new BCCError('ERR_BCC_TRACE_PIPE', 'the lines of trace_pipe are being read by a loop already', {
    hint: 'end that loop first, with break or its signal',
  });
}
