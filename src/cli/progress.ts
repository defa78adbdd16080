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
