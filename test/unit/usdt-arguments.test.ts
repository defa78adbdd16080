import {
  isReadable,
  operandReader,
  operandText,
  operandType,
  parseUsdtArguments,
  type UsdtOperand,
} from '../../src/kernel/usdt-arguments';

const X86_64 = 62;
const AARCH64 = 183;
const PPC64 = 21;
const S390 = 22;
const LOONGARCH = 258;

describe('USDT arguments', () => {
  it('are not understood where a distance is beyond every address', () => {
    const [operand] = parseUsdtArguments(PPC64, `8@${'9'.repeat(400)}(3)`);
    expect(isReadable(operand!)).toBe(false);
    const site = { address: 0n, relocatable: false, symbolAddress: () => undefined };
    expect(operandReader(operand!, site, 'value')).toBeUndefined();
  });

  it.each<[string, Partial<UsdtOperand>, string]>([
    ['-4@%edi', { size: 4, signed: true, baseRegisterName: 'di' }, 'di'],
    ['8@%r10', { size: 8, signed: false, baseRegisterName: 'r10' }, 'r10'],
    ['1@%r9b', { size: 1, baseRegisterName: 'r9' }, 'r9'],
    ['1@%ah', { size: 1, baseRegisterName: 'ax', shift: 8 }, 'ax'],
    ['%rax', { size: 8, signed: false, baseRegisterName: 'ax' }, 'ax'],
    ['-4@$-7', { constant: -7n }, '-7'],
    ['8@$0xff', { constant: 255n }, '255'],
    ['8@-24(%rbp)', { derefOffset: -24, baseRegisterName: 'bp' }, '*(bp - 24)'],
    ['-2@(%rdx)', { derefOffset: 0, baseRegisterName: 'dx' }, '*(dx + 0)'],
    [
      '8@16(%rax,%rcx,8)',
      { derefOffset: 16, baseRegisterName: 'ax', indexRegisterName: 'cx', scale: 8 },
      '*(ax + 16 + cx * 8)',
    ],
    ['8@(,%rax,8)', { derefOffset: 0, indexRegisterName: 'ax', scale: 8 }, '*(0 + 0 + ax * 8)'],
    ['4@counter(%rip)', { derefOffset: 0, derefIdent: 'counter', baseRegisterName: 'ip' }, '*(&counter + 0)'],
    ['4@counter.0+8(%rip)', { derefOffset: 8, derefIdent: 'counter.0', baseRegisterName: 'ip' }, '*(&counter.0 + 8)'],
    ['4@-8+table(%rip)', { derefOffset: -8, derefIdent: 'table', baseRegisterName: 'ip' }, '*(&table - 8)'],
  ])('are understood on x86: %s', (text, expected, shown) => {
    const [operand] = parseUsdtArguments(X86_64, text);
    expect(operand).toMatchObject({ text, ...expected });
    expect(operandText(operand!)).toBe(shown);
    expect(isReadable(operand!)).toBe(true);
  });

  it.each<[string, number, string, Partial<UsdtOperand>]>([
    ['arm64', AARCH64, '-4@x3', { size: 4, signed: true, baseRegisterName: 'regs[3]' }],
    ['arm64', AARCH64, '4@w12', { size: 4, baseRegisterName: 'regs[12]' }],
    ['arm64', AARCH64, '8@[sp, 24]', { derefOffset: 24, baseRegisterName: 'sp' }],
    ['arm64', AARCH64, '8@[x0,-8]', { derefOffset: -8, baseRegisterName: 'regs[0]' }],
    ['arm64', AARCH64, '1@[x1, x2]', { derefOffset: 0, baseRegisterName: 'regs[1]', indexRegisterName: 'regs[2]' }],
    ['arm64', AARCH64, '-4@-1', { constant: -1n }],
    ['powerpc64', PPC64, '-4@i5', { constant: 5n }],
    ['powerpc64', PPC64, '8@%r31', { baseRegisterName: 'gpr[31]' }],
    ['powerpc64', PPC64, '8@-16(1)', { derefOffset: -16, baseRegisterName: 'gpr[1]' }],
    ['s390', S390, '8@%r2', { baseRegisterName: 'gprs[2]' }],
    ['s390', S390, '4@160(%r15)', { derefOffset: 160, baseRegisterName: 'gprs[15]' }],
    ['loongarch', LOONGARCH, '8@$r4', { baseRegisterName: 'regs[4]' }],
    ['loongarch', LOONGARCH, '8@[$r22,-24]', { derefOffset: -24, baseRegisterName: 'regs[22]' }],
  ])('are understood on %s: %s %s', (_name, machine, text, expected) => {
    expect(parseUsdtArguments(machine, text)).toEqual([expect.objectContaining({ text, ...expected })]);
  });

  it('keep their places where one is not understood', () => {
    const operands = parseUsdtArguments(X86_64, '-4@%edi 8f@%xmm0 16@%rax 8@%nonsense 4@$1');
    expect(operands.map(({ text }) => text)).toEqual(['-4@%edi', '8f@%xmm0', '16@%rax', '8@%nonsense', '4@$1']);
    expect(operands.map(isReadable)).toEqual([true, false, false, false, true]);
    expect(parseUsdtArguments(AARCH64, '8@[sp, 16] -4@[x29, 28] 4@x1').map(isReadable)).toEqual([true, true, true]);
    expect(parseUsdtArguments(X86_64, '')).toEqual([]);
    expect(parseUsdtArguments(243, '8@a0').map(isReadable)).toEqual([false]);
  });

  it('become C that reads them', () => {
    const site = {
      address: 0x1200n,
      relocatable: true,
      symbolAddress: (name: string) => (name === 'known' ? 0x4010n : undefined),
    };
    const reader = (text: string) => operandReader(parseUsdtArguments(X86_64, text)[0]!, site, 'value');
    expect(reader('-4@%edi')).toContain('value = (int32_t)(ctx->di);');
    expect(reader('1@%ah')).toContain('(uint8_t)(ctx->ax >> 8)');
    expect(reader('-4@$-7')).toBe('value = (int32_t)0xfffffffffffffff9ULL;');
    expect(reader('8@-24(%rbp)')).toContain('u64 address = ctx->bp + 0xffffffffffffffe8ULL;');
    expect(reader('8@16(%rax,%rcx,8)')).toContain('ctx->ax + ctx->cx * 8 + 0x10ULL');
    // 0x4010 - 0x1200: the same distance wherever the file is loaded.
    expect(reader('4@known(%rip)')).toContain('PT_REGS_IP(ctx) + 0x2e10ULL');
    expect(reader('4@unknown(%rip)')).toBeUndefined();
    expect(reader('4@known(%rax)')).toBeUndefined();
    expect(reader('8f@%xmm0')).toBeUndefined();
  });

  it('have the C types BCC gives them', () => {
    expect([1, 2, 4, 8].map((size) => operandType({ size, signed: true }))).toEqual([
      'int8_t',
      'int16_t',
      'int32_t',
      'int64_t',
    ]);
    expect(operandType({ size: 16, signed: false })).toBe('uint64_t');
  });
});
