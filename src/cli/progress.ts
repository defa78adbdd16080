/**
 * Shows what a person is waiting for: one line on a terminal that goes away with the wait, nothing in a pipe. Waits that
 * are over at once show nothing.
 */
export async function showing<T>(what: string, work: Promise<T>): Promise<T> {
  if (!process.stderr.isTTY) return work;
  const started = performance.now();
  const draw = () => {
    const seconds = (performance.now() - started) / 1000;
    process.stderr.write(`\r\x1b[K${what} … ${seconds.toFixed(1)} s`);
  };
  const timer = setInterval(draw, 250);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    process.stderr.write('\r\x1b[K');
  }
}

/** From how many steps on work that keeps the process busy is worth a word. */
const MANY = 50;

/** The same for work that lets no timer run: it is told before, and `step` tells how far it has come. */
export function showingBusy<T>(what: string, steps: number, work: (step: (done: number) => void) => T): T {
  if (!process.stderr.isTTY || steps < MANY) return work(() => {});
  let drawn = Number.NEGATIVE_INFINITY;
  const draw = (text: string) => {
    if (performance.now() - drawn < 100) return;
    drawn = performance.now();
    process.stderr.write(`\r\x1b[K${text}`);
  };
  draw(`${what} …`);
  try {
    return work((done) => draw(`${what}: ${done} of ${steps}`));
  } finally {
    process.stderr.write('\r\x1b[K');
  }
}
