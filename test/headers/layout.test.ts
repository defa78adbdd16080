import { readFileSync } from 'node:fs';
import type { HeadersContext } from '../../src/kernel/headers';
import { Btf } from '../../src/layout/btf';
import { itIf, kernelHas } from '../helpers';
import { compileText } from './compile';
import { otherKernel } from './kernels';

/*
 * Where the compiled code looks for a member is where BTF says it lies. C's own offsetof would not do: libbcc lays
 * structs out for the host and generates code for BPF, and the two can disagree. Nor would addresses
 * that the optimizer can make numbers of: the members must be reached as in what BCC makes of a dereference.
 */

const STRUCTS = (
  'task_struct mm_struct vm_area_struct signal_struct files_struct fdtable file inode dentry super_block vfsmount cred ' +
  'nsproxy pid css_set cgroup sched_entity sock tcp_sock inet_sock inet_connection_sock udp_sock unix_sock socket ' +
  'sk_buff skb_shared_info net_device net neighbour request request_queue bio gendisk block_device kiocb ' +
  'address_space linux_binprm perf_event bpf_prog bpf_prog_aux irq_desc hrtimer work_struct pipe_inode_info key module ' +
  'tty_struct kmem_cache zone pglist_data rq cfs_rq kernfs_node'
).split(' ');

/** What members were called before the kernel renamed them: programs may still call them so. */
const FORMER_NAMES: [tag: string, now: string, before: string][] = [
  ['task_struct', '__state', 'state'],
  ['dentry', 'd_shortname', 'd_iname'],
  ['kernfs_node', '__parent', 'parent'],
];

/** Members with a name and whole bytes, those of anonymous structs and unions included: name → offset in bytes. */
function offsets(btf: Btf, id: number, start = 0, found = new Map<string, number>()): Map<string, number> {
  for (const { name, type, bitOffset, bitSize } of btf.members(id)) {
    if (bitSize > 0) continue;
    if (name !== '') found.set(name, start + bitOffset / 8);
    else offsets(btf, btf.resolve(type), start + bitOffset / 8, found);
  }
  return found;
}

const MOVE = 0xbf;
const ADD_IMMEDIATE = 0x07;
const CALL = 0x85;
const GET_CURRENT_TASK = 35;
const RESULT = 0;
const THIRD_ARGUMENT = 3;
const CLOBBERED = [0, 1, 2, 3, 4, 5];

/** What a function hands to helpers as their third argument, one call after the other: how far from the task. */
function thirdArguments(insns: Uint8Array): (number | undefined)[] {
  const view = new DataView(insns.buffer, insns.byteOffset, insns.byteLength);
  const registers = new Map<number, number>();
  const told: (number | undefined)[] = [];
  for (let at = 0; at < insns.length; at += 8) {
    const target = insns[at + 1]! & 0xf;
    const value = registers.get(insns[at + 1]! >> 4);
    if (insns[at] === CALL) {
      const helper = view.getInt32(at + 4, true);
      if (helper !== GET_CURRENT_TASK) told.push(registers.get(THIRD_ARGUMENT));
      for (const register of CLOBBERED) registers.delete(register);
      if (helper === GET_CURRENT_TASK) registers.set(RESULT, 0);
    } else if (insns[at] === ADD_IMMEDIATE && registers.has(target)) {
      registers.set(target, registers.get(target)! + view.getInt32(at + 4, true));
    } else if (insns[at] === MOVE && value !== undefined) {
      registers.set(target, value);
    } else {
      registers.delete(target);
    }
  }
  return told;
}

async function check(btfPath: string, kernel: HeadersContext | undefined): Promise<number> {
  const btf = new Btf(readFileSync(btfPath));
  const wanted = STRUCTS.map((tag) => ({ tag, id: btf.find(tag, 'struct') }))
    .filter(({ id }) => id > 0)
    .map(({ tag, id }) => {
      const members = offsets(btf, id);
      for (const [of, now, before] of FORMER_NAMES) {
        if (of === tag && members.has(now)) members.set(before, members.get(now)!);
      }
      return { tag, members: [...members] };
    });
  const text = wanted
    .map(({ tag, members }) => {
      const lines = members.map(([name]) => `  bpf_probe_read_kernel(&value, sizeof(value), &p->${name});`);
      return `int of_${tag}(void *ctx) {\n  u64 value;\n  struct ${tag} *p = (void *)bpf_get_current_task();\n${lines.join('\n')}\n  return 0;\n}`;
    })
    .join('\n');
  const program = await compileText(text, 'btf', { kernel });
  let checked = 0;
  for (const { tag, members } of wanted) {
    const told = thirdArguments(program.functions.find(({ name }) => name === `of_${tag}`)!.insns);
    const compiled = Object.fromEntries(members.map(([name], i) => [name, told[i]]));
    expect({ [tag]: compiled }).toEqual({ [tag]: Object.fromEntries(members) });
    checked += members.length;
  }
  return checked;
}

describe('members lie where BTF says', () => {
  itIf(['root', 'btf'], 'on the running kernel', async () => {
    expect(await check('/sys/kernel/btf/vmlinux', undefined)).toBeGreaterThan(1500);
  });

  for (const name of ['6.1', '6.12']) {
    const kernel = otherKernel(name);
    const reason = typeof kernel === 'string' ? kernel : kernelHas('root') ? undefined : 'not root';
    const title = `on Debian's ${name}`;
    if (reason !== undefined) it.skip(`${title} [skipped: ${reason}]`, () => {});
    else if (typeof kernel !== 'string') {
      it(title, async () => {
        expect(await check(kernel.btfPath, kernel)).toBeGreaterThan(1500);
      });
    }
  }
});
