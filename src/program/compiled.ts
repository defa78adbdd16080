/**
 * What compilation yields, as plain data: nothing in it belongs to the process that compiled. Maps are told by name in
 * the instructions (`relocations`), so that another process can create its own.
 */
export interface CompiledProgram {
  functions: CompiledFunction[];
  tables: CompiledTable[];
  license: string;
  /** LINUX_VERSION_CODE of the kernel it was compiled for; kernels before 5.0 check it for kprobes. */
  kernVersion: number;
  /** The BTF of its types, functions and lines; empty where the compiler made none. */
  btf: Uint8Array;
  /** Which struct each table's events are: see {@link CompiledEvent}. */
  events: CompiledEvent[];
  /** Ring tables whose lost events the program counts, in the order of the counters: see `countLost`. */
  lostTables: string[];
  /** What it was made from and for. */
  origin: {
    /** The user's own text. */
    text: string;
    cflags: string[];
    libbcc: string;
    /** The running or chosen kernel's release. */
    kernelRelease: string;
    /** A hash of that kernel's BTF: two builds may have one release. '' where it has none, or none was given. */
    btf: string;
    /** Where its kernel types came from, in one line for people. */
    headers: string;
    arch: string;
  };
  /** Compiler warnings, as text. */
  warnings: string;
}

export interface CompiledFunction {
  name: string;
  /** 8 bytes an instruction; the immediate of a relocated map load is 0. */
  insns: Uint8Array;
  relocations: MapRelocation[];
  funcInfo: Uint8Array;
  funcInfoRecSize: number;
  lineInfo: Uint8Array;
  lineInfoRecSize: number;
}

/** The LD_IMM64 at instruction `insn` takes the fd of `table`. */
export interface MapRelocation {
  insn: number;
  table: string;
}

export interface CompiledTable {
  name: string;
  type: number;
  keySize: number;
  leafSize: number;
  maxEntries: number;
  flags: number;
  /** BCC's JSON descriptions of the types: the fallback where there is no BTF. */
  keyDesc: string;
  leafDesc: string;
  /** Type ids in the program's BTF, 0 where it does not describe this table. */
  btfKeyTypeId: number;
  btfValueTypeId: number;
  /** The table that serves as the template of a map of maps. */
  innerMap?: string;
  /** A path on bpffs (BPF_TABLE_PINNED): opened where it exists, else made and pinned there. */
  pinned?: string;
  /** Other programs of the process that makes it may use it as "extern". */
  exported?: boolean;
  /** It is another program's: found among the exported tables by its name. What is said of it here is what that was. */
  extern?: boolean;
  /** `name#type` texts of the event struct as BCC knows them: the fallback where there is no BTF. */
  eventFields: string[];
}

/** What an "extern" table of another program is compiled against. */
export type ExportedTable = Pick<
  CompiledTable,
  'name' | 'type' | 'keySize' | 'leafSize' | 'maxEntries' | 'flags' | 'keyDesc' | 'leafDesc'
>;

/** One struct sent through a table: its type in the program's BTF. */
export interface CompiledEvent {
  table: string;
  btfTypeId: number;
}
