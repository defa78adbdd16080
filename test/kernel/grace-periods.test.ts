import { readFileSync } from 'node:fs';
import { withShortGracePeriods } from '../../src/kernel/grace-periods';
import { itIf } from '../helpers';

const KNOB = '/sys/kernel/rcu_expedited';
const knob = () => readFileSync(KNOB, 'latin1').trim();

/** Whether the switch is there, off, and ours to turn. */
function canTurn(): boolean {
  try {
    return withShortGracePeriods(100, () => knob() === '1') && knob() === '0';
  } catch {
    return false;
  }
}

describe('short grace periods', () => {
  itIf(
    { when: canTurn(), reason: 'rcu_expedited cannot be written here' },
    'are asked for while the work lasts',
    () => {
      expect(withShortGracePeriods(100, knob)).toBe('1');
      expect(knob()).toBe('0');
      expect(() =>
        withShortGracePeriods(100, () => {
          throw new Error('from the work');
        }),
      ).toThrow('from the work');
      expect(knob()).toBe('0');
    },
  );

  itIf({ when: canTurn(), reason: 'rcu_expedited cannot be written here' }, 'are left alone for few of them', () => {
    expect(withShortGracePeriods(3, knob)).toBe('0');
    process.env['TSBCC_RCU_EXPEDITED'] = '0';
    try {
      expect(withShortGracePeriods(100, knob)).toBe('0');
    } finally {
      delete process.env['TSBCC_RCU_EXPEDITED'];
    }
  });

  it('are no condition for the work', () => {
    expect(withShortGracePeriods(100, () => 'done')).toBe('done');
  });
});
