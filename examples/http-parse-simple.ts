// Prints the first line of every HTTP request and answer on an interface: `http-parse-simple [DEV]`, by default lo.
// A socket filter in the kernel lets only packets through that begin as HTTP does.
import { readSync } from 'node:fs';
import { BCC, BPFProgType } from 'tsbcc';
import { limits, operands } from './lib/limits';

const [dev = 'lo'] = operands;

const b = new BCC(`
#include <net/sock.h>
#include <bcc/proto.h>
#define IP_TCP 6
#define ETH_HLEN 14

int http_filter(struct __sk_buff *skb) {
    u8 *cursor = 0;
    struct ethernet_t *ethernet = cursor_advance(cursor, sizeof(*ethernet));
    if (ethernet->type != 0x0800)
        return 0;
    struct ip_t *ip = cursor_advance(cursor, sizeof(*ip));
    if (ip->nextp != IP_TCP)
        return 0;
    u32 ip_length = ip->hlen << 2;
    u32 payload = ETH_HLEN + ip_length + (load_byte(skb, ETH_HLEN + ip_length + 12) >> 4 << 2);
    if (skb->len < payload + 8)
        return 0;
    u32 begin = load_word(skb, payload);
    // "HTTP", "GET ", "POST", "PUT ", "DELE", "HEAD"
    if (begin == 0x48545450 || begin == 0x47455420 || begin == 0x504f5354 || begin == 0x50555420 ||
        begin == 0x44454c45 || begin == 0x48454144)
        return -1;
    return 0;
}`);
const filter = b.loadFunc('http_filter', BPFProgType.SOCKET_FILTER);
BCC.attachRawSocket(filter, dev);
const socket = filter.sock!;
const limit = limits();

/** The first line behind the headers of Ethernet, IP and TCP, whose lengths are in themselves. */
function firstLine(packet: Buffer): string {
  const ip = 14;
  const tcp = ip + (packet[ip]! & 0x0f) * 4;
  const payload = tcp + (packet[tcp + 12]! >> 4) * 4;
  return packet.toString('latin1', payload).split('\r\n', 1)[0]!;
}

console.log(`HTTP on ${dev}; Ctrl-C ends.`);
const buffer = Buffer.alloc(65536);
const timer = setInterval(() => {
  try {
    // The socket never waits: where nothing has come it says so.
    while (!limit.reached) {
      console.log(firstLine(buffer.subarray(0, readSync(socket, buffer))));
      limit.next();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
  }
  if (!limit.reached) return;
  clearInterval(timer);
  b.close();
}, 50);
