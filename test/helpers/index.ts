import { FEATURES, type Feature, kernelHas } from './features';

export { FEATURES, type Feature, kernelHas, PYTHON } from './features';
export * from './processes';

/** What a test needs: features by name, or any condition with the reason for skipping where it does not hold. */
export type Need = Feature | readonly Feature[] | { when: boolean; reason: string };

type TestBody = jest.ProvidesCallback;

/** Why a test with these needs cannot run here, or undefined where it can. */
export function skipReason(need: Need): string | undefined {
  if (typeof need === 'object' && 'when' in need) return need.when ? undefined : need.reason;
  const missing = [need].flat().find((feature) => !kernelHas(feature));
  return missing && FEATURES[missing];
}

/** A test that runs where its needs are met and is otherwise skipped, with the reason in its title. */
export function itIf(need: Need, name: string, body: TestBody, timeoutMs?: number): void {
  const reason = skipReason(need);
  if (reason === undefined) it(name, body, timeoutMs);
  else it.skip(`${name} [skipped: ${reason}]`, body);
}

/** As {@link itIf}, for a whole group. */
export function describeIf(need: Need, name: string, body: () => void): void {
  const reason = skipReason(need);
  if (reason === undefined) describe(name, body);
  else describe.skip(`${name} [skipped: ${reason}]`, body);
}

/** For a file of kernel tests: fails with one clear sentence where it is run without root. */
export function requireRoot(): void {
  beforeAll(() => {
    if (!kernelHas('root')) throw new Error('the kernel tests load BPF programs: run them as root (sudo -E npm test)');
  });
}
