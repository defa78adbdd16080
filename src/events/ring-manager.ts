import { type NativeRingReader, runtime } from '../native';
import type { EventHost } from './event-host';
import { Poller } from './poller';

/** The ring buffers of one BCC object that deliver to callbacks: what `ringBufferPoll` and `ringBufferConsume` turn. */
export class RingManager extends Poller<NativeRingReader> {
  /** The host's one manager; it closes with the host. */
  static of(host: EventHost): RingManager {
    return host.shared('ring buffers', () => {
      const manager = new RingManager();
      host.onClose(() => manager.close());
      return manager;
    });
  }

  private constructor() {
    super('ring buffer', 'openRingBuffer', new (runtime().RingReader)());
  }
}
