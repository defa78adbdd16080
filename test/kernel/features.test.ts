import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { trampolineTarget } from '../../src/attach/trampoline';
import { BPFMapType, BPFProgType } from '../../src/constants';
import {
  features,
  kernelEnumHasVal,
  kernelStructHasField,
  supportFmodRet,
  supportKfunc,
  supportLsm,
  supportRawTracepoint,
  supportRawTracepointInModule,
} from '../../src/kernel/features';
import { describeIf, itIf, kernelHas, requireRoot } from '../helpers';
import { loadInsns, returns } from '../helpers/asm';

requireRoot();

describeIf('runtime', 'features of the kernel', () => {
  it('agree with what other means find', () => {
    const found = features();
    expect({
      btf: found.btf,
      kprobes: found.kprobes,
      uprobes: found.uprobes,
      kprobeMulti: found.kprobeMulti,
      uprobeMulti: found.uprobeMulti,
      kfunc: found.kfunc,
      lsm: found.programTypes.LSM,
      tracefs: found.tracefs,
      bpffs: found.bpffs,
      cgroup2: found.cgroup2,
      hardwareCounters: found.hardwareCounters,
    }).toEqual({
      btf: kernelHas('btf'),
      kprobes: kernelHas('kprobes'),
      uprobes: kernelHas('uprobes'),
      kprobeMulti: kernelHas('fprobe'),
      uprobeMulti: kernelHas('uprobeMulti'),
      kfunc: kernelHas('kfunc'),
      lsm: kernelHas('lsm'),
      tracefs: kernelHas('tracefs'),
      bpffs: kernelHas('bpffs'),
      cgroup2: kernelHas('cgroup2'),
      hardwareCounters: kernelHas('perfHardware'),
    });
    expect(supportRawTracepoint()).toBe(true);
    expect(supportKfunc()).toBe(kernelHas('kfunc'));
    expect(supportLsm()).toBe(kernelHas('lsm'));
    expect(supportFmodRet()).toBe(loadsModifyReturn());
    // Kernels that can load modules keep the list of those that have tracepoints (Linux 5.0).
    expect(supportRawTracepointInModule()).toBe(existsSync('/proc/modules'));
  });

  itIf('bpftool', 'agree with bpftool about maps and programs', () => {
    const report = execFileSync('bpftool', ['feature', 'probe'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const available = (kind: string, name: string) => {
      return new RegExp(`^eBPF ${kind} ${name.toLowerCase()} is (NOT )?available`, 'm').exec(report);
    };
    const { mapTypes, programTypes } = features();
    // bpftool calls struct_ops maps missing where it cannot make one of type id 1.
    for (const name of Object.keys(BPFMapType).filter((type) => type !== 'STRUCT_OPS') as (keyof typeof BPFMapType)[]) {
      const told = available('map_type', name);
      if (told) expect([name, mapTypes[name]]).toEqual([name, told[1] === undefined]);
    }
    for (const name of Object.keys(BPFProgType) as (keyof typeof BPFProgType)[]) {
      const told = available('program_type', name);
      if (told && name !== 'STRUCT_OPS') expect([name, programTypes[name]]).toEqual([name, told[1] === undefined]);
    }
  });

  it('are found once', () => {
    expect(features()).toBe(features());
  });
});

/** Whether the kernel takes a program that answers for a security hook. */
function loadsModifyReturn(): boolean {
  if (!kernelHas('btf')) return false;
  const { progType, expectedAttachType, attachBtfId } = trampolineTarget('security_file_permission', 'kmod_ret');
  try {
    loadInsns(returns(0), { type: progType, expectedAttachType, attachBtfId }).close();
    return true;
  } catch {
    return false;
  }
}

describeIf('btf', 'types of the kernel', () => {
  it('have fields, those of anonymous members included', () => {
    expect(kernelStructHasField('task_struct', 'pid')).toBe(true);
    expect(kernelStructHasField('task_struct', 'no_such_field')).toBe(false);
    expect(kernelStructHasField('no_such_struct', 'pid')).toBe(false);
    expect(kernelStructHasField('sock_common', 'skc_daddr')).toBe(true);
  });

  it('have values of enums', () => {
    expect(kernelEnumHasVal('bpf_attach_type', 'BPF_MODIFY_RETURN')).toBe(true);
    expect(kernelEnumHasVal('bpf_attach_type', 'BPF_NO_SUCH')).toBe(false);
    expect(kernelEnumHasVal('no_such_enum', 'BPF_MODIFY_RETURN')).toBe(false);
  });
});
