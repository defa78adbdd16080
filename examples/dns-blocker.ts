// Drops the DNS queries for one name as they leave through an interface: `dns-blocker [DEV [NAME]]`, by default example.com
// on lo. The program sits on the interface's egress (traffic control) and goes with this process.
import { BCC } from 'tsbcc';
import { limits, operands } from './lib/limits';

const [dev = 'lo', domain = 'example.com'] = operands;

/** As DNS writes names: each label after its length, and a zero. */
const wire = Buffer.concat([
  ...domain.split('.').flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)]),
  Buffer.of(0),
]);
const comparisons = Array.from(wire, (byte, i) => `question[${i}] == ${byte}`);

const b = new BCC(`
#include <uapi/linux/pkt_cls.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
struct dropped_t {
    u32 source;
    u16 id;
};
BPF_RINGBUF_OUTPUT(dropped, 8);

int block_dns(struct __sk_buff *skb) {
    void *data = (void *)(long)skb->data;
    void *end = (void *)(long)skb->data_end;
    struct ethhdr *ethernet = data;
    struct iphdr *ip = data + sizeof(*ethernet);
    if ((void *)(ip + 1) > end || ethernet->h_proto != htons(ETH_P_IP) || ip->protocol != IPPROTO_UDP || ip->ihl != 5)
        return TC_ACT_OK;
    struct udphdr *udp = (void *)(ip + 1);
    // Behind the header of DNS, 12 bytes, is the question.
    u8 *header = (void *)(udp + 1);
    u8 *question = header + 12;
    if ((void *)(question + ${wire.length}) > end || udp->dest != htons(53))
        return TC_ACT_OK;
    if (!(${comparisons.join(' && ')}))
        return TC_ACT_OK;
    struct dropped_t event = {.source = ip->saddr, .id = header[0] << 8 | header[1]};
    dropped.ringbuf_output(&event, sizeof(event), 0);
    return TC_ACT_SHOT;
}`);
b.attachTc({ fn: 'block_dns', dev, direction: 'egress' });
const limit = limits();

async function print() {
  console.log(`Dropping queries for ${domain} on ${dev}; Ctrl-C ends.`);
  for await (const { source, id } of b.table('dropped').events({ signal: limit.signal })) {
    const address = [0, 8, 16, 24].map((shift) => (source >>> shift) & 0xff).join('.');
    console.log(`dropped query ${id} for ${domain} from ${address}`);
    limit.next();
    if (limit.reached) break;
  }
  b.close();
}

void print();
