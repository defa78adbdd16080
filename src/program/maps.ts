import * as fs from 'node:fs';
import * as path from 'node:path';
import { mapPrivilegeHint } from '../capabilities';
import { BPFMapType } from '../constants';
import { BCCError, errnoText, isNativeError, LoadError, UnsupportedError } from '../errors';
import { Btf } from '../layout/btf';
import { layoutFromDescription, layoutFromEventFields } from '../layout/description';
import type { Layout } from '../layout/layout';
import { type NativeFd, runtime } from '../native';
import type { TableSpec } from '../table/spec';
import type { CompiledProgram, CompiledTable, ExportedTable } from './compiled';

/** What a table is, before it belongs to a BCC object. */
export type MapSpec = Omit<TableSpec, 'int64' | 'host' | 'inner'> & { inner?: MapSpec };

const EPERM = 1;
const ENOENT = 2;
const EINVAL = 22;

/**
 * The tables that programs of this process export (BPF_TABLE_PUBLIC, BPF_TABLE_SHARED), for the ones that name them
 * "extern". The latest of a name counts; a closed program's tables are gone.
 */
const exportsByName = new Map<string, { spec: MapSpec; table: ExportedTable }>();

/** What the programs of this process export, as the compiler wants to know it. */
export function exportedTables(): ExportedTable[] {
  return [...exportsByName.values()].map(({ table }) => table);
}

/** Whether every extern table of a program is exported, and as it was when the program was compiled. */
export function externTablesFit(program: CompiledProgram): boolean {
  return program.tables.every((table) => {
    if (!table.extern) return true;
    const exported = exportsByName.get(table.name)?.table;
    return (
      exported !== undefined &&
      Object.entries(exported).every(([key, value]) => table[key as keyof ExportedTable] === value)
    );
  });
}

/** The maps of one program, and its BTF in the kernel. Closing them leaves pinned maps and other programs' maps alone. */
export class ProgramMaps {
  readonly specs = new Map<string, MapSpec>();
  /** The program's BTF, loaded; undefined where it has none or the kernel refuses it. */
  readonly btf: NativeFd | undefined;
  #owned: NativeFd[] = [];

  constructor(program: CompiledProgram, ifindex: number) {
    const types = program.btf.length > 0 ? new Btf(program.btf) : undefined;
    this.btf = types && loadBtf(program.btf);
    if (this.btf) this.#owned.push(this.btf);
    try {
      // Templates first: a map of maps is made from its template's map.
      const inner = new Set(program.tables.map((table) => table.innerMap));
      const ordered = [...program.tables].sort((a, b) => Number(inner.has(b.name)) - Number(inner.has(a.name)));
      for (const table of ordered) {
        const spec = this.#open(table, program, types, ifindex);
        this.specs.set(table.name, spec);
        if (table.exported) exportsByName.set(table.name, { spec, table: exportedAs(table, spec) });
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #open(table: CompiledTable, program: CompiledProgram, types: Btf | undefined, ifindex: number): MapSpec {
    const spec: Omit<MapSpec, 'fd'> = {
      ...describeTable(table, program, types),
      ...(table.innerMap !== undefined && { inner: this.specs.get(table.innerMap)! }),
    };
    if (table.extern) {
      const { maxEntries, flags, fd } = findExported(table);
      return { ...spec, maxEntries, flags, fd };
    }
    const { fd, ...own } =
      table.pinned === undefined
        ? { fd: this.#create(spec, table, ifindex) }
        : this.#pinned(spec, table.pinned, table, ifindex);
    this.#owned.push(fd);
    return { ...spec, ...own, fd };
  }

  #create(spec: Omit<MapSpec, 'fd'>, table: CompiledTable, ifindex: number): NativeFd {
    const attributes = {
      type: spec.type,
      name: spec.name.slice(0, 15),
      keySize: spec.keySize,
      valueSize: spec.leafSize,
      maxEntries: spec.maxEntries,
      flags: spec.flags,
      ifindex,
      ...(spec.inner && { innerMapFd: spec.inner.fd.fd }),
    };
    const described =
      this.btf && table.btfKeyTypeId !== 0 && table.btfValueTypeId !== 0 && storesPlainValues(spec.type);
    try {
      if (described) {
        try {
          return runtime().createMap({
            ...attributes,
            btfFd: this.btf!.fd,
            btfKeyTypeId: table.btfKeyTypeId,
            btfValueTypeId: table.btfValueTypeId,
          });
        } catch (error) {
          // Some kinds take no types, and which ones changes from kernel to kernel: without them the map is the same.
          if (!isNativeError(error) || error.errno === EPERM) throw error;
        }
      }
      return runtime().createMap(attributes);
    } catch (error) {
      throw mapError(spec, error);
    }
  }

  /** The map at the path, as long as it is, where there is one; else a new one that is then pinned there. */
  #pinned(
    spec: Omit<MapSpec, 'fd'>,
    where: string,
    table: CompiledTable,
    ifindex: number,
  ): Pick<MapSpec, 'fd' | 'maxEntries' | 'flags'> {
    try {
      const fd = runtime().getPinned(where);
      const info = runtime().mapInfo(fd.fd);
      const fits = info.type === spec.type && info.keySize === spec.keySize && info.valueSize === spec.leafSize;
      if (fits) return { fd, maxEntries: info.maxEntries, flags: info.flags };
      fd.close();
      throw new LoadError(
        `the map pinned at ${where} is another one than the table ${spec.name}: type ${info.type}, key ${info.keySize} and leaf ${info.valueSize} bytes, not type ${spec.type}, ${spec.keySize} and ${spec.leafSize}`,
        { code: 'ERR_BCC_PINNED_MISMATCH', hint: `remove ${where}, or pin this table elsewhere` },
      );
    } catch (error) {
      if (!isNativeError(error)) throw error;
      if (error.errno !== ENOENT) throw pinError(spec.name, where, error);
    }
    const fd = this.#create(spec, table, ifindex);
    try {
      fs.mkdirSync(path.dirname(where), { recursive: true });
      runtime().pin(fd.fd, where);
    } catch (error) {
      fd.close();
      throw pinError(spec.name, where, error);
    }
    return { fd, maxEntries: spec.maxEntries, flags: spec.flags };
  }

  close(): void {
    for (const [name, { spec }] of exportsByName) if (this.specs.get(name) === spec) exportsByName.delete(name);
    for (const fd of this.#owned.splice(0).reverse()) fd.close();
  }
}

/**
 * That every extern table of a program is here, and such a one as the program's instructions were made for.
 * @throws LoadError `ERR_BCC_EXTERN_TABLE`.
 */
export function requireExternTables(program: CompiledProgram): void {
  for (const table of program.tables) if (table.extern) findExported(table);
}

function exportedAs({ name, type, keySize, leafSize, keyDesc, leafDesc }: CompiledTable, spec: MapSpec): ExportedTable {
  return { name, type, keySize, leafSize, maxEntries: spec.maxEntries, flags: spec.flags, keyDesc, leafDesc };
}

/** The map that an extern table stands for. */
function findExported({ name, type, keySize, leafSize }: CompiledTable): MapSpec {
  const exported = exportsByName.get(name)?.spec;
  if (!exported || exported.fd.fd < 0) {
    throw new LoadError(`the table ${name} is "extern", and no other program here exports one of that name`, {
      code: 'ERR_BCC_EXTERN_TABLE',
      hint: 'load the program that defines it with BPF_TABLE_PUBLIC or BPF_TABLE_SHARED first, and keep it open',
    });
  }
  if (exported.type !== type || exported.keySize !== keySize || exported.leafSize !== leafSize) {
    throw new LoadError(
      `the "extern" table ${name} is exported as another one than the program was compiled for: type ${exported.type}, key ${exported.keySize} and leaf ${exported.leafSize} bytes, not type ${type}, ${keySize} and ${leafSize}`,
      { code: 'ERR_BCC_EXTERN_TABLE', hint: 'compile the program again while the other one is open' },
    );
  }
  return exported;
}

/** A table of a compiled program, with the layouts of its keys, leaves and events. */
export type TableDescription = Omit<MapSpec, 'fd' | 'inner'>;

/** The tables of a compiled program; nothing is made in the kernel. */
export function describeTables(program: CompiledProgram): TableDescription[] {
  const types = program.btf.length > 0 ? new Btf(program.btf) : undefined;
  return program.tables.map((table) => describeTable(table, program, types));
}

function describeTable(table: CompiledTable, program: CompiledProgram, types: Btf | undefined): TableDescription {
  return {
    name: table.name,
    type: table.type,
    keySize: table.keySize,
    leafSize: table.leafSize,
    maxEntries: table.maxEntries,
    flags: table.flags,
    keyLayout: typeLayout(types, table.btfKeyTypeId, table.keyDesc, table.keySize),
    leafLayout: typeLayout(types, table.btfValueTypeId, table.leafDesc, table.leafSize),
    events: eventLayouts(table, program, types),
  };
}

/** Kinds whose values the kernel itself fills take no description of them. */
function storesPlainValues(type: number): boolean {
  switch (type) {
    case BPFMapType.PERF_EVENT_ARRAY:
    case BPFMapType.PROG_ARRAY:
    case BPFMapType.STACK_TRACE:
    case BPFMapType.CGROUP_ARRAY:
    case BPFMapType.ARRAY_OF_MAPS:
    case BPFMapType.HASH_OF_MAPS:
    case BPFMapType.DEVMAP:
    case BPFMapType.DEVMAP_HASH:
    case BPFMapType.SOCKMAP:
    case BPFMapType.SOCKHASH:
    case BPFMapType.CPUMAP:
    case BPFMapType.XSKMAP:
    case BPFMapType.RINGBUF:
      return false;
    default:
      return true;
  }
}

function loadBtf(blob: Uint8Array): NativeFd | undefined {
  try {
    return runtime().loadBtf(blob);
  } catch (error) {
    // Older kernels refuse newer kinds; layouts do not need the kernel's consent.
    if (isNativeError(error)) return undefined;
    throw error;
  }
}

function typeLayout(types: Btf | undefined, id: number, description: string, size: number): Layout {
  if (types && id !== 0) {
    const layout = types.layout(id);
    if (layout.size === size) return layout;
  }
  return layoutFromDescription(description, size);
}

function eventLayouts(table: CompiledTable, program: CompiledProgram, types: Btf | undefined): Layout[] {
  const layouts = program.events
    .filter((event) => event.table === table.name)
    .map((event) => types?.layout(event.btfTypeId))
    .filter((layout) => layout !== undefined);
  if (layouts.length > 0 || table.eventFields.length === 0) return layouts;
  const fallback = layoutFromEventFields(table.eventFields);
  return fallback ? [fallback] : [];
}

function mapError(spec: Omit<MapSpec, 'fd'>, error: unknown): unknown {
  if (!isNativeError(error)) return error;
  const what = `the kernel refused the table ${spec.name} (${describeMap(spec)}): ${errnoText(error.errno)}`;
  const options = { errno: error.errno, cause: error };
  switch (error.errno) {
    case EPERM:
      return new LoadError(what, {
        ...options,
        code: 'ERR_BCC_PRIVILEGE',
        hint: mapPrivilegeHint() ?? PRIVILEGE_HINT,
      });
    case EINVAL:
      if (spec.type === BPFMapType.RINGBUF) {
        return new LoadError(what, {
          ...options,
          code: 'ERR_BCC_MAP',
          hint: 'a ring buffer has a power of two of pages: BPF_RINGBUF_OUTPUT(name, 1 << 4)',
        });
      }
      return new UnsupportedError(what, {
        ...options,
        code: 'ERR_BCC_MAP',
        hint: 'this kernel does not know this kind of map, or not with these sizes and flags',
      });
    case 7:
      return new LoadError(what, {
        ...options,
        code: 'ERR_BCC_MAP',
        hint: 'its sizes are larger than the kernel allows',
      });
    case 12:
      return new LoadError(what, {
        ...options,
        code: 'ERR_BCC_MAP',
        hint: 'make it smaller: its memory could not be had',
      });
    default:
      return new LoadError(what, { ...options, code: 'ERR_BCC_MAP' });
  }
}

const PRIVILEGE_HINT = 'run as root; in a container, grant CAP_BPF and allow bpf(2) (kernel lockdown forbids it too)';

function describeMap(spec: Omit<MapSpec, 'fd'>): string {
  const kind = Object.entries(BPFMapType).find(([, type]) => type === spec.type)?.[0] ?? `type ${spec.type}`;
  return `${kind}, key ${spec.keySize} bytes, leaf ${spec.leafSize} bytes, ${spec.maxEntries} entries`;
}

function pinError(name: string, where: string, error: unknown): unknown {
  const errno = isNativeError(error) ? error.errno : -((error as NodeJS.ErrnoException).errno ?? 0);
  if (error instanceof BCCError || errno === 0) return error;
  return new LoadError(`the table ${name} cannot be pinned at ${where}: ${errnoText(errno)}`, {
    code: 'ERR_BCC_PIN',
    errno,
    cause: error,
    hint: 'pinned paths lie on a BPF file system: mount -t bpf bpf /sys/fs/bpf',
  });
}
