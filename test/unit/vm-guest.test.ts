import { execFileSync } from 'node:child_process';
import { once } from 'node:events';

const { accelerator } = require('../../scripts/vm/boot.mjs');
const { cpio, moduleOrder } = require('../../scripts/vm/initramfs.mjs');
const { isVariableName, jobText, shellQuote } = require('../../scripts/vm/job.mjs');
const { UntilToken } = require('../../scripts/vm/stream.mjs');

describe('the modules to load', () => {
  const dep = [
    'kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko kernel/fs/netfs/netfs.ko',
    'kernel/net/9p/9pnet_virtio.ko: kernel/net/9p/9pnet.ko kernel/drivers/virtio/virtio.ko.xz',
    'kernel/net/9p/9pnet.ko:',
    'kernel/fs/netfs/netfs.ko:',
    'kernel/drivers/virtio/virtio.ko.xz:',
    '',
  ].join('\n');

  test('stand each after those it needs, and once', () => {
    const order = moduleOrder(['9p', '9pnet-virtio'], dep, '');
    expect(order).toEqual([
      'kernel/net/9p/9pnet.ko',
      'kernel/fs/netfs/netfs.ko',
      'kernel/fs/9p/9p.ko',
      'kernel/drivers/virtio/virtio.ko.xz',
      'kernel/net/9p/9pnet_virtio.ko',
    ]);
  });

  test('leave out what is built in, and name what is nowhere', () => {
    expect(moduleOrder(['virtio_pci'], dep, 'kernel/drivers/virtio/virtio-pci.ko\n')).toEqual([]);
    expect(() => moduleOrder(['virtio_pci'], dep, '')).toThrow("no module 'virtio_pci'");
  });
});

test('writes archives that start with what the kernel looks for, padded to 4 bytes', () => {
  const archive = cpio([
    { path: 'bin', mode: 0o040755 },
    { path: 'bin/x', mode: 0o100644, data: Buffer.from('abcde') },
  ]);
  const text = archive.toString('latin1');
  const second = text.indexOf('070701', 6);
  expect(text.startsWith('070701')).toBe(true);
  expect(second % 4).toBe(0);
  expect(text.slice(second + 6 + 8, second + 6 + 16)).toBe('000081a4');
  expect(text.slice(second + 6 + 48, second + 6 + 56)).toBe('00000005');
  expect(text.slice(second + 110)).toMatch(/^bin\/x\0+abcde\0{3}070701/);
  expect(text).toContain('TRAILER!!!');
  expect(archive.length % 4).toBe(0);
});

describe('the text that a guest reads', () => {
  const words = ['', 'a b', "it's", '"$HOME" `id` \\n', 'two\nlines', 'Áâ€', '*', '; exit 3', '-n', '--'];
  const job = (changes = {}) =>
    jobText({
      ...{ release: '6.1.0-1-amd64', image: '/cache/it', folder: "/it's here", command: ['true'], env: {} },
      ...{ shares: [], headers: false, token: 'token', ...changes },
    });
  const sh = (script: string) => execFileSync('/bin/sh', ['-c', script]).toString();

  test('quotes any word for a shell', () => {
    expect(sh(`printf '%s|' ${words.map(shellQuote).join(' ')}`)).toBe(words.map((word) => `${word}|`).join(''));
  });

  test('gives the command its arguments and its environment unchanged', () => {
    const text = job({ command: ['/usr/bin/printf', '%s|', ...words], env: { TSBCC_QUOTED: "it's $HOME\n" } });
    expect(sh(`${text}\n(command_line)`)).toBe(words.map((word) => `${word}|`).join(''));
    expect(sh(`${text}\nset_environment; printenv TSBCC_QUOTED`)).toBe("it's $HOME\n\n");
    expect(sh(`${text}\nprintf %s "$folder"`)).toBe("/it's here");
  });

  test('mounts shares in order and stops at the first that fails', () => {
    const text = job({ shares: ['/a b', '/c'] });
    expect(sh(`bb=echo\n${text}\nmount_shares; unmount_shares`).split('\n')).toEqual([
      'mkdir -p /a b',
      expect.stringMatching(/^mount -t 9p -o \S+ share0 \/a b$/),
      'mkdir -p /c',
      expect.stringMatching(/^mount -t 9p -o \S+ share1 \/c$/),
      'umount /a b',
      'umount /c',
      '',
    ]);
    expect(sh(`bb=false\n${text}\nmount_shares || echo failed`)).toBe('failed\n');
  });

  test('says which names a shell takes for a variable', () => {
    expect(['A', '_a1', 'NODE_OPTIONS'].every(isVariableName)).toBe(true);
    expect(['', '1A', 'a-b', 'a b', 'a;b', 'é'].some(isVariableName)).toBe(false);
  });
});

describe('a stream that ends with a token', () => {
  const token = 'abcabd';

  const pass = async (...chunks: string[]) => {
    const stream = new UntilToken(token);
    const parts: string[] = [];
    stream.on('data', (part: Buffer) => parts.push(part.toString()));
    for (const chunk of chunks) {
      stream.write(Buffer.from(chunk));
      await new Promise(setImmediate);
    }
    return { stream, parts };
  };

  test('passes everything before it, however it is cut', async () => {
    for (const chunks of [['hello\nabcabd'], ['hello\nabc', 'abd'], [...'hello\nabcabd']]) {
      const { stream, parts } = await pass(...chunks);
      await stream.ended;
      expect(parts.join('')).toBe('hello\n');
    }
  });

  test('holds back only what may be the token', async () => {
    expect((await pass('hello')).parts).toEqual(['hello']);
    expect((await pass('xabcab')).parts).toEqual(['x']);
    expect((await pass('abcabc')).parts).toEqual(['abc']);
    expect((await pass('abcab', 'cabX')).parts.join('')).toBe('abcabcabX');
  });

  test('gives back what it held when the stream breaks off', async () => {
    const { stream, parts } = await pass('x', 'abc');
    stream.end();
    await once(stream, 'end');
    expect(parts.join('')).toBe('xabc');
  });
});

test('trusts KVM only where the processor shows its extension', () => {
  expect(accelerator('processor : 0\nflags\t\t: fpu sse2 hypervisor\n')).toBe('tcg');
  expect(accelerator('model name : vmx svm\nflags\t\t: fpu svmx\n')).toBe('tcg');
});
