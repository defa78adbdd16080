/*
 * The VM's part of ahead-of-time.mjs: loads a compiled program, attaches it, locks the kernel down, and prints what it
 * saw as JSON: pairs of a sentence and what speaks against it.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { release } from 'node:os';

const { BCC } = createRequire(import.meta.url)('../../lib/index.js');
const started = performance.now();
const b = new BCC({ program: process.argv[2] });
b.attachKprobe({ event: b.getSyscallFnname('getppid'), fnName: 'on_call' });
const milliseconds = performance.now() - started;
const seen = [];
const events = b.table('events');
events.openRingBuffer((_ctx, data) => seen.push(events.event(data)));
process.ppid;
process.ppid;
b.ringBufferPoll(1000);
const own = seen.filter(({ pid }) => pid === process.pid);
const calls = b.table('calls').get(process.pid);
const child = spawnSync('/bin/true').pid;
const parent = b.table('children').get(child);
const maps = readFileSync('/proc/self/maps', 'latin1');
b.close();

// There is no way back from this but another boot.
spawnSync('mount', ['-t', 'securityfs', 'securityfs', '/sys/kernel/security']);
writeFileSync('/sys/kernel/security/lockdown', 'confidentiality');
let refusal;
const locked = new BCC({ program: process.argv[2] });
try {
  locked.loadFunc('on_call', BCC.KPROBE);
} catch (error) {
  refusal = error;
}
locked.close();

const text = (value) => JSON.stringify(value, (_key, each) => (typeof each === 'bigint' ? `${each}n` : each));
console.log(
  text([
    ['there are no headers there', existsSync(`/lib/modules/${release()}/build`) && 'there are'],
    [
      `it comes from the file, attached after ${milliseconds.toFixed(0)} ms of an emulated processor`,
      b.compiledBy !== 'file' && b.compiledBy,
    ],
    [
      'its events are decoded, with members of kernel structs',
      text(own) !== text([0, 0].map(() => ({ pid: process.pid, tgid: process.pid, comm: own[0]?.comm }))) && text(seen),
    ],
    ['its table counts', calls !== 2n && text(calls)],
    ['its tracepoint has the record of that kernel', parent !== process.pid && text({ child, parent })],
    [
      'under lockdown the refusal names it',
      !/locked down \(confidentiality\): no program may read/.test(refusal?.hint) && `${refusal?.stack}`,
    ],
    ['LLVM is not mapped', /libLLVM|libclang/.test(maps) && 'it is'],
  ]),
);
