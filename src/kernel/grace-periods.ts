import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

/*
 * Removing a kprobe makes the kernel wait until no CPU can be inside it any more: an RCU grace period, or three, each 10
 * to 30 ms long and one after the other. Detaching hundreds of functions is nothing but waiting, unless the kernel is told
 * to hurry the CPUs (Documentation/admin-guide/kernel-parameters.txt, rcupdate.rcu_expedited).
 */

const KNOB = '/sys/kernel/rcu_expedited';

/** From how many grace periods on hurrying is worth the interrupts that it sends to every CPU. */
const WORTHWHILE = 10;

/**
 * Runs `work`, which waits for about `count` grace periods; with TSBCC_RCU_EXPEDITED=1 in the environment the kernel's own
 * switch for short ones is on meanwhile.
 *
 * The switch is system-wide and a process that is killed meanwhile leaves it on, so it is only turned where the user asks
 * for it, for more than a few waits, and where it is off and can be written. `rcu_normal` (latency-critical systems) wins
 * over it in the kernel itself.
 */
export function withShortGracePeriods<T>(count: number, work: () => T): T {
  if (count < WORTHWHILE || process.env['TSBCC_RCU_EXPEDITED'] !== '1' || !turn('0', '1')) return work();
  try {
    return work();
  } finally {
    turn('1', '0');
  }
}

/** Whether the switch stood as expected and now stands as wanted. */
function turn(expected: string, wanted: string): boolean {
  try {
    if (readFileSync(KNOB, 'latin1').trim() !== expected) return false;
    const fd = openSync(KNOB, 'w');
    try {
      writeSync(fd, wanted);
    } finally {
      closeSync(fd);
    }
    return true;
  } catch {
    return false;
  }
}
