import { randomUUID } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { parseTraceLine, TracePipe } from '../../src/events/trace-pipe';
import { describeIf, requireRoot } from '../helpers';

requireRoot();

const MARKER = '/sys/kernel/tracing/trace_marker';
const turn = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

// One text for the whole machine: other lines may come between, and only those with our mark count.
describeIf({ when: existsSync(MARKER), reason: 'no trace_marker' }, 'trace_pipe', () => {
  const mark = randomUUID();
  const say = (text: string) => writeFileSync(MARKER, `${mark} ${text}\n`);
  let pipe: TracePipe;

  beforeEach(async () => {
    // Only one process at a time can open it.
    for (let tries = 0; tries < 100; tries++) {
      pipe = new TracePipe();
      try {
        pipe.open({ nonblocking: true });
        return;
      } catch (error) {
        if ((error as { errno?: number }).errno !== 16) throw error;
        await turn(100);
      }
    }
  });

  afterEach(() => pipe.close());

  function mine(nonblocking: boolean): string | undefined {
    for (;;) {
      const line = pipe.readline({ nonblocking });
      if (line === undefined || line.includes(mark)) return line;
    }
  }

  it('gives its lines, at once or by waiting', () => {
    expect(mine(true)).toBeUndefined();
    say('one');
    say('two');
    expect(mine(true)).toContain(`${mark} one`);
    expect(mine(false)).toContain(`${mark} two`);
    expect(pipe.fields({ nonblocking: true })).toHaveLength(6);
  });

  it('tells who wrote a line, and when', () => {
    say('fields');
    for (;;) {
      const [, pid, cpu, flags, ts, msg] = pipe.fields();
      if (msg !== `${mark} fields`) continue;
      expect(pid).toBe(process.pid);
      expect(cpu).toBeGreaterThanOrEqual(0);
      expect(flags).toMatch(/^\S{4,5}$/);
      expect(ts).toBeGreaterThan(0);
      expect(ts).toBeLessThan(uptime() + 60);
      return;
    }
  });

  it('is followed without polling, until the signal', async () => {
    const controller = new AbortController();
    setTimeout(() => say('later'), 20);
    const seen: string[] = [];
    for await (const line of pipe.lines({ signal: controller.signal })) {
      if (!line.includes(mark)) continue;
      seen.push(parseTraceLine(line)![5]);
      // The loop waits again before this happens.
      setTimeout(() => controller.abort(), 10);
    }
    expect(seen).toEqual([`${mark} later`]);
  });

  it('ends the loop that follows it when it is closed', async () => {
    const lines = pipe.lines();
    const next = (async () => {
      for await (const line of lines) if (line.includes('never said')) return 'said';
      return 'ended';
    })();
    await turn(10);
    expect(() => pipe.readline()).toThrow(expect.objectContaining({ code: 'ERR_BCC_TRACE_PIPE' }));
    pipe.close();
    expect(await next).toBe('ended');
    expect(() => pipe.open()).toThrow(expect.objectContaining({ code: 'ERR_BCC_CLOSED' }));
  });

  it('has one reader at a time where the kernel says so', () => {
    const second = new TracePipe();
    try {
      second.open({ nonblocking: true });
    } catch (error) {
      expect(error).toMatchObject({ code: 'ERR_BCC_TRACE_PIPE', errno: 16, hint: expect.stringContaining('only one') });
    } finally {
      second.close();
    }
  });

  it('is printed, whole or by its fields', async () => {
    const written: string[] = [];
    const write = jest.spyOn(process.stdout, 'write').mockImplementation((text) => written.push(String(text)) > 0);
    const controller = new AbortController();
    try {
      say('printed');
      setTimeout(() => controller.abort(), 50);
      await pipe.print('{1}: {5}', { signal: controller.signal });
    } finally {
      write.mockRestore();
    }
    expect(written).toContain(`${process.pid}: ${mark} printed\n`);
  });
});
