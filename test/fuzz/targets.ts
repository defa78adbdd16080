import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import type { Btf } from '../../src/layout/btf';

/*
 * What is fuzzed, each with seeds that are made at run time from what this machine has. Modules are loaded when their
 * target is prepared: the counters and the words of a run are those of the code under test.
 */

export interface Target {
  about: string;
  /** Built-in errors that are documented for wrong input, besides BCCError. */
  throws?: string[];
  maxLength?: number;
  /** Native code takes part: the target has a process of its own, whose end by a signal is a failure. */
  native?: boolean;
  prepare(): Promise<{ seeds: Buffer[]; run(input: Buffer): void | Promise<void> }>;
}

const FIXTURES = path.join(__dirname, '..', 'fixtures');

function fixtures(folder: string, extension: string): Buffer[] {
  const where = path.join(FIXTURES, folder);
  return readdirSync(where)
    .filter((name) => name.endsWith(extension))
    .map((name) => readFileSync(path.join(where, name)));
}

/** Up to `bytes` of a file, [] where it cannot be read. */
function begin(file: string, bytes: number): Buffer[] {
  try {
    return [readFileSync(file).subarray(0, bytes)];
  } catch {
    return [];
  }
}

function texts(...lines: string[]): Buffer[] {
  return lines.map((line) => Buffer.from(line));
}

const BTF_PROGRAM = `
enum color { RED, GREEN = 7, BLUE = -3 };
typedef unsigned long long u64;
struct inner { unsigned a : 3; unsigned b : 9; enum color c; union { int i; float f; }; };
struct outer { char comm[16]; struct inner in[2]; u64 wide; const volatile struct outer *next; _Bool yes; int tail[]; };
struct outer shared __attribute__((section(".data.shared")));
static int helper(const struct outer *o, int n) { return o->in[n & 1].i + n; }
__attribute__((section("prog"))) int program(struct outer *o) { shared.wide++; return helper(o, o->yes); }
`;

/** An object file for BPF with debug information, as clang makes it; undefined where there is no clang. */
function bpfObject(): Buffer | undefined {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'tsbcc-fuzz-'));
  try {
    const object = path.join(folder, 'bpf.o');
    execFileSync('clang', ['-target', 'bpf', '-w', '-g', '-O1', '-c', '-x', 'c', '-', '-o', object], {
      input: BTF_PROGRAM,
    });
    return readFileSync(object);
  } catch {
    return undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function section(image: Buffer, name: string): Promise<Buffer> {
  const { ElfFile } = await import('../../src/kernel/elf.js');
  return ElfFile.withImage('bpf.o', image, (file) => {
    const { offset, size } = file.sections.find((one) => one.name === name)!;
    return image.subarray(Number(offset), Number(offset + size));
  });
}

/** Every question that the library asks of a BTF type. */
async function btfQuestions(): Promise<(types: Btf) => void> {
  const { codecFor, ByteSource } = await import('../../src/layout/codec.js');
  const { sprintf } = await import('../../src/layout/sprintf.js');
  const { typescriptOf } = await import('../../src/layout/types.js');
  const ask = (types: Btf, id: number) => {
    types.find(types.type(id).name);
    types.typeName(id);
    types.resolve(id);
    types.members(id);
    types.enumerators(id);
    types.parameters(id);
    types.sectionVariables(id);
    const layout = types.layout(id);
    if (layout.size > 4096) return;
    const codec = codecFor(layout);
    const source = new ByteSource(new Uint8Array(layout.size).fill(0x41));
    codec.encode(codec.decode(source, 0), source, 0);
    inspect(codec.lazy(source, 0));
    sprintf(layout, source);
    typescriptOf(layout, 'T');
  };
  return (types) => {
    for (let id = 0; id < Math.min(types.typeCount, 64); id++) {
      try {
        ask(types, id);
      } catch (error) {
        // A broken type must not hide the next.
        if (!String((error as { code?: unknown }).code).startsWith('ERR_BCC_')) throw error;
      }
    }
  };
}

function latin1(input: Buffer): string {
  return input.toString('latin1');
}

export const TARGETS: Readonly<Record<string, Target>> = {
  btf: {
    about: 'BTF blobs, and the decoders made from them',
    maxLength: 2048,
    // A struct with two members of one name cannot be written back.
    throws: ['TypeError', 'RangeError'],
    async prepare() {
      const { Btf } = await import('../../src/layout/btf.js');
      const ask = await btfQuestions();
      const object = bpfObject();
      const seeds = object ? [await section(object, '.BTF')] : [];
      return { seeds: [...seeds, Buffer.alloc(24)], run: (input) => ask(new Btf(input)) };
    },
  },
  'btf-split': {
    about: "modules' BTF, whose types go on from a base's",
    maxLength: 2048,
    throws: ['TypeError', 'RangeError'],
    async prepare() {
      const { Btf } = await import('../../src/layout/btf.js');
      const ask = await btfQuestions();
      const object = bpfObject();
      const blob = object ? await section(object, '.BTF') : Buffer.alloc(24);
      const base = object ? new Btf(Buffer.from(blob)) : undefined;
      return { seeds: [blob], run: (input) => ask(new Btf(input, base)) };
    },
  },
  'btf-to-c': {
    about: "BTF blobs turned into C by libbpf, a module's on top of a base",
    maxLength: 2048,
    native: true,
    async prepare() {
      const { dumpBtf } = await import('../../src/kernel/headers/tree.js');
      const object = bpfObject();
      const blob = object ? Buffer.from(await section(object, '.BTF')) : Buffer.alloc(24);
      return {
        seeds: [blob],
        run(input) {
          dumpBtf(input, 'blob');
          dumpBtf(input, 'blob', blob);
        },
      };
    },
  },
  'elf-symbols': {
    about: "ELF files through libbcc's and libelf's reading of symbols, and names to be demangled",
    maxLength: 8192,
    native: true,
    async prepare() {
      const { runtime } = await import('../../src/native.js');
      const { symbolAddress, symbolTable } = await import('../../src/kernel/symbol-table.js');
      const object = bpfObject();
      const file = path.join(mkdtempSync(path.join(os.tmpdir(), 'tsbcc-fuzz-')), 'image');
      process.on('exit', () => rmSync(path.dirname(file), { recursive: true }));
      return {
        seeds: [...(object ? [object] : []), smallElf(64), smallElf(32)],
        run(input) {
          writeFileSync(file, input);
          const table = symbolTable(file);
          if (table) for (const [name, address] of table.entries()) table.find(address + BigInt(name.length));
          symbolAddress(file, 'function');
          runtime().demangle(`_Z${latin1(input.subarray(64, 128))}`);
        },
      };
    },
  },
  description: {
    about: "BCC's descriptions of keys and leaves",
    throws: ['TypeError', 'RangeError'],
    async prepare() {
      const { layoutFromDescription } = await import('../../src/layout/description.js');
      const { codecFor, ByteSource } = await import('../../src/layout/codec.js');
      const seeds = texts(
        '"unsigned int"',
        '["key",[["pid","unsigned int"],["comm","char",[16]],["op","unsigned char"],["__pad_1","char",[3]]],"struct"]',
        '["u",[["a","int",3],["b","unsigned long long"],["in",["v",[["x","short"],["y","double"]],"struct_packed"]]],"union"]',
        '["s",[["",[["i","int"],["f","float"]],"union"],["wide","unsigned __int128"],["flag","_Bool"]],"struct"]',
      );
      return {
        seeds,
        run(input) {
          for (const size of [1, 4, 8, 24, 40, 48]) {
            const layout = layoutFromDescription(latin1(input), size);
            if (layout.size !== size) throw new Error(`a layout of ${layout.size} bytes where ${size} were asked for`);
            const source = new ByteSource(new Uint8Array(size));
            const codec = codecFor(layout);
            codec.encode(codec.decode(source, 0), source, 0);
          }
        },
      };
    },
  },
  'event-fields': {
    about: "BCC's texts of an event's fields",
    async prepare() {
      const { layoutFromEventFields } = await import('../../src/layout/description.js');
      const seeds = texts('pid#u32\ncomm#char[16]\nts#unsigned long long\nnext#struct a *\nmode#enum m\nm#int[2][3]');
      return { seeds, run: (input) => void layoutFromEventFields(latin1(input).split('\n')) };
    },
  },
  'verifier-log': {
    about: 'logs of the verifier',
    maxLength: 4096,
    async prepare() {
      const { explainLoadFailure } = await import('../../src/program/verifier-log.js');
      const text = fixtures('verifier', '.c').join('\n');
      return {
        seeds: ['6.1', '6.12', '6.18'].flatMap((kernel) => fixtures(`verifier/${kernel}`, '.log')),
        run(input) {
          for (const errno of [13, 22])
            explainLoadFailure({ errno, log: latin1(input), fnName: 'f', progType: 5, text });
        },
      };
    },
  },
  diagnostics: {
    about: 'what clang, LLVM and libbcc print',
    maxLength: 4096,
    async prepare() {
      const { explainCompileFailure } = await import('../../src/program/diagnostics.js');
      const text = fixtures('compile', '.c').join('\n');
      return {
        seeds: fixtures('compile', '.out'),
        run: (input) =>
          void explainCompileFailure(input.toString(), { code: 1, signal: null }, { text, linesBefore: 3 }),
      };
    },
  },
  'trace-pipe': {
    about: 'lines of trace_pipe, and their formats',
    throws: ['RangeError'],
    async prepare() {
      const { formatTraceFields, parseTraceLine } = await import('../../src/events/trace-pipe.js');
      const seeds = texts(
        '              sh-1234    [001] d..31 12345.678901: bpf_trace_printk: message: {0} {}',
        ' a - b-(c)-77 (  77) [000] .... 1.5: 0x00000001: {5} of {4}',
        'CPU:1 [LOST 12 EVENTS]',
      );
      return {
        seeds,
        run(input) {
          const fields = parseTraceLine(input.toString());
          formatTraceFields(input.toString(), fields ?? ['a', 1, 0, '', 1.5, 'text']);
        },
      };
    },
  },
  kallsyms: {
    about: "the kernel's table of symbols",
    maxLength: 4096,
    async prepare() {
      const { KernelSymbols } = await import('../../src/kernel/kallsyms.js');
      const rows =
        'ffffffff81000000 T _stext\nffffffff81000100 t helper\nffffffff82000000 D data\n0000000000000000 A absolute\nffffffffc0000000 t own\t[module]\nffffffffc0001000 t bpf_prog_1234\t[bpf]\n';
      return {
        seeds: [...begin('/proc/kallsyms', 4096), Buffer.from(rows)],
        run(input) {
          const symbols = new KernelSymbols(input);
          for (const address of [0n, 1n, 0xffffffff81000101n, 0xffffffffffffffffn]) {
            symbols.resolve(address);
            symbols.textAt(address, true, true);
          }
          const names = [...symbols.names()].slice(0, 16);
          for (const name of names) {
            if (!symbols.has(name)) throw new Error(`${JSON.stringify(name)} is listed and not found`);
            if (!symbols.hidden) symbols.address(name, { data: true });
          }
          if ([...symbols.entries()].length !== symbols.size) throw new Error('more or fewer entries than symbols');
          for (const _ of symbols.functions());
        },
      };
    },
  },
  'usdt-arguments': {
    about: 'the arguments of USDT probes, for every machine',
    async prepare() {
      const { operandReader, operandText, operandType, parseUsdtArguments } = await import(
        '../../src/kernel/usdt-arguments.js'
      );
      const seeds = texts(
        '-4@%edi 8@-24(%rbp) 4@$7 2@%ah 8@var(%rip) 8@(%rax,%rbx,4) 8f@%xmm0',
        '8@[sp, 16] -4@x0 8@[x1, x2, lsl 3] 4@-5 1@[x29, #-8]',
        '8@r3 4@i7 8@-16(1) 8@%r2 8@8(%r15) 8@[$r4, 8]',
      );
      const site = { address: 0x1000n, relocatable: true, symbolAddress: (name: string) => BigInt(name.length) };
      return {
        seeds,
        run(input) {
          for (const machine of [3, 21, 22, 62, 183, 258, 9]) {
            for (const operand of parseUsdtArguments(machine, latin1(input))) {
              operandText(operand);
              operandType(operand);
              const reader = operandReader(operand, site, 'target');
              // It becomes part of a C program: nothing of the note may appear in it but names and numbers.
              if (reader !== undefined && !/^[\w\s;:=+*()&>,"{}[\].-]*$/.test(reader)) throw new Error(reader);
            }
          }
        },
      };
    },
  },
  elf: {
    about: 'ELF files: headers, sections, notes, symbols',
    maxLength: 8192,
    async prepare() {
      const { ElfFile } = await import('../../src/kernel/elf.js');
      const object = bpfObject();
      return {
        seeds: [...(object ? [object] : []), smallElf(64), smallElf(32)],
        run(input) {
          ElfFile.withImage('image', input, (file) => {
            void file.relocatable;
            void file.sections;
            file.usdtNotes();
            file.functions();
            file.buildId();
            file.addressToOffset(0x1000n);
            file.offsetToAddress(0x1000n);
          });
        },
      };
    },
  },
  'perf-map': {
    about: 'perf maps of runtimes that compile at run time',
    async prepare() {
      const { parsePerfMap } = await import('../../src/kernel/process-symbols.js');
      const { SymbolTable, symbolColumns } = await import('../../src/kernel/symbol-table.js');
      const seeds = texts(
        '7f0000001000 40 LazyCompile:*run /a.js:1\n0x7f0000001040 0x20 b\nffffffffffffff00 ff c\n0 0 d\n',
      );
      return {
        seeds,
        run(input) {
          const table = new SymbolTable(symbolColumns(parsePerfMap(input.toString())));
          for (const [name, address] of table.entries()) {
            table.find(address);
            if (table.address(name) === undefined) throw new Error(`${JSON.stringify(name)} is listed and not found`);
          }
          table.find(0xffffffffffffff01n);
        },
      };
    },
  },
  proc: {
    about: '/proc/PID/maps, CPU lists, formats of tracepoints, kernel configurations',
    async prepare() {
      const { parseMappings } = await import('../../src/kernel/processes.js');
      const { parseCpuList } = await import('../../src/kernel/cpus.js');
      const { parseTracepointFormat } = await import('../../src/kernel/tracefs.js');
      const { parseConfig } = await import('../../src/kernel/headers/config.js');
      const { kernelVersionFrom, parseKernelVersion } = await import('../../src/kernel/version.js');
      const format =
        'name: sched_switch\nID: 314\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n\tfield:__data_loc char[] name;\toffset:24;\tsize:4;\tsigned:0;\n\nprint fmt: "%s", REC->prev_comm\n';
      return {
        seeds: [
          ...begin('/proc/self/maps', 4096),
          ...texts(
            '0-3,5,7-9\n',
            format,
            'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_HZ=250\nCONFIG_S="x y"\n',
            '6.1.0-42-amd64',
          ),
        ],
        run(input) {
          parseMappings(input.toString());
          parseCpuList(input.toString());
          parseTracepointFormat(input.toString());
          // A gzip file is read by Node itself.
          if (input[0] !== 0x1f) parseConfig('config', input);
          parseKernelVersion(input.toString());
          kernelVersionFrom(input.toString(), latin1(input), input.toString());
        },
      };
    },
  },
  'compiled-program': {
    about: 'files of compiled programs, with a right digest',
    async prepare() {
      const { decodeProgram, encodeProgram } = await import('../../src/program/codec.js');
      const { disassemble } = await import('../../src/program/disassemble.js');
      const table = { name: 't', type: 1, keySize: 4, leafSize: 8, maxEntries: 1, flags: 0, keyDesc: '"int"' };
      const load = [0x18, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
      const whole = encodeProgram({
        functions: [
          {
            name: 'f',
            insns: Uint8Array.from(load),
            relocations: [{ insn: 0, table: 't' }],
            funcInfo: new Uint8Array(8),
            funcInfoRecSize: 8,
            lineInfo: new Uint8Array(16),
            lineInfoRecSize: 16,
          },
        ],
        tables: [{ ...table, leafDesc: '"long"', btfKeyTypeId: 1, btfValueTypeId: 2, eventFields: [], innerMap: 't' }],
        license: 'GPL',
        kernVersion: 1,
        btf: new Uint8Array(4),
        events: [{ table: 't', btfTypeId: 1 }],
        lostTables: [],
        origin: { text: 'x', cflags: [], libbcc: '0', kernelRelease: '6', btf: '', headers: 'btf', arch: 'x64' },
        warnings: '',
      });
      return {
        seeds: [whole],
        run(input) {
          const bytes = Buffer.from(input);
          // Else no change would come past the digest.
          if (bytes.length > 48) createHash('sha256').update(bytes.subarray(48)).digest().copy(bytes, 16);
          for (const { name, insns, relocations } of decodeProgram(bytes).functions) {
            disassemble(insns, { name, relocations });
          }
        },
      };
    },
  },
  disassembler: {
    about: 'instructions of BPF',
    async prepare() {
      const { disassemble } = await import('../../src/program/disassemble.js');
      const object = bpfObject();
      const seeds = object ? [await section(object, 'prog')] : [];
      return {
        seeds: [...seeds, Buffer.from([0x95, 0, 0, 0, 0, 0, 0, 0])],
        run: (input) => void disassemble(input.subarray(0, input.length & ~7)),
      };
    },
  },
  'program-text': {
    about: "a program's C text, as it is read before it is compiled",
    maxLength: 2048,
    async prepare() {
      const source = await import('../../src/program/source.js');
      const scan = await import('../../src/kernel/headers/scan.js');
      const seeds = [...fixtures('compile', '.c'), ...fixtures('verifier', '.c')].map((text) =>
        Buffer.concat([text, Buffer.from('\nBPF_PERF_OUTPUT(e); e.perf_submit(ctx, &d, 4);')]),
      );
      return {
        seeds,
        run(input) {
          const text = input.toString();
          const lines = text.split('\n').length;
          for (const countLost of [false, true]) {
            const annotated = source.annotateEvents(text, countLost);
            if (annotated.text.split('\n').length !== lines) throw new Error('the annotated text has other lines');
          }
          scan.includes(text);
          scan.declarations(text);
          scan.words(scan.stripComments(text));
        },
      };
    },
  },
  'btf-header': {
    about: "libbpf's C of a BTF blob, split into units",
    maxLength: 2048,
    async prepare() {
      const units = await import('../../src/kernel/headers/units.js');
      const seeds = texts(
        'struct a {\n\tint x;\n\tu8 b: 3;\n\tu8 c: 6;\n\tstruct b *next;\n\tint (*call)(int, struct c *);\n};\n\ntypedef unsigned int u32;\n\nenum e {\n\tA = 0,\n\tB = -1,\n};\n\ntypedef void (*fn)(struct a *);\n\nstruct b;\n\n',
      );
      return {
        seeds,
        run(input) {
          for (const unit of units.splitBtfDump(latin1(input))) units.mentions(unit);
          units.readUnits(latin1(input));
        },
      };
    },
  },
  ndjson: {
    about: 'events as lines of JSON, there and back',
    throws: ['SyntaxError', 'TypeError', 'RangeError'],
    async prepare() {
      const { fromNdjson, toNdjson } = await import('../../src/events/ndjson.js');
      const seeds = texts(
        '{"pid":1,"ts":{"$bigint":"18446744073709551615"},"data":{"$bytes":"3q2+7w=="},"x":{"$number":"NaN"}}',
        '{"$lost":12,"cause":"kernel","cpu":0}',
        '[{"$object":{"$bigint":"1"}},null,true,-0,1e300,"a\\u0000b"]',
      );
      return {
        seeds,
        run(input) {
          const value = fromNdjson(input.toString());
          const line = toNdjson(value);
          if (toNdjson(fromNdjson(line)) !== line) throw new Error(`${line} comes back as another value`);
          toNdjson(value, { plain: true });
        },
      };
    },
  },
  sscanf: {
    about: "BCC's text form of keys and leaves",
    throws: ['TypeError', 'RangeError'],
    async prepare() {
      const { sprintf, sscanf } = await import('../../src/layout/sprintf.js');
      const { layoutFromDescription } = await import('../../src/layout/description.js');
      const { ByteSource } = await import('../../src/layout/codec.js');
      const description =
        '["s",[["pid","unsigned int"],["comm","char",[8]],["cells","short",[3]],["u",["v",[["i","int"],["w","long"]],"union"]]],"struct"]';
      const layout = layoutFromDescription(description, 32);
      return {
        seeds: texts(sprintf(layout, new ByteSource(new Uint8Array(32))), '{ 0x1 "ab\\n" [ 1 -2 077 ] { 0x7 } }'),
        run(input) {
          const target = new ByteSource(new Uint8Array(32));
          sscanf(layout, latin1(input), target);
          const text = sprintf(layout, target);
          const again = new ByteSource(new Uint8Array(32));
          sscanf(layout, text, again);
          if (sprintf(layout, again) !== text) throw new Error(`${text} comes back as ${sprintf(layout, again)}`);
        },
      };
    },
  },
  cli: {
    about: 'the command line: one argument a line',
    throws: ['UsageError'],
    async prepare() {
      const { runCommand } = await import('../../src/cli/command.js');
      const { PROGRAM_OPTIONS, programOptions } = await import('../../src/cli/program.js');
      const { integer, seconds } = await import('../../src/cli/command.js');
      const options = {
        ...PROGRAM_OPTIONS,
        pid: { type: 'string' as const, short: 'p', help: '' },
        duration: { type: 'string' as const, short: 'd', help: '' },
      };
      const seeds = texts(
        'prog.c\n-DA=1\n-I\n/tmp',
        '--text\nint f() {}\n--no-cache\n-p\n12\n-d\n1.5',
        '--headers=btf\n--\n-x',
        '--dur',
      );
      return {
        seeds,
        async run(input) {
          const args = input.toString().split('\n');
          // Help is printed.
          if (args.some((argument) => /^-\w*h|^--h/.test(argument))) return;
          await runCommand(
            'fuzz',
            {
              usage: '',
              about: '',
              options,
              run(values, positionals) {
                programOptions(
                  values,
                  positionals.map((name) => `/nowhere/${name}`),
                );
                integer(values, 'pid', 1);
                seconds(values, 'duration');
                return 0;
              },
            },
            args,
          );
        },
      };
    },
  },
};

/** A linked file in little: headers, one code segment, a note segment, symbols, a USDT note. */
function smallElf(bits: 32 | 64): Buffer {
  const wide = bits === 64;
  const word = wide ? 8 : 4;
  const out: number[] = [];
  const put = (value: number, size: number) => {
    for (let i = 0; i < size; i++) out.push(Math.floor(value / 2 ** (8 * i)) & 0xff);
  };
  const text = (value: string) => out.push(...Buffer.from(`${value}\0`));
  const align = () => {
    while (out.length % 8 !== 0) out.push(0);
  };
  const headerSize = wide ? 64 : 52;
  const segmentSize = wide ? 56 : 32;
  const sectionSize = wide ? 64 : 40;
  const symbolSize = wide ? 24 : 16;
  // The body first, behind room for the header and two segments.
  put(0, headerSize + 2 * segmentSize);
  align();
  const noteAt = out.length;
  put(4, 4);
  put(4, 4);
  put(3, 4);
  text('GNU');
  put(0x12345678, 4);
  const probeAt = out.length;
  const description = 3 * word + 'lib\0probe\0-4@%edi 8@8(%rsp)\0'.length;
  put(8, 4);
  put(description, 4);
  put(3, 4);
  text('stapsdt');
  for (const value of [0x1010, 0x2000, 0x3000]) put(value, word);
  text('lib');
  text('probe');
  text('-4@%edi 8@8(%rsp)');
  const probeEnd = out.length;
  align();
  const stringsAt = out.length;
  out.push(0);
  const names = ['.note.stapsdt', '.symtab', '.strtab', 'function'].map((name) => {
    const at = out.length - stringsAt;
    text(name);
    return at;
  });
  const stringsEnd = out.length;
  align();
  const symbolsAt = out.length;
  put(0, symbolSize);
  put(names[3]!, 4);
  if (wide) {
    put(0x12, 1);
    put(0, 1);
    put(1, 2);
    put(0x1000, 8);
    put(32, 8);
  } else {
    put(0x1000, 4);
    put(32, 4);
    put(0x12, 1);
    put(0, 3);
  }
  const symbolsEnd = out.length;
  const sectionsAt = out.length;
  const sectionHeader = (name: number, type: number, at: number, end: number, link = 0) => {
    put(name, 4);
    put(type, 4);
    for (const value of [0, 0, at, end - at]) put(value, word);
    put(link, 4);
    put(0, 4);
    put(1, word);
    put(type === 2 ? symbolSize : 0, word);
  };
  put(0, sectionSize);
  sectionHeader(names[0]!, 7, probeAt, probeEnd);
  sectionHeader(names[1]!, 2, symbolsAt, symbolsEnd, 3);
  sectionHeader(names[2]!, 3, stringsAt, stringsEnd);
  const body = Buffer.from(out);

  out.length = 0;
  out.push(0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1, ...new Array(9).fill(0));
  put(3, 2);
  put(wide ? 62 : 3, 2);
  put(1, 4);
  for (const value of [0x1000, headerSize, sectionsAt]) put(value, word);
  put(0, 4);
  for (const value of [headerSize, segmentSize, 2, sectionSize, 4, 3]) put(value, 2);
  const segment = (type: number, at: number, address: number, size: number) => {
    put(type, 4);
    if (wide) put(5, 4);
    for (const value of [at, address, address, size, size]) put(value, word);
    if (!wide) put(5, 4);
    put(8, word);
  };
  segment(1, 0, 0x1000, 0x100);
  segment(4, noteAt, 0x1000 + noteAt, probeAt - noteAt);
  Buffer.from(out).copy(body);
  return body;
}
