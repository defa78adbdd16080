/** A failure of the VM door itself, never of the command that runs inside; `hint` says what to do about it. */
export class VmError extends Error {
  /**
   * @param {string} message what went wrong
   * @param {string} [hint] what a person can do about it
   * @param {{ cause?: unknown }} [options]
   */
  constructor(message, hint, options) {
    super(hint ? `${message}\n${hint}` : message, options);
    this.name = 'VmError';
    this.hint = hint;
  }
}

/**
 * The VM died by itself. Emulated ones do now and then: QEMU may still run what the kernel has rewritten, as kernels do
 * with their own code while they boot and at every probe.
 */
export class VmDied extends VmError {
  /**
   * @param {boolean} booted whether the command was running by then
   * @param {string} [hint]
   */
  constructor(booted, hint) {
    super(booted ? 'the VM ended before the command did' : 'the VM ended while it booted', hint);
    this.name = 'VmDied';
    this.booted = booted;
  }
}
