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
