import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HeadersError } from '../../src/errors';
import { type HeadersContext, type HeadersOption, headersIdentity, resolveHeaders } from '../../src/kernel/headers';
import { itIf } from '../helpers';
import { compileText } from './compile';

/*
 * Where headers come from and what can go wrong. The kernel here is a little one: the BTF of a compiled program.
 */

const RELEASE = '6.6.6-test';
const CONFIG = 'CONFIG_NET_NS=y\nCONFIG_HZ=250\nCONFIG_KVM=m\n# CONFIG_DEBUG is not set\nCONFIG_NAME="x y"\n';
const ENUMS = 'enum bpf_little { BPF_LITTLE = 1 };';

let blob: Buffer;
let folder: string;
let cacheDir: string;
let context: HeadersContext;
const { BCC_KERNEL_SOURCE, XDG_CACHE_HOME } = process.env;

beforeAll(async () => {
  const text = `${ENUMS}
    struct inner { int a; };
    struct little { struct inner in; struct inner *to; enum bpf_little kind; };
    BPF_HASH(table, u32, struct little);
    int f(void *ctx) { return 0; }`;
  blob = Buffer.from((await compileText(text, 'btf')).btf);
});

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsbcc-headers-'));
  cacheDir = join(folder, 'cache');
  writeFileSync(join(folder, 'vmlinux'), blob);
  writeFileSync(join(folder, 'config'), CONFIG);
  context = { release: RELEASE, btfPath: join(folder, 'vmlinux'), configPath: join(folder, 'config'), cacheDir };
  delete process.env.BCC_KERNEL_SOURCE;
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
  for (const [name, value] of Object.entries({ BCC_KERNEL_SOURCE, XDG_CACHE_HOME })) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

function failure(option: HeadersOption, text = '', change: HeadersContext = {}): HeadersError {
  try {
    resolveHeaders(option, text, { ...context, ...change });
  } catch (error) {
    if (error instanceof HeadersError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** Every file below a folder, by its path in it. */
function files(dir: string): string[] {
  return existsSync(dir)
    ? (readdirSync(dir, { recursive: true }) as string[]).filter((file) => statSync(join(dir, file)).isFile())
    : [];
}

const made = (option: HeadersOption, text: string) =>
  readFileSync(join(resolveHeaders(option, text, context).path, 'include/linux/kconfig.h'), 'utf8');

/** A folder that passes for a kernel tree. */
function fakeTree(): string {
  const tree = join(folder, 'tree');
  mkdirSync(join(tree, 'include/linux'), { recursive: true });
  writeFileSync(join(tree, 'include/linux/kconfig.h'), '');
  return tree;
}

describe('the choice of headers', () => {
  it('follows BCC_KERNEL_SOURCE, and says so', () => {
    const tree = fakeTree();
    process.env.BCC_KERNEL_SOURCE = tree;
    const headers = resolveHeaders('auto', '', { release: RELEASE });
    expect(headers).toMatchObject({ mode: 'env', path: tree, cflags: [] });
    expect(headers.describe()).toContain(tree);
    process.env.BCC_KERNEL_SOURCE = folder;
    expect(failure('auto', '', { btfPath: undefined })).toMatchObject({ code: 'ERR_BCC_HEADERS_PATH' });
  });

  it('takes a path that is a kernel tree, and no other', () => {
    expect(resolveHeaders(fakeTree(), '')).toMatchObject({ mode: 'path', path: join(folder, 'tree') });
    expect(failure(join(folder, 'nowhere'))).toMatchObject({
      code: 'ERR_BCC_HEADERS_PATH',
      message: expect.stringContaining('nowhere'),
    });
  });

  it('never takes another kernel than the one asked for', () => {
    const error = failure('auto', '', { btfPath: undefined });
    expect(error.code).toBe('ERR_BCC_HEADERS');
    expect(error.message).toContain(RELEASE);
    expect(error.hint).toContain('btfPath');
    expect(failure('kernel')).toMatchObject({ message: expect.stringContaining(RELEASE) });
    expect(failure('kernel').hint).toContain(`linux-headers-${RELEASE}`);
  });

  it('makes them from BTF', () => {
    const headers = resolveHeaders('btf', 'struct little *x;', context);
    expect(headers).toMatchObject({ mode: 'btf', release: RELEASE });
    expect(headers.cflags).toContain('-Werror=implicit-function-declaration');
    expect(headers.describe()).toContain('BTF');
    expect(headers.path.startsWith(cacheDir)).toBe(true);
  });

  it('refuses options that are none', () => {
    for (const option of ['', 3, { mode: 'dwarf' }, { modules: 'kvm' }, { path: '' }]) {
      expect(() => resolveHeaders(option as HeadersOption, '', context)).toThrow(TypeError);
    }
    expect(() => resolveHeaders({ mode: 'kernel', modules: ['kvm'] }, '', context)).toThrow(TypeError);
  });
});

describe('headers from BTF', () => {
  it('hold the version, the configuration and the types that are used', () => {
    const text = made('btf', 'struct little *x;\n#if CONFIG_NET_NS && CONFIG_KVM_MODULE && CONFIG_HZ\n#endif\n');
    for (const line of [
      `#define LINUX_VERSION_CODE ${6 * 65536 + 6 * 256 + 6}`,
      '#define CONFIG_NET_NS 1',
      '#define CONFIG_KVM_MODULE 1',
      '#define CONFIG_HZ 250',
      'struct little {',
      'struct inner {',
    ]) {
      expect(text).toContain(line);
    }
    expect(text).not.toContain('CONFIG_DEBUG');
    expect(made('btf', 'int x;')).not.toContain('struct little {');
  });

  it('are made once, and again when the kernel, its configuration or the program changes', () => {
    const first = resolveHeaders('btf', 'struct little *x;', context);
    const again = resolveHeaders('btf', 'struct little *x;', context);
    expect(again.path).toBe(first.path);
    expect(again.describe()).toContain('from the cache');
    expect(resolveHeaders('btf', 'struct inner *x;', context).path).not.toBe(first.path);
    writeFileSync(join(folder, 'config'), `${CONFIG}CONFIG_MORE=y\n`);
    expect(resolveHeaders('btf', 'struct little *x;', context).path).not.toBe(first.path);
    expect(resolveHeaders('btf', 'struct little *x;', { ...context, release: '6.6.7-test' }).path).not.toBe(first.path);
  });

  it('are known to a cache of programs without being made', () => {
    const before = headersIdentity('btf', context);
    expect(headersIdentity('btf', context)).toBe(before);
    expect(files(cacheDir)).toEqual([]);
    writeFileSync(join(folder, 'vmlinux'), blob);
    expect(headersIdentity('btf', context)).not.toBe(before);
  });

  it('take the macros of the program and of its flags for its own', () => {
    const text = '#define ETH_P_IP 1\nint x = ETH_P_IP + ETH_P_ARP + ETH_P_IPV6;';
    const headers = resolveHeaders('btf', text, { ...context, cflags: ['-DETH_P_ARP=2', '-DNAME=S_IFMT'] });
    const header = readFileSync(join(headers.path, 'include/linux/kconfig.h'), 'utf8');
    expect(header).toContain('#define ETH_P_IPV6');
    expect(header).toContain('#define S_IFMT');
    expect(header).not.toMatch(/#define ETH_P_(IP|ARP) /);
  });

  it('lay aside macros of its flags that have the names of what the kernel declares', () => {
    const text = 'struct little *x;';
    const header = (cflags: string[]) =>
      readFileSync(join(resolveHeaders('btf', text, { ...context, cflags }).path, 'include/linux/kconfig.h'), 'utf8');
    const member = /struct little \{\s+\w+ (\w+)/.exec(header([]))![1]!;
    const [before, after] = header([`-D${member}=7`, '-DNOWHERE']).split(/struct little \{[^}]*\}/);
    expect(before).toContain(`#pragma push_macro("${member}")\n#undef ${member}\n`);
    expect(after).toContain(`#pragma pop_macro("${member}")\n`);
    expect(before).not.toContain('NOWHERE');
    expect(header([])).not.toContain('push_macro');
  });

  it("read the program's own header files", () => {
    mkdirSync(join(folder, 'own'));
    writeFileSync(join(folder, 'own', 'mine.h'), '#include "deeper.h"\nstruct inner { long mine; };\n');
    writeFileSync(join(folder, 'own', 'deeper.h'), 'extern int limit[TASK_COMM_LEN];\n');
    const headers = resolveHeaders('btf', '#include "mine.h"\n', { ...context, cflags: [`-I${join(folder, 'own')}`] });
    const header = readFileSync(join(headers.path, 'include/linux/kconfig.h'), 'utf8');
    expect(header).toContain('TASK_COMM_LEN');
    expect(header).not.toContain('struct inner {');
  });

  it('stand in for every header that a kernel has, and for no other', () => {
    const headers = resolveHeaders('btf', '#include <linux/sched.h>\n#include "net/sock.h"\n', context);
    for (const name of ['linux/sched.h', 'net/sock.h', 'uapi/linux/bpf.h']) {
      expect(existsSync(join(headers.path, 'include', name))).toBe(true);
    }
    const error = failure('btf', '#include <linux/shed.h>\n');
    expect(error).toMatchObject({ code: 'ERR_BCC_HEADERS_INCLUDE', message: expect.stringContaining('linux/shed.h') });
    expect(error.hint).toContain('did you mean linux/sched.h');
    expect(error.hint).toContain("headers: 'kernel'");
    expect(failure('btf', '#include <stdio.h>\n').hint).toContain('user-space');
    expect(failure('btf', '#include <bpf/bpf_helpers.h>\n').hint).toContain('leave the line out');
  });

  it('leave a header that may never be reached to the compiler', () => {
    expect(() => resolveHeaders('btf', '#ifdef NEVER\n#include <linux/none.h>\n#endif\n', context)).not.toThrow();
  });

  it('do not let an include leave their folder', () => {
    for (const name of ['../../etc/passwd', 'linux/../../../x.h']) {
      expect(failure('btf', `#include <${name}>\n`)).toMatchObject({
        code: 'ERR_BCC_HEADERS_INCLUDE',
        message: expect.stringContaining("'..'"),
      });
    }
    expect(files(cacheDir)).toEqual([]);
  });
});

describe('bad BTF', () => {
  const spoilt: [string, () => Buffer, string][] = [
    ['empty', () => Buffer.alloc(0), 'only 0 bytes'],
    ['no BTF', () => Buffer.from('#!/bin/sh\necho this is a script, not a blob\n'), 'mark of BTF'],
    ['cut short', () => blob.subarray(0, blob.length - 40), 'cut short'],
    [
      'full of nonsense',
      () => {
        const bad = Buffer.from(blob);
        bad.fill(0xff, bad.readUInt32LE(4), bad.readUInt32LE(4) + 64);
        return bad;
      },
      'cannot be turned into C',
    ],
  ];
  for (const [what, make, words] of spoilt) {
    it(`that is ${what} is refused with the file's name, and leaves nothing behind`, () => {
      writeFileSync(join(folder, 'vmlinux'), make());
      const error = failure('btf');
      expect(error).toMatchObject({ code: 'ERR_BCC_HEADERS_BAD_BTF' });
      expect(error.message).toContain(join(folder, 'vmlinux'));
      expect(error.message).toContain(words);
      expect(files(cacheDir)).toEqual([]);
    });
  }

  it('that is not there is missed by name', () => {
    const error = failure('btf', '', { btfPath: join(folder, 'none') });
    expect(error).toMatchObject({ code: 'ERR_BCC_HEADERS_NO_BTF', message: expect.stringContaining('none') });
    expect(error.hint).toContain('CONFIG_DEBUG_INFO_BTF');
  });

  it('of a module that is not loaded is missed by name', () => {
    writeFileSync(join(folder, 'kvm_intel'), blob);
    expect(failure({ modules: ['kvm_intl'] })).toMatchObject({
      code: 'ERR_BCC_HEADERS_MODULE',
      hint: 'did you mean kvm_intel?',
    });
    expect(failure({ modules: ['nothing-like-it'] }).hint).toContain('modprobe nothing_like_it');
    expect(failure({ modules: ['../../etc'] })).toMatchObject({ code: 'ERR_BCC_HEADERS_MODULE' });
  });
});

describe('the cache', () => {
  const base = () => join(cacheDir, readdirSync(cacheDir)[0]!);

  it('is private', () => {
    const { path } = resolveHeaders('btf', 'struct little *x;', context);
    for (const dir of [cacheDir, base(), path]) expect(statSync(dir).mode & 0o777).toBe(0o700);
    expect(statSync(join(path, 'include/linux/kconfig.h')).mode & 0o777).toBe(0o600);
  });

  it('is made again where it is damaged', () => {
    const { path } = resolveHeaders('btf', 'struct little *x;', context);
    const header = join(path, 'include/linux/kconfig.h');
    const sound = readFileSync(header, 'utf8');
    writeFileSync(header, sound.slice(0, 100));
    expect(resolveHeaders('btf', 'struct little *x;', context).path).toBe(path);
    expect(readFileSync(header, 'utf8')).toBe(sound);
    const types = join(base(), 'kernel', 'types.h');
    const all = readFileSync(types, 'utf8');
    writeFileSync(types, `${all}struct wrong { int x; };`);
    rmSync(join(path, 'manifest.json'));
    resolveHeaders('btf', 'struct little *x;', context);
    expect(readFileSync(types, 'utf8')).toBe(all);
    expect(readFileSync(header, 'utf8')).toBe(sound);
  });

  it('follows XDG_CACHE_HOME', () => {
    process.env.XDG_CACHE_HOME = join(folder, 'xdg');
    const { path } = resolveHeaders('btf', '', { ...context, cacheDir: undefined });
    expect(path.startsWith(join(folder, 'xdg', 'tsbcc', 'headers', RELEASE))).toBe(true);
  });

  it('is refused where others can write to it', () => {
    mkdirSync(cacheDir);
    chmodSync(cacheDir, 0o777);
    const error = failure('btf');
    expect(error).toMatchObject({ code: 'ERR_BCC_HEADERS_CACHE', message: expect.stringContaining('777') });
    expect(error.hint).toContain('XDG_CACHE_HOME');
    expect(files(cacheDir)).toEqual([]);
  });

  it('is refused where it is no folder', () => {
    writeFileSync(cacheDir, '');
    expect(failure('btf')).toMatchObject({ code: 'ERR_BCC_HEADERS_CACHE', message: expect.stringContaining(cacheDir) });
  });

  itIf('root', 'is refused where it belongs to somebody else', () => {
    mkdirSync(cacheDir, { mode: 0o700 });
    chownSync(cacheDir, 65534, 65534);
    expect(failure('btf')).toMatchObject({
      code: 'ERR_BCC_HEADERS_CACHE',
      message: expect.stringContaining('belongs to user 65534'),
    });
  });

  itIf('root', 'that cannot be written, or is full, is named and left as it was', () => {
    mkdirSync(cacheDir, { mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16k,mode=0700', 'small', cacheDir]);
    try {
      expect(failure('btf', 'struct little *x;')).toMatchObject({
        code: 'ERR_BCC_HEADERS_CACHE',
        errno: 28,
        message: expect.stringContaining(cacheDir),
      });
      expect(files(cacheDir).filter((file) => !/^[^.][^/]*\/kernel\//.test(file))).toEqual([]);
      execFileSync('mount', ['-o', 'remount,ro', cacheDir]);
      expect(failure('btf', '', { release: '6.6.7-test' })).toMatchObject({ code: 'ERR_BCC_HEADERS_CACHE', errno: 30 });
    } finally {
      execFileSync('umount', [cacheDir]);
    }
  });

  itIf(['root', 'btf'], 'is made by two processes at once without harm', async () => {
    execFileSync(process.execPath, [
      '-e',
      'import("./scripts/bundle.mjs").then(({ bundleSource }) => bundleSource("kernel/headers"))',
    ]);
    const script = `
      const { resolveHeaders } = require(${JSON.stringify(join(__dirname, '../../build/sources/kernel/headers.js'))});
      process.stdout.write(resolveHeaders('btf', 'struct task_struct *x;', { cacheDir: ${JSON.stringify(cacheDir)} }).path);`;
    const run = () =>
      new Promise<string>((resolve, reject) => {
        const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
        let path = '';
        child.stdout.on('data', (chunk) => {
          path += chunk;
        });
        child.on('exit', (status) => (status === 0 ? resolve(path) : reject(new Error(`status ${status}`))));
      });
    const [first, ...others] = await Promise.all([run(), run(), run()]);
    expect(others).toEqual([first, first]);
    expect(readFileSync(join(first!, 'include/linux/kconfig.h'), 'utf8')).toContain('struct task_struct {');
    expect(readdirSync(base()).sort()).toEqual(['kernel', 'programs']);
    expect(readdirSync(join(base(), 'programs'))).toHaveLength(1);
  });
});

describe('compiling', () => {
  itIf(['root', 'btf'], 'tells a function that exists nowhere by name', async () => {
    const text = '#include <linux/sched.h>\nint f(void *ctx) { return no_such_function(1); }';
    await expect(compileText(text, 'btf')).rejects.toMatchObject({
      message: expect.stringContaining('no_such_function'),
    });
  });

  itIf(['root', 'btf'], 'lets a struct of the program win over the one of that name in BTF', async () => {
    const text = `#include <linux/sched.h>
      struct mm_struct { char mine[3]; };
      int f(void *ctx) { struct task_struct *t = (void *)bpf_get_current_task(); return sizeof(*t->mm) + sizeof(struct mm_struct); }`;
    const { functions } = await compileText(text, 'btf');
    const { insns } = functions[0]!;
    // the number that is moved into r0 before the exit
    expect(Buffer.from(insns).readUInt32LE(insns.length - 12)).toBe(6);
  });

  itIf(['root', 'btf'], 'knows options that are built in, modules, or off', async () => {
    const text = `int f(void *ctx) {
        return IS_ENABLED(CONFIG_NET_NS) * 1 + IS_ENABLED(CONFIG_KVM) * 2 + IS_ENABLED(CONFIG_DEBUG) * 4
             + IS_BUILTIN(CONFIG_NET_NS) * 8 + IS_BUILTIN(CONFIG_KVM) * 16 + IS_MODULE(CONFIG_KVM) * 32;
      }`;
    const kernel = { release: RELEASE, btfPath: '/sys/kernel/btf/vmlinux', configPath: join(folder, 'config') };
    writeFileSync(join(folder, 'config'), `${CONFIG}CONFIG_BPF_SYSCALL=y\n`);
    const { insns } = (await compileText(text, 'btf', { kernel })).functions[0]!;
    expect(Buffer.from(insns).readUInt32LE(insns.length - 12)).toBe(1 + 2 + 8 + 32);
  });

  itIf(['root', 'btf'], 'serves a program that pastes names together', async () => {
    const text =
      '#include <linux/sched.h>\n#define OF(x) struct x##_struct\nint f(void *ctx) { OF(task) t; return sizeof(t) > 1000; }';
    expect((await compileText(text, 'btf')).functions).toHaveLength(1);
  });
});
