import { skipReason } from '../helpers';

describe('the needs of a test', () => {
  it('are met by a condition that holds', () => {
    expect(skipReason({ when: true, reason: 'never shown' })).toBeUndefined();
  });

  it('are told by the first thing that is missing', () => {
    expect(skipReason({ when: false, reason: 'no such device' })).toBe('no such device');
  });
});
