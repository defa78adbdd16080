/** Releases in the order given, all of them, and throws the first failure afterwards. */
export function releaseAll(steps: Iterable<() => void>): void {
  let failure: { error: unknown } | undefined;
  for (const step of steps) {
    try {
      step();
    } catch (error) {
      failure ??= { error };
    }
  }
  if (failure) throw failure.error;
}
