/*
 * One function attached to many kernel functions by a regular expression, side by side with BCC's Python module:
 * node bench/attach.mjs [--kernel 6.12,6.1] [--runs 1]
 *
 * Where the running kernel has no kprobes, or where --kernel asks for it, this runs in virtual machines (npm run vm):
 * everything is some twenty times slower there, for both. With a kernel that has multi-kprobe links (6.12) the function
 * goes through one of these, with others (6.1) through one event with many places.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    kernel: { type: 'string' },
    pattern: { type: 'string' },
    runs: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});

/** Patterns that fit about as many functions as are wanted, and how many times faster each step is to be. */
const KERNELS = {
  6.12: { pattern: '(tcp|udp|ip|inet|skb|sk|sock)_.*', targets: { attach: 20 } },
  6.1: { pattern: 'tcp_.*', targets: { attach: 1, detach: 5 } },
};

const file = (name) => fileURLToPath(new URL(name, import.meta.url));
const hasKprobes = existsSync('/sys/bus/event_source/devices/kprobe');

/** Both sides on the running kernel: seconds of the best run. */
function measureHere(pattern) {
  const job = JSON.stringify({ text: 'int on_call(void *ctx) { return 0; }', pattern });
  const env = { ...process.env, BCC_PROBE_LIMIT: '100000' };
  const run = (program, script) => {
    const options = { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] };
    return JSON.parse(execFileSync(program, [file(`attach/${script}`), job], options));
  };
  const best = { ours: {}, python: {} };
  for (let round = 0; round < Number(values.runs); round++)
    for (const [side, result] of [
      ['ours', run(process.execPath, 'node.mjs')],
      ['python', run('/usr/bin/python3', 'python.py')],
    ])
      for (const [name, value] of Object.entries(result))
        best[side][name] = Math.min(best[side][name] ?? Infinity, value);
  return best;
}

function measureIn(kernel, pattern) {
  const inner = ['node', 'bench/attach.mjs', '--json', '--runs', values.runs, '--pattern', pattern];
  const vm = [
    file('../scripts/vm/vm.mjs'),
    '--kernel',
    kernel,
    '--headers',
    '--quiet',
    '--timeout',
    '3000',
    '--',
    ...inner,
  ];
  const output = execFileSync(process.execPath, vm, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  return JSON.parse(output.trim().split('\n').at(-1));
}

function report(title, { ours, python }, targets = {}) {
  const seconds = (value) => `${value.toFixed(2)} s`;
  console.log(`\n${title}: ${ours.functions} functions (${python.functions} in Python)\n`);
  console.log('| | tsbcc | BCC in Python | times | wanted |\n|---|---|---|---|---|');
  for (const step of ['attach', 'detach']) {
    // The sides may differ by some functions: Python's module also tries what ftrace does not list.
    const times = python[step] / python.functions / (ours[step] / ours.functions);
    console.log(
      `| ${step} | ${seconds(ours[step])} | ${seconds(python[step])} | ${times.toFixed(1)} | ${targets[step] ?? ''} |`,
    );
  }
}

if (hasKprobes && !values.kernel) {
  const result = measureHere(values.pattern ?? 'tcp_.*');
  if (values.json) console.log(JSON.stringify(result));
  else report('this kernel', result);
} else {
  const results = {};
  for (const kernel of (values.kernel ?? Object.keys(KERNELS).join()).split(',')) {
    const { pattern, targets } = KERNELS[kernel] ?? { pattern: 'tcp_.*' };
    results[kernel] = measureIn(kernel, values.pattern ?? pattern);
    if (!values.json) report(`Linux ${kernel} in a virtual machine`, results[kernel], targets);
  }
  if (values.json) console.log(JSON.stringify(results));
}
