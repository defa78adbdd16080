import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseCpuList } from '../../src/kernel/cpus';
import { lockdown } from '../../src/kernel/lockdown';
import { parseTracepointFormat } from '../../src/kernel/tracefs';
import { kernelArch, kernelVersionFrom, parseKernelVersion, versionCode } from '../../src/kernel/version';

describe('lists of CPUs', () => {
  it.each([
    ['0\n', [0]],
    ['0-3,5\n', [0, 1, 2, 3, 5]],
    ['0,2-3,8-8', [0, 2, 3, 8]],
    ['\n', []],
    ['1,7-9007199254740992,x,3', [1, 3]],
  ])('%j', (text, cpus) => {
    expect(parseCpuList(text)).toEqual(cpus);
  });
});

it("tells the levels of the kernel's lockdown apart", () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-lockdown-'));
  const file = path.join(folder, 'lockdown');
  const levels = [
    '[none] integrity confidentiality',
    'none [integrity] confidentiality',
    'none integrity [confidentiality]',
  ];
  const told = levels.map((text) => {
    writeFileSync(file, `${text}\n`);
    return lockdown(file);
  });
  rmSync(folder, { recursive: true });
  expect([...told, lockdown(file)]).toEqual([undefined, 'integrity', 'confidentiality', undefined]);
});

describe("the kernel's version", () => {
  it('is read from a release', () => {
    expect(parseKernelVersion('6.18.44-fc-v595')).toEqual({ major: 6, minor: 18, patch: 44 });
    expect(parseKernelVersion('5.4')).toEqual({ major: 5, minor: 4, patch: 0 });
    expect(parseKernelVersion('v6')).toBeUndefined();
  });

  it('is the true one where a distribution hides it', () => {
    const debian = '#1 SMP PREEMPT_DYNAMIC Debian 6.1.170-1 (2026-05-01)';
    expect(kernelVersionFrom('6.1.0-44-amd64', debian, undefined)).toEqual({ major: 6, minor: 1, patch: 170 });
    const ubuntu = 'Ubuntu 5.4.0-12.15-generic 5.4.8\n';
    expect(kernelVersionFrom('5.4.0-12-generic', '#15-Ubuntu SMP', ubuntu)).toEqual({ major: 5, minor: 4, patch: 8 });
    expect(kernelVersionFrom('6.18.44-fc', '#1 SMP', undefined)).toEqual({ major: 6, minor: 18, patch: 44 });
  });

  it('makes a LINUX_VERSION_CODE', () => {
    expect(versionCode({ major: 6, minor: 1, patch: 170 })).toBe(0x0601aa);
    expect(versionCode({ major: 4, minor: 9, patch: 300 })).toBe(0x0409ff);
  });

  it.each([
    ['x86_64', 'x86'],
    ['aarch64', 'arm64'],
    ['armv7l', 'arm'],
    ['ppc64le', 'powerpc'],
    ['s390x', 's390'],
    ['riscv64', 'riscv'],
  ])('%s is arch/%s', (machine, arch) => {
    expect(kernelArch(machine)).toBe(arch);
  });
});

describe('the format of a tracepoint', () => {
  const format = parseTracepointFormat(`name: task_newtask
ID: 117
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:pid_t pid;	offset:8;	size:4;	signed:1;
	field:char comm[16];	offset:12;	size:16;	signed:0;
	field:__data_loc char[] filename;	offset:28;	size:4;	signed:0;
	field:const char * name;	offset:32;	size:8;	signed:0;
	field:u64 args[6];	offset:40;	size:48;	signed:0;

print fmt: "pid=%d comm=%s", REC->pid, REC->comm
`);

  it('tells name, number and text', () => {
    expect(format).toMatchObject({
      name: 'task_newtask',
      id: 117,
      printFormat: '"pid=%d comm=%s", REC->pid, REC->comm',
    });
  });

  it('tells each field', () => {
    expect(format.fields.filter(({ common }) => common).map(({ name }) => name)).toEqual(['common_type', 'common_pid']);
    expect(format.fields.filter(({ common }) => !common)).toEqual([
      { type: 'pid_t', name: 'pid', offset: 8, size: 4, signed: true, dynamic: false, common: false },
      { type: 'char', name: 'comm', offset: 12, size: 16, signed: false, length: 16, dynamic: false, common: false },
      { type: 'char', name: 'filename', offset: 28, size: 4, signed: false, dynamic: true, common: false },
      { type: 'const char *', name: 'name', offset: 32, size: 8, signed: false, dynamic: false, common: false },
      { type: 'u64', name: 'args', offset: 40, size: 48, signed: false, length: 6, dynamic: false, common: false },
    ]);
  });
});
