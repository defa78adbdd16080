import { isKeyword, stripComments, words } from './scan';

/*
 * A unit is the smallest piece of C that can be taken or left: one type, one macro, one inline function. The kernel's
 * whole BTF is some 15,000 of them, of which a program needs a few hundred.
 */

export type UnitKind = 'struct' | 'union' | 'enum' | 'typedef' | 'macro' | 'function' | 'block';

export interface Unit {
  kind: UnitKind;
  /** Position among all units: C's order of declaration. */
  order: number;
  text: string;
  /** The tag of a struct, union or enum; '' where it has none. */
  tag: string;
  /** Names of the ordinary name space that it defines: typedef name, enumerators, macro and function names. */
  names: string[];
  /** Visible only to programs that include this header or one that leads to it; undefined for everybody. */
  gate?: string;
  /** There only where the kernel's struct of that tag has that member. */
  requires?: [tag: string, member: string];
}

/** What a unit of BTF mentions. */
export interface Mentions {
  /** Tags that must be complete before it. */
  tags: Set<string>;
  /** Other words that may be typedefs it needs. */
  words: Set<string>;
  /** [member, tag]: the tag's definition matters only to a program that uses the member. */
  pointers: [string, string][];
  /** Every struct and union tag mentioned, for forward declarations: tag → keyword. */
  forward: Map<string, 'struct' | 'union'>;
}

/**
 * Structs of packet headers that are declared packed although their members lie where they would lie anyway: BTF does not
 * tell, and where such a struct stands in another one, or is read from a packet, its alignment matters.
 */
const PACKED = new Set(
  (
    'ethhdr fddi_snap_hdr gre_base_hdr gre_full_hdr hippi_hdr hippi_snap_hdr hsr_tag ip6_mh ipv6_rpl_sr_hdr pppoe_hdr ' +
    'pppoe_tag pptp_gre_header usb_device_descriptor virtio_blk_config virtio_net_config virtio_vsock_event'
  ).split(' '),
);

/**
 * Ends runs of bitfields that would be longer than 64 bits. libbcc lays structs out for the host and generates code for
 * BPF, and the two differ in how an integer of more than 64 bits is aligned: clang makes one such integer of a whole run
 * (the `long: 64;` lines with which libbpf pads to a cache line are one, too), and every member after it would be read 8
 * or 16 bytes too far. `char: 0` begins a new run and, standing at a byte's boundary, moves nothing.
 */
function endLongRuns(text: string): string {
  if (!/:\s*\d+;$/m.test(text)) return text;
  const lines: string[] = [];
  let bits = 0;
  for (const line of text.split('\n')) {
    const padding = /^\t+(?:char: 8|short: 16|int: 32|long: 64);$/.test(line);
    const bytewise = /^\t+(?:__)?(?:u8|s8|bool|unsigned char|char) \w+: (\d);$/.exec(line);
    if (bytewise) {
      const width = Number(bytewise[1]);
      // a bitfield of a byte's type does not reach over a byte's end
      if ((bits % 8) + width > 8) bits += 8 - (bits % 8);
      if (bits === 64) lines.push(RUN_END);
      bits = (bits % 64) + width;
    } else {
      bits = 0;
    }
    lines.push(line);
    if (padding) lines.push(RUN_END);
  }
  return lines.join('\n');
}
const RUN_END = '\tchar: 0;';

/** Members that the kernel renamed, and as programs written before know them: Linux 5.14, 6.14, 6.15. */
const RENAMED: Readonly<Record<string, [now: string, before: string]>> = {
  task_struct: ['unsigned int __state;', 'unsigned int state;'],
  dentry: ['union shortname_store d_shortname;', 'unsigned char d_iname[sizeof(union shortname_store)];'],
  kernfs_node: ['struct kernfs_node *__parent;', 'struct kernfs_node *parent;'],
};

/** Gives renamed members their former name as well, in the same place. */
function keepFormerName(text: string, kind: UnitKind, tag: string): string {
  if (kind !== 'struct' || !Object.hasOwn(RENAMED, tag)) return text;
  const [now, before] = RENAMED[tag]!;
  return text.replace(`\n\t${now}\n`, `\n\tunion {\n\t\t${now}\n\t\t${before}\n\t};\n`);
}

/** Splits libbpf's C dump of a BTF blob into units, mended for libbcc. Forward declarations are made again where needed. */
export function splitBtfDump(dump: string): Unit[] {
  return splitTypes(dump, (text, kind, tag) => {
    const plain = text.replace(/ ?__attribute__\(\((?:btf_type_tag\("[^"]*"\)|preserve_access_index)\)\)/g, '');
    const packed = kind === 'struct' && PACKED.has(tag) && plain.endsWith('\n};');
    const named = keepFormerName(plain, kind, tag);
    return endLongRuns(packed ? `${named.slice(0, -1)} __attribute__((packed));` : named);
  });
}

/** The units again, from their texts joined by empty lines. */
export function readUnits(text: string): Unit[] {
  return splitTypes(text, (unit) => unit);
}

function splitTypes(dump: string, mend: (text: string, kind: UnitKind, tag: string) => string): Unit[] {
  const units: Unit[] = [];
  for (const chunk of dump.split('\n\n')) {
    const whole = chunk.trim();
    if (!whole.endsWith(';')) continue;
    const head = /^(struct|union|enum|typedef) (\w*)/.exec(whole);
    if (!head) continue;
    const kind = head[1] as UnitKind;
    const isForward = whole.length === head[0].length + 1;
    if (isForward && (kind === 'struct' || kind === 'union')) continue;
    const text = mend(whole, kind, head[2]!);
    const unit: Unit = { kind, order: units.length, text, tag: kind === 'typedef' ? '' : head[2]!, names: [] };
    if (kind === 'typedef') unit.names.push(typedefName(text));
    if (text.includes('enum ') && text.includes(' = ')) {
      for (const body of text.matchAll(/\benum\b[^{;]*\{([^}]*)\}/g)) {
        for (const item of body[1]!.matchAll(/(\w+) =/g)) unit.names.push(item[1]!);
      }
    }
    units.push(unit);
  }
  return units;
}

function typedefName(text: string): string {
  return declaratorName(text.slice(text.lastIndexOf('}') + 1)) ?? '';
}

/** `(*name)(…)`, `name(…)`, `name[2]`, `name : 3`, `name`: the name that one declaration declares. */
function declaratorName(declaration: string): string | undefined {
  const pointer = /\(\s*\*+\s*(?:const\s+)?(\w+)\s*[)([]/.exec(declaration);
  if (pointer) return pointer[1];
  const called = /(\w+)\s*\([^()]*(?:\([^()]*\)[^()]*)*\)\s*;$/.exec(declaration);
  return called?.[1] ?? /(\w+)\s*(?:\[[^\]]*\]\s*)*(?::\s*\d+\s*)?;$/.exec(declaration)?.[1];
}

/** What one unit of BTF needs: unconditionally what it holds by value, by member what it points to. */
export function mentions(unit: Unit): Mentions {
  const found: Mentions = { tags: new Set(), words: new Set(), pointers: [], forward: new Map() };
  if (unit.kind === 'enum') return found;
  for (const line of unit.text.split('\n')) {
    const member = memberName(line) ?? unit.names[0] ?? '';
    let rest = line;
    for (const match of line.matchAll(/\b(struct|union|enum)\s+(\w+)\s*(\*|\{|;)?/g)) {
      const [whole, keyword, tag, next] = match as unknown as [string, string, string, string | undefined];
      rest = rest.replace(whole, ' ');
      if (next === '{') continue;
      if (keyword !== 'enum') found.forward.set(tag, keyword as 'struct' | 'union');
      if (next === '*' && keyword !== 'enum') found.pointers.push([member, tag]);
      else found.tags.add(tag);
    }
    for (const word of words(rest)) if (word !== member && !isKeyword(word)) found.words.add(word);
  }
  found.tags.delete(unit.tag);
  return found;
}

/** The name declared by one line of libbpf's dump, undefined where the line declares none. */
export function memberName(line: string): string | undefined {
  return line.endsWith(';') ? declaratorName(line) : undefined;
}

/**
 * Splits one of our own header files into units. `#pragma tsbcc visible_with <header>` gates what follows it, until
 * `visible_with all`; `#pragma tsbcc requires <tag>.<member>` makes it depend on the kernel, until `requires nothing`.
 */
export function splitOwnHeader(text: string, file: string, order = 0): Unit[] {
  const units: Unit[] = [];
  const lines = stripComments(text, true).replace(/\\\n/g, '\u0001').split('\n');
  let gate: string | undefined;
  let requires: [string, string] | undefined;
  let pending = '';
  const push = (kind: UnitKind, unitText: string, tag: string, names: string[]) => {
    units.push({
      kind,
      order: order++,
      text: unitText.replace(/\u0001/g, '\\\n'),
      tag,
      names,
      ...(gate && { gate }),
      ...(requires && { requires }),
    });
  };
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]!;
    const directive = pending === '' ? /^\s*#\s*(\w+)\s*(.*)$/.exec(line) : null;
    if (directive) {
      const [, word, rest] = directive as unknown as [string, string, string];
      if (word === 'pragma') {
        const target = /^tsbcc\s+visible_with\s+(\S+)/.exec(rest)?.[1];
        if (target !== undefined) gate = target === 'all' ? undefined : target;
        const member = /^tsbcc\s+requires\s+(\w+)(?:\.(\w+))?/.exec(rest);
        if (member) requires = member[2] === undefined ? undefined : [member[1]!, member[2]];
      } else if (word === 'define') {
        push('macro', line, '', [/^\w+/.exec(rest)![0]]);
      } else if (word.startsWith('if')) {
        const start = i;
        for (let depth = 1; depth > 0; ) {
          i++;
          if (i >= lines.length) throw new Error(`${file}: #if without #endif`);
          if (/^\s*#\s*if/.test(lines[i]!)) depth++;
          else if (/^\s*#\s*endif/.test(lines[i]!)) depth--;
        }
        const block = lines.slice(start, i + 1).join('\n');
        const names = [...block.matchAll(/^\s*#\s*define\s+(\w+)|^static .*?(\w+)\(/gm)].map((m) => (m[1] ?? m[2])!);
        push('block', block, '', [...new Set(names)]);
      }
      continue;
    }
    if (pending === '' && line.trim() === '') continue;
    pending += (pending && '\n') + line;
    const depth = (pending.match(/\{/g)?.length ?? 0) - (pending.match(/\}/g)?.length ?? 0);
    if (depth > 0 || !/[;}]\s*$/.test(pending)) continue;
    const head = /^(struct|union|enum|typedef|static)\b\s*(\w*)/.exec(pending);
    if (!head) throw new Error(`${file}: not understood: ${pending}`);
    if (head[1] === 'static')
      push('function', pending, '', [/(\w+)\s*\(/.exec(pending.replace(/__attribute__\(\(.*?\)\)/, ''))![1]!]);
    else if (head[1] === 'typedef') push('typedef', pending, '', [typedefName(pending)]);
    else push(head[1] as UnitKind, pending, head[2]!, enumerators(pending));
    pending = '';
  }
  if (pending.trim() !== '') throw new Error(`${file}: ends within ${pending.slice(0, 60)}`);
  return units;
}

function enumerators(text: string): string[] {
  const body = /^enum\b[^{]*\{([^}]*)\}/.exec(text)?.[1];
  if (body === undefined) return [];
  return body.split(',').flatMap((item) => /^\s*(\w+)/.exec(item)?.[1] ?? []);
}
