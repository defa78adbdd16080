import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { configPaths, parseConfig, proveConfig, readConfig } from '../../src/kernel/headers/config';
import { splitBtfDump } from '../../src/kernel/headers/units';
import { runtime } from '../../src/native';
import { itIf, kernelHas } from '../helpers';
import { compileText } from './compile';
import { otherKernel } from './kernels';

const { elfSection } = require('../../scripts/vm/bzimage.mjs') as { elfSection(elf: Buffer, name: string): Buffer };

/*
 * What is concluded about a kernel is true of it: its configuration, proven from types and symbols, against its own
 * configuration file; a module's types, against the module.
 */

/** The proven options that the kernel's own configuration does not have, and how many were proven. */
function falseProofs(btfPath: string, symbols: string, configPath: string): { wrong: string[]; proven: number } {
  const types = splitBtfDump(runtime().btfDumpC(readFileSync(btfPath)));
  const real = parseConfig(configPath, readFileSync(configPath)).values;
  const proven = [...proveConfig(types, symbols, 'x64').values.keys()];
  return { wrong: proven.filter((name) => !real.has(name) && !real.has(`${name}_MODULE`)), proven: proven.length };
}

const runningConfig = readConfig(configPaths(require('node:os').release(), true))?.path;

describe('the configuration that BTF and symbols prove', () => {
  if (runningConfig !== undefined && process.arch === 'x64') {
    itIf(['root', 'btf'], 'is true of the running kernel', () => {
      const found = falseProofs('/sys/kernel/btf/vmlinux', readFileSync('/proc/kallsyms', 'utf8'), runningConfig);
      expect(found.wrong).toEqual([]);
      expect(found.proven).toBeGreaterThan(25);
    });
  }
  for (const name of ['6.1', '6.12']) {
    const kernel = otherKernel(name);
    if (typeof kernel === 'string') it.skip(`is true of Debian's ${name} [skipped: ${kernel}]`, () => {});
    else {
      itIf('runtime', `is true of Debian's ${name}`, () => {
        const symbols = readFileSync(kernel.configPath!.replace('config-', 'System.map-'), 'latin1');
        const found = falseProofs(kernel.btfPath, symbols, kernel.configPath!);
        expect(found.wrong).toEqual([]);
        expect(found.proven).toBeGreaterThan(30);
      });
    }
  }
});

describe('the types of a module', () => {
  const kernel = otherKernel('6.1');
  const reason = typeof kernel === 'string' ? kernel : kernelHas('root') ? undefined : 'not root';
  const title = 'are there for a program that asks for the module';
  if (typeof kernel === 'string' || reason !== undefined) it.skip(`${title} [skipped: ${reason}]`, () => {});
  else {
    it(title, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'tsbcc-module-'));
      try {
        const modules = join(kernel.btfPath, '..', 'image/lib/modules', kernel.release);
        const ext4 = readFileSync(join(modules, 'kernel/fs/ext4/ext4.ko'));
        writeFileSync(join(folder, 'ext4'), elfSection(ext4, '.BTF'));
        writeFileSync(join(folder, 'vmlinux'), readFileSync(kernel.btfPath));
        const text = `#include <linux/fs.h>
          int on_write(struct pt_regs *ctx, struct inode *inode) {
            struct ext4_inode_info *info = (void *)inode - offsetof(struct ext4_inode_info, vfs_inode);
            u64 size = info->i_disksize;
            bpf_trace_printk("%lld", size);
            return 0;
          }`;
        const context = { ...kernel, btfPath: join(folder, 'vmlinux') };
        const { functions } = await compileText(text, { mode: 'btf', modules: ['ext4'] }, { kernel: context });
        expect(functions.map(({ name }) => name)).toEqual(['on_write']);
        await expect(compileText(text, 'btf', { kernel: context })).rejects.toThrow('ext4_inode_info');
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    });
  }
});
