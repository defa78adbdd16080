import { readFileSync } from 'node:fs';
import { withShortGracePeriods } from '../../src/kernel/grace-periods';
import { itIf } from '../helpers';

const KNOB = '/sys/kernel/rcu_expedited';
const knob = () => readFileSync(KNOB, 'latin1').trim();

const VARIABLE = 'TSBCC_RCU_EXPEDITED';

/** Runs with the user's consent. */
function asked<T>(body: () => T): T {
  process.env[VARIABLE] = '1';
  try {
    return body();
  } finally {
    delete process.env[VARIABLE];
  }
}

/** Whether the switch is there, off, and ours to turn. */
function canTurn(): boolean {
  try {
    return asked(() => withShortGracePeriods(100, () => knob() === '1')) && knob() === '0';
  } catch {
    return false;
  }
}

describe('short grace periods', () => {
  itIf(
    { when: canTurn(), reason: 'rcu_expedited cannot be written here' },
    'are asked for while the work lasts, where the user wants that',
    () => {
      expect(asked(() => withShortGracePeriods(100, knob))).toBe('1');
      expect(knob()).toBe('0');
      expect(() =>
        asked(() =>
          withShortGracePeriods(100, () => {
            throw new Error('from the work');
          }),
        ),
      ).toThrow('from the work');
      expect(knob()).toBe('0');
    },
  );

  it('are left alone for few of them, and where nobody asks', () => {
    expect(withShortGracePeriods(100, knob)).toBe(knob());
    expect(asked(() => withShortGracePeriods(3, knob))).toBe(knob());
  });

  it('are no condition for the work', () => {
    expect(withShortGracePeriods(100, () => 'done')).toBe('done');
  });
});
