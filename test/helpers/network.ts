import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';

/** Whether `ip link` can make and remove a pair of virtual interfaces here. */
export function canMakeInterfaces(): boolean {
  try {
    new VethPair(`probe${process.pid % 10000}`).remove();
    return true;
  } catch {
    return false;
  }
}

/** Two interfaces joined by a wire, up, without addresses: nothing but a test sends there. */
export class VethPair {
  readonly peer: string;

  constructor(readonly name: string) {
    this.peer = `${name}p`;
    ip('link', 'add', name, 'type', 'veth', 'peer', 'name', this.peer);
    try {
      // Without IPv6 the kernel sends no neighbour discovery of its own.
      for (const dev of [name, this.peer]) ip('link', 'set', dev, 'addrgenmode', 'none', 'up');
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  remove(): void {
    ip('link', 'del', this.name);
  }
}

export function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Sends datagrams to this machine itself, over lo. */
export async function sendOverLoopback(count: number, text = 'x'): Promise<void> {
  const receiver = createSocket('udp4');
  const sender = createSocket('udp4');
  try {
    await new Promise<void>((resolve) => receiver.bind(0, '127.0.0.1', resolve));
    const { port } = receiver.address();
    for (let i = 0; i < count; i++) {
      await new Promise<void>((resolve, reject) => {
        sender.send(text, port, '127.0.0.1', (error) => (error ? reject(error) : resolve()));
      });
    }
  } finally {
    receiver.close();
    sender.close();
  }
}
