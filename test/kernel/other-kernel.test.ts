import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BCC } from 'tsbcc';
import { resolveHeaders } from '../../src/kernel/headers';
import { tracepointFormat } from '../../src/kernel/tracefs';
import { decodeProgram } from '../../src/program/codec';
import { describeIf, requireRoot } from '../helpers';

/*
 * `tsbcc compile` for another kernel than the running one. The other kernel is this one with the names of all members
 * `next` and `prev` exchanged: in its lists `prev` comes first.
 */

requireRoot();

const CLI = path.join(__dirname, '..', '..', 'lib', 'cli', 'main.js');
const RELEASE = '9.8.7-tsbcc-test';
const MODULES = path.join('/lib/modules', RELEASE);
const TEXT = `#include <linux/list.h>
int f(void *ctx) { return offsetof(struct list_head, prev); }`;

/** Type information with the names of two kinds of members exchanged, which must be as long as each other. */
function exchanged(btf: Buffer, one: string, other: string): Buffer {
  const place = (name: string) => btf.indexOf(`\0${name}\0`, 0, 'latin1') + 1;
  const [first, second] = [place(one), place(other)];
  const copy = Buffer.from(btf);
  copy.write(other, first, 'latin1');
  copy.write(one, second, 'latin1');
  return copy;
}

describeIf('btf', 'tsbcc compile', () => {
  let folder: string;
  let btf: string;
  let tree: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tsbcc-other-kernel-'));
    btf = path.join(folder, 'vmlinux.btf');
    writeFileSync(path.join(folder, 'program.c'), TEXT);
    writeFileSync(btf, exchanged(readFileSync('/sys/kernel/btf/vmlinux'), 'next', 'prev'));
    tree = resolveHeaders('btf', TEXT, { release: RELEASE, btfPath: btf, cacheDir: path.join(folder, 'headers') }).path;
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const compile = (...options: string[]) => [
    CLI,
    'compile',
    path.join(folder, 'program.c'),
    '--no-cache',
    '-o',
    path.join(folder, 'program.tsbcc'),
    ...options,
  ];

  /** What the function returns, which is the immediate of its first instruction, and for which kernel. */
  function compiled(...options: string[]) {
    execFileSync(process.execPath, compile(...options));
    const { functions, origin } = decodeProgram(readFileSync(path.join(folder, 'program.tsbcc')));
    return { offset: Buffer.from(functions[0]!.insns).readInt32LE(4), release: origin.kernelRelease };
  }

  it('takes the layout of types from --kernel-btf, else from the running kernel', () => {
    expect(compiled()).toMatchObject({ offset: 8 });
    expect(compiled('--kernel-release', RELEASE, '--kernel-btf', btf)).toEqual({ offset: 0, release: RELEASE });
  });

  it('takes the layout of types from --kernel-source', () => {
    expect(compiled('--kernel-release', RELEASE, '--kernel-source', tree)).toEqual({ offset: 0, release: RELEASE });
  });

  it("takes the layout of types from the release's installed headers", () => {
    mkdirSync(MODULES, { recursive: true });
    try {
      symlinkSync(tree, path.join(MODULES, 'build'));
      expect(compiled('--kernel-release', RELEASE)).toEqual({ offset: 0, release: RELEASE });
    } finally {
      rmSync(MODULES, { recursive: true });
    }
  });

  describe('takes the records of tracepoints', () => {
    const probe = `TRACEPOINT_PROBE(syscalls, sys_enter_read) { return args->fd; }
      TRACEPOINT_PROBE(sched, sched_switch) { return args->prev_prio; }`;
    const byHand = 'int own(struct tracepoint__sched__sched_switch *args) { return args->prev_prio; }';
    const fields = tracepointFormat('sched', 'sched_switch')?.fields ?? [];
    const offsetOf = (name: string) => fields.find((field) => field.name === name)!.offset;
    /** From where each function reads what it returns: the offset of its first instruction. */
    const read = (kernel?: object) =>
      [probe, byHand]
        .map((text) =>
          BCC.compile(text, {
            headers: 'btf',
            cache: false,
            ...(kernel && { kernel: { release: RELEASE, ...kernel } }),
          }),
        )
        .flatMap(({ functions }) => functions.sort((a, b) => a.name.localeCompare(b.name)))
        .map(({ insns }) => Buffer.from(insns).readInt16LE(2));

    it('from its BTF, not from the tracefs of the running one', () => {
      const other = path.join(folder, 'tracepoints.btf');
      writeFileSync(other, exchanged(readFileSync('/sys/kernel/btf/vmlinux'), 'prev_prio', 'next_prio'));
      expect(read()).toEqual([offsetOf('prev_prio'), 16, offsetOf('prev_prio')]);
      expect(read({ btfPath: other })).toEqual([offsetOf('next_prio'), 16, offsetOf('next_prio')]);
    });

    it('from a copy of its tracefs', () => {
      const copy = (category: string, event: string, change: (format: string) => string) => {
        const [from, to] = ['/sys/kernel/tracing', folder].map((root) => path.join(root, 'events', category, event));
        mkdirSync(to!, { recursive: true });
        writeFileSync(path.join(to!, 'format'), change(readFileSync(path.join(from!, 'format'), 'utf8')));
      };
      copy('sched', 'sched_switch', (format) => format.replace(/^.*\bprev_comm\b.*\n/m, ''));
      copy('syscalls', 'sys_enter_read', (format) => format);
      expect(read({ btfPath: btf, tracefsPath: folder })).toEqual([12, 16, 12]);
    });

    it('and says where they are not known', () => {
      const compileOf = (tracepoint: string, kernel: object) => () =>
        BCC.compile(`TRACEPOINT_PROBE(${tracepoint}) { return 0; }`, { kernel: { release: RELEASE, ...kernel } });
      const unknown = { code: 'ERR_BCC_HEADERS_TRACEPOINT' };
      expect(compileOf('block, block_rq_issue', { btfPath: btf })).toThrow(
        expect.objectContaining({ ...unknown, hint: expect.stringContaining('--kernel-tracefs') }),
      );
      expect(compileOf('sched, sched_wakeup', { btfPath: btf, tracefsPath: '/tmp' })).toThrow(
        expect.objectContaining({ ...unknown, hint: '/tmp has no events/sched/sched_wakeup/format' }),
      );
    });
  });

  it('makes a file that this kernel refuses by name, and that is compiled anew where the text is at hand', () => {
    compiled('--kernel-release', RELEASE, '--kernel-source', tree);
    const program = path.join(folder, 'program.tsbcc');
    const refusal = expect.objectContaining({
      code: 'ERR_BCC_PROGRAM_KERNEL',
      message: expect.stringContaining(RELEASE),
      hint: expect.stringContaining('compile it for this kernel'),
    });
    expect(() => new BCC({ program })).toThrow(refusal);
    using b = new BCC({ program, text: TEXT, cache: false });
    expect(b.compiledBy).toBe('process');
    expect(Buffer.from(b.dumpFunc('f')).readInt32LE(4)).toBe(8);
  });

  it.each([
    ['whose types are nowhere', ['--kernel-release', RELEASE], `no kernel headers for ${RELEASE}`, 1],
    [
      'that is not named',
      ['--kernel-btf', 'vmlinux.btf'],
      '--kernel-btf, --kernel-source and --kernel-tracefs need --kernel-release',
      2,
    ],
    [
      'whose source is none',
      ['--kernel-release', RELEASE, '--kernel-source', '/usr/share'],
      'headers names /usr/share, which is no kernel tree',
      1,
    ],
  ])('says what is missing for a kernel %s', (_what, options, message, status) => {
    const outcome = spawnSync(process.execPath, compile(...options), { encoding: 'utf8' });
    expect(outcome).toMatchObject({ status, stderr: expect.stringContaining(message) });
  });
});
