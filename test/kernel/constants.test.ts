import {
  BPFAttachType,
  BPFMapType,
  BPFProgType,
  PerfEventSampleFormat,
  PerfHWConfig,
  PerfSWConfig,
  PerfType,
  XDPAction,
} from '../../src/constants';
import { kernelBtf } from '../../src/kernel/btf';
import { describeIf } from '../helpers';

describeIf('btf', "the numbers of the kernel's enums are those that its BTF tells", () => {
  /** Names that the kernel at hand may lack: they are newer, or have been taken out. */
  const numbersOf = (name: string, prefix: string) => {
    const btf = kernelBtf();
    const enumerators = btf.enumerators(btf.find(name, 'enum'));
    return new Map(
      enumerators
        .filter((entry) => entry.name.startsWith(prefix))
        .map((entry) => [entry.name.slice(prefix.length), Number(entry.value)]),
    );
  };

  it.each([
    ['BPFMapType', BPFMapType, 'bpf_map_type', 'BPF_MAP_TYPE_'],
    ['BPFProgType', BPFProgType, 'bpf_prog_type', 'BPF_PROG_TYPE_'],
    ['BPFAttachType', BPFAttachType, 'bpf_attach_type', 'BPF_'],
    ['PerfType', PerfType, 'perf_type_id', 'PERF_TYPE_'],
    ['PerfHWConfig', PerfHWConfig, 'perf_hw_id', 'PERF_COUNT_HW_'],
    ['PerfSWConfig', PerfSWConfig, 'perf_sw_ids', 'PERF_COUNT_SW_'],
    ['PerfEventSampleFormat', PerfEventSampleFormat, 'perf_event_sample_format', 'PERF_SAMPLE_'],
    ['XDPAction', XDPAction, 'xdp_action', ''],
  ] as const)('%s', (_name, constants: Readonly<Record<string, number>>, type, prefix) => {
    const numbers = numbersOf(type, prefix);
    const known = Object.entries(constants).filter(([name]) => numbers.has(name));
    expect(known.length).toBeGreaterThan(4);
    expect(Object.fromEntries(known)).toEqual(Object.fromEntries(known.map(([name]) => [name, numbers.get(name)])));
  });
});
