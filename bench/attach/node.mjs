/* Our side of bench/attach.mjs: prints seconds and the number of functions, as one line of JSON. */
import { BCC } from '../../lib/index.js';

const { text, pattern } = JSON.parse(process.argv[2]);
const b = new BCC(text);
const seconds = (from) => (performance.now() - from) / 1000;
let start = performance.now();
b.attachKprobe({ eventRe: pattern, fnName: 'on_call' });
const attach = seconds(start);
const functions = b.numOpenKprobes();
start = performance.now();
b.close();
console.log(JSON.stringify({ attach, detach: seconds(start), functions }));
