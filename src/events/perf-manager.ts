import { type NativePerfReader, runtime } from '../native';
import type { EventHost } from './event-host';
import { Poller } from './poller';

/** The perf buffers of one BCC object that deliver to callbacks: what `perfBufferPoll` and `perfBufferConsume` turn. */
export class PerfManager extends Poller<NativePerfReader> {
  /** The host's one manager; it closes with the host. */
  static of(host: EventHost): PerfManager {
    return host.shared('perf buffers', () => {
      const manager = new PerfManager();
      host.onClose(() => manager.close());
      return manager;
    });
  }

  private constructor() {
    super('perf buffer', 'openPerfBuffer', new (runtime().PerfReader)());
  }
}
