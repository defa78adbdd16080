import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCC, PerfSWConfig, PerfType } from '../../src';
import { requireRoot, stopProcess, waitFor } from '../helpers';

const TEXT = `
#include <uapi/linux/bpf_perf_event.h>
BPF_STACK_TRACE(stacks, 1024);
BPF_HASH(ids, int, u64);
int sample(struct bpf_perf_event_data *ctx) {
  int id = stacks.get_stackid(ctx, BPF_F_USER_STACK);
  if (id >= 0) ids.increment(id);
  return 0;
}
`;

/** Two functions on the stack for as long as it runs. */
const PROGRAM = `
function innermostOfAll(n) { let sum = 0; for (let i = 0; i < n; i++) sum += i % 7; return sum; }
function callerOfInnermost(n) { return innermostOfAll(n) + 1; }
for (;;) callerOfInnermost(100000);
`;

requireRoot();

describe('stacks of a Node process', () => {
  let folder: string;
  let child: ChildProcess;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-js-stack-'));
    const flags = ['--perf-basic-prof', '--interpreted-frames-native-stack', '--no-turbo-inlining'];
    child = spawn(process.execPath, [...flags, '-e', PROGRAM], { stdio: 'ignore', cwd: folder });
  });

  afterEach(async () => {
    await stopProcess(child);
    rmSync(folder, { recursive: true, force: true });
    rmSync(`/tmp/perf-${child.pid}.map`, { force: true });
  });

  it('read as JavaScript', async () => {
    const pid = child.pid!;
    const b = new BCC(TEXT);
    b.attachPerfEvent({
      evType: PerfType.SOFTWARE,
      evConfig: PerfSWConfig.CPU_CLOCK,
      fnName: 'sample',
      sampleFreq: 199,
      pid,
    });
    try {
      const stacks = () =>
        [...b.table('ids').keys()].map((id) => [...b.table('stacks').walk(id, (address) => BCC.sym(address, pid))]);
      const isWanted = (stack: string[]) => {
        const inner = stack.findIndex((name) => name.includes('innermostOfAll'));
        return inner >= 0 && stack.slice(inner).some((name) => name.includes('callerOfInnermost'));
      };
      await waitFor('both functions, one above the other, in a stack', () => stacks().some(isWanted));
    } finally {
      b.close();
    }
  });
});
