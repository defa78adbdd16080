import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type PerfEventAttr, perfEventAttr } from '../../src/kernel/perf-attr';
import { describeIf, outputOf } from '../helpers';
import { compileC } from '../helpers/c-program';

const WRITER = `
#include <linux/perf_event.h>
#include <string.h>
#include <unistd.h>
int main(void) {
  struct perf_event_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.type = 8; attr.size = 128; attr.config = 0xfedcba9876543210ULL; attr.sample_freq = 99;
  attr.sample_type = 1 << 10; attr.read_format = 3; attr.wakeup_events = 5; attr.bp_type = 6;
  attr.config1 = 0x1111; attr.config2 = 0x2222; attr.branch_sample_type = 7; attr.sample_regs_user = 9;
  attr.sample_stack_user = 10; attr.clockid = -1; attr.sample_regs_intr = 11; attr.aux_watermark = 12;
  attr.sample_max_stack = 13;
  attr.disabled = 1; attr.inherit = 1; attr.exclude_kernel = 1; attr.mmap = 1; attr.freq = 1; attr.task = 1;
  attr.precise_ip = 2; attr.mmap_data = 1; attr.sample_id_all = 1; attr.exclude_guest = 1; attr.use_clockid = 1;
  return write(1, &attr, 128) != 128;
}
`;

describeIf('cc', 'perf_event_attr', () => {
  it('is laid out as the C compiler does it', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-perf-attr-'));
    try {
      const writer = compileC(folder, 'writer', WRITER);
      const hex = outputOf('sh', ['-c', `${writer} | od -An -v -tx1`]).replace(/\s/g, '');
      const attr: PerfEventAttr = {
        type: 8,
        config: 0xfedcba9876543210n,
        sampleFreq: 99,
        sampleType: 1 << 10,
        readFormat: 3,
        wakeupEvents: 5,
        bpType: 6,
        config1: 0x1111,
        config2: 0x2222n,
        branchSampleType: 7,
        sampleRegsUser: 9,
        sampleStackUser: 10,
        clockid: -1,
        sampleRegsIntr: 11,
        auxWatermark: 12,
        sampleMaxStack: 13,
        disabled: true,
        inherit: true,
        excludeKernel: true,
        mmap: true,
        task: true,
        preciseIp: 2,
        mmapData: true,
        sampleIdAll: true,
        excludeGuest: true,
        useClockid: true,
      };
      expect(Buffer.from(perfEventAttr(attr)).toString('hex')).toBe(hex);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

it('perf_event_attr takes a period or a frequency, not both', () => {
  expect(() => perfEventAttr({ type: 1, samplePeriod: 1, sampleFreq: 1 })).toThrow(TypeError);
});
