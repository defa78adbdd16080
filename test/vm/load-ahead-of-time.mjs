/*
 * The VM's part of ahead-of-time.mjs: loads a compiled program, attaches it to a kprobe, and prints what it saw as JSON:
 * pairs of a sentence and what speaks against it.
 */
import { existsSync, readFileSync } from 'node:fs';
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
const maps = readFileSync('/proc/self/maps', 'latin1');
const text = (value) => JSON.stringify(value, (_key, each) => (typeof each === 'bigint' ? `${each}n` : each));
console.log(
  text([
    ['there are no headers there', existsSync(`/lib/modules/${release()}/build`) && 'there are'],
    ['it comes from the file', b.compiledBy !== 'file' && b.compiledBy],
    [
      'its events are decoded, with members of kernel structs',
      text(own) !== text([0, 0].map(() => ({ pid: process.pid, tgid: process.pid, comm: own[0]?.comm }))) && text(seen),
    ],
    ['its table counts', calls !== 2n && text(calls)],
    ['LLVM is not mapped', /libLLVM|libclang/.test(maps) && 'it is'],
    [
      `it is loaded and attached in five seconds of an emulated processor (${milliseconds.toFixed(0)} ms there)`,
      milliseconds >= 5000 && `${milliseconds} ms`,
    ],
  ]),
);
b.close();
