import { Transform } from 'node:stream';

/**
 * Passes bytes through until a token comes, which it swallows; `ended` then resolves. A stream from a virtio port has
 * no end of its own, so the guest writes a random token after the last byte. Nothing is held back but what may be the
 * token's beginning.
 */
export class UntilToken extends Transform {
  #token;
  #held = Buffer.alloc(0);

  /** @param {string} token in ASCII, and not to be expected in the stream */
  constructor(token) {
    super();
    this.#token = Buffer.from(token);
    /** @type {Promise<void>} resolves when the token has come and everything before it has been read */
    this.ended = new Promise((resolve) => {
      this.once('end', resolve);
    });
  }

  _transform(chunk, _encoding, callback) {
    const bytes = this.#held.length ? Buffer.concat([this.#held, chunk]) : chunk;
    const end = bytes.indexOf(this.#token);
    const keep = end < 0 ? this.#beginningAtEndOf(bytes) : bytes.length - end;
    this.#held = bytes.subarray(bytes.length - keep);
    if (bytes.length > keep) this.push(bytes.subarray(0, bytes.length - keep));
    if (end >= 0) {
      this.#held = Buffer.alloc(0);
      this.push(null);
    }
    callback();
  }

  /** What was held back of a stream that broke off belongs to it. */
  _flush(callback) {
    if (this.#held.length) this.push(this.#held);
    callback();
  }

  /** How many of the last bytes may be the beginning of the token. */
  #beginningAtEndOf(bytes) {
    for (let length = Math.min(this.#token.length - 1, bytes.length); length > 0; length--) {
      if (bytes.subarray(bytes.length - length).equals(this.#token.subarray(0, length))) return length;
    }
    return 0;
  }
}
