import { BCCError } from '../errors';
import { BTF_KINDS, type Btf } from './btf';

/*
 * Whether a reader that follows every reference without looking may be given a BTF blob. libbpf is such a reader: its
 * btf_dump takes offsets of names and numbers of types as they come, follows types that contain themselves until the
 * stack ends, divides by sizes, and writes out an anonymous struct wherever it is mentioned.
 */

/** How deep types may hold one another, where libbpf recurses. Linux 6.18's are 13 deep. */
const MAX_DEPTH = 256;
/** Visits to write out one type with all that it holds, and all types: Linux 6.18's take 7,920 and 1.6 million. */
const MAX_COST = 1 << 18;
const MAX_TOTAL_COST = 1 << 26;
/** Bytes of one struct; Linux 6.18's largest has 241,664. */
const MAX_STRUCT_SIZE = 1 << 26;

const INT_SIZES = [1, 2, 4, 8, 16];
const FLOAT_SIZES = [2, 4, 8, 12, 16];
const ENUM_SIZES = [1, 2, 4, 8];

/** What is known of a blob whose types have been looked at: split BTF builds on it. */
interface Verified {
  kinds: Uint8Array;
  named: Uint8Array;
  sized: Uint8Array;
  costs: Float64Array;
  strings: number;
}

const verified = new WeakMap<Btf, Verified>();

const KIND = Object.fromEntries(BTF_KINDS.map((kind, number) => [kind, number])) as Record<
  (typeof BTF_KINDS)[number],
  number
>;
const COMPOSITE = new Set([KIND.struct, KIND.union]);
/** What a value can be of; modifiers are as what they modify, and nothing else has a size (void, declarations). */
const SIZED = new Set([KIND.int, KIND.ptr, KIND.array, KIND.struct, KIND.union, KIND.enum, KIND.float, KIND.enum64]);
const MODIFIERS = new Set([KIND.typedef, KIND.volatile, KIND.const, KIND.restrict, KIND.type_tag]);
const YES = 1;
const NO = 2;
/** What no other type may hold or point at. */
const NO_TYPE = new Set([KIND.func, KIND.var, KIND.datasec, KIND.decl_tag]);

/**
 * Checks what `Btf` itself checks only when it is asked: every name and every reference, sizes, and that the whole can be
 * written out as C within bounds.
 * @throws BCCError `ERR_BCC_BTF`
 */
export function verifyBtf(types: Btf): void {
  look(types);
}

function look(types: Btf): Verified {
  const known = verified.get(types);
  if (known) return known;
  const base = types.base && look(types.base);
  const found = new Verifier(types, base).run();
  verified.set(types, found);
  return found;
}

class Verifier {
  readonly #view: DataView;
  readonly #firstId: number;
  readonly #count: number;
  readonly #strings: number;
  readonly #kinds: Uint8Array;
  readonly #named: Uint8Array;
  /** Whether a value can be of that type: 0 until it is asked, YES or NO. */
  readonly #sized: Uint8Array;
  readonly #costs: Float64Array;
  readonly #offsets: Uint32Array;

  constructor(types: Btf, base: Verified | undefined) {
    const { bytes } = types;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#count = types.typeCount;
    this.#firstId = types.base?.typeCount ?? 1;
    this.#strings = (base?.strings ?? 0) + this.#view.getUint32(20, true);
    const grown = <A extends Uint8Array | Float64Array>(array: A, from: A | undefined) => {
      if (from) array.set(from);
      return array;
    };
    this.#kinds = grown(new Uint8Array(this.#count), base?.kinds);
    this.#named = grown(new Uint8Array(this.#count), base?.named);
    this.#sized = grown(new Uint8Array(this.#count), base?.sized);
    this.#costs = grown(new Float64Array(this.#count), base?.costs);
    this.#offsets = types.ownOffsets;
  }

  run(): Verified {
    const header = this.#view;
    const typesEnd = header.getUint32(8, true) + header.getUint32(12, true);
    if (header.getUint32(8, true) % 4 !== 0) throw fault('its types are not aligned');
    if (header.getUint32(16, true) < typesEnd) throw fault('its strings lie within its types');
    if (this.#firstId === 1) {
      const start = header.getUint32(4, true) + header.getUint32(16, true);
      if (header.getUint32(20, true) === 0 || header.getUint8(start) !== 0)
        throw fault('its first string is not empty');
    }
    for (let id = this.#firstId; id < this.#count; id++) this.#kinds[id] = (this.#info(id) >>> 24) & 0x1f;
    for (let id = this.#firstId; id < this.#count; id++) this.#record(id);
    // All of them, asked for or not: types that build on these cannot look again.
    for (let id = this.#firstId; id < this.#count; id++) this.#isSized(id, 0);
    let total = 0;
    for (let id = this.#firstId; id < this.#count; id++) {
      total += this.#cost(id, []);
      if (total > MAX_TOTAL_COST) throw fault('its types are too large to be written out');
    }
    return { kinds: this.#kinds, named: this.#named, sized: this.#sized, costs: this.#costs, strings: this.#strings };
  }

  #at(id: number): number {
    return this.#offsets[id - this.#firstId]!;
  }

  #info(id: number): number {
    return this.#view.getUint32(this.#at(id) + 4, true);
  }

  #word(id: number, index: number): number {
    return this.#view.getUint32(this.#at(id) + 8 + 4 * index, true);
  }

  #name(id: number, offset: number): number {
    if (offset >= this.#strings) throw fault(`a name of type ${id} stands at ${offset}, beyond its strings`);
    return offset;
  }

  #reference(id: number, to: number): void {
    if (to >= this.#count) throw fault(`type ${id} refers to type ${to}, and ids end at ${this.#count - 1}`);
    if (NO_TYPE.has(this.#kinds[to]!)) throw fault(`type ${id} refers to type ${to}, a ${BTF_KINDS[this.#kinds[to]!]}`);
  }

  /** A member or an element, by whose size libbpf divides. */
  #value(id: number, to: number): void {
    this.#reference(id, to);
    if (!this.#isSized(to, 0)) throw fault(`type ${id} holds a value of type ${to}, which has no size`);
  }

  #isSized(id: number, depth: number): boolean {
    if (this.#sized[id] === 0) {
      if (depth > MAX_DEPTH) throw fault(`type ${id} refers to itself, or through more than ${MAX_DEPTH} others`);
      const kind = this.#kinds[id]!;
      const next = MODIFIERS.has(kind) ? this.#word(id, 0) : undefined;
      const sized = next === undefined ? SIZED.has(kind) : next < this.#count && this.#isSized(next, depth + 1);
      this.#sized[id] = sized ? YES : NO;
    }
    return this.#sized[id] === YES;
  }

  /** One record with what follows it: its names, its sizes, and that what it refers to is there. */
  #record(id: number): void {
    const kind = BTF_KINDS[this.#kinds[id]!]!;
    this.#named[id] = this.#name(id, this.#view.getUint32(this.#at(id), true)) === 0 ? 0 : 1;
    const word = this.#word(id, 0);
    const length = this.#info(id) & 0xffff;
    const entries = (words: number, check: (at: number) => void) => {
      for (let i = 0; i < length; i++) check(1 + i * words);
    };
    switch (kind) {
      case 'int':
        this.#size(id, word, INT_SIZES);
        break;
      case 'float':
        this.#size(id, word, FLOAT_SIZES);
        break;
      case 'enum':
      case 'enum64':
        this.#size(id, word, ENUM_SIZES);
        entries(kind === 'enum' ? 2 : 3, (at) => this.#name(id, this.#word(id, at)));
        break;
      case 'array':
        this.#value(id, this.#word(id, 1));
        this.#reference(id, this.#word(id, 2));
        break;
      case 'struct':
      case 'union': {
        if (word > MAX_STRUCT_SIZE) throw fault(`type ${id} claims ${word} bytes`);
        const flag = this.#info(id) >>> 31 === 1;
        entries(3, (at) => {
          this.#name(id, this.#word(id, at));
          this.#value(id, this.#word(id, at + 1));
          const offset = this.#word(id, at + 2);
          if ((flag ? offset & 0xffffff : offset) > word * 8) throw fault(`a member of type ${id} lies beyond its end`);
        });
        break;
      }
      case 'func_proto':
        this.#reference(id, word);
        entries(2, (at) => {
          this.#name(id, this.#word(id, at));
          this.#reference(id, this.#word(id, at + 1));
        });
        break;
      case 'func':
        if (word >= this.#count || this.#kinds[word] !== KIND.func_proto)
          throw fault(`function ${id} has no prototype`);
        break;
      case 'decl_tag':
        if (word >= this.#count) throw fault(`type ${id} refers to type ${word}, and ids end at ${this.#count - 1}`);
        break;
      case 'datasec':
        entries(3, (at) => {
          if (this.#word(id, at) >= this.#count) throw fault(`a variable of section ${id} is none`);
        });
        break;
      case 'fwd':
        break;
      default:
        this.#reference(id, word);
    }
  }

  #size(id: number, size: number, sizes: readonly number[]): void {
    if (!sizes.includes(size)) throw fault(`type ${id} (${BTF_KINDS[this.#kinds[id]!]}) has ${size} bytes`);
  }

  /** What a type is made of, where libbpf goes on from it; a pointer to a named struct is only declared. */
  #parts(id: number): number[] {
    const kind = this.#kinds[id]!;
    const length = this.#info(id) & 0xffff;
    if (COMPOSITE.has(kind)) return Array.from({ length }, (_, i) => this.#word(id, 2 + 3 * i));
    switch (BTF_KINDS[kind]) {
      case 'ptr': {
        const target = this.#behindModifiers(this.#word(id, 0));
        return COMPOSITE.has(this.#kinds[target]!) && this.#named[target] === 1 ? [] : [this.#word(id, 0)];
      }
      case 'typedef':
      case 'volatile':
      case 'const':
      case 'restrict':
      case 'type_tag':
      case 'func':
      case 'var':
        return [this.#word(id, 0)];
      case 'array':
        return [this.#word(id, 1)];
      case 'func_proto':
        return [this.#word(id, 0), ...Array.from({ length }, (_, i) => this.#word(id, 2 + 2 * i))];
      default:
        return [];
    }
  }

  #behindModifiers(id: number): number {
    for (let depth = 0; depth < MAX_DEPTH; depth++) {
      const kind = BTF_KINDS[this.#kinds[id]!];
      const through =
        kind === 'const' || kind === 'volatile' || kind === 'restrict' || kind === 'type_tag' || kind === 'typedef';
      if (!through || id < this.#firstId) return id;
      id = this.#word(id, 0);
    }
    throw fault(`type ${id} refers to itself, or through more than ${MAX_DEPTH} others`);
  }

  /** How many types are visited where this one is written out with all that it holds. */
  #cost(id: number, path: number[]): number {
    const known = this.#costs[id]!;
    if (id === 0 || id < this.#firstId || known > 0) return known || 1;
    if (known < 0) throw fault(`type ${id} contains itself`);
    if (path.length > MAX_DEPTH) throw fault(`type ${path[0]} holds others more than ${MAX_DEPTH} deep`);
    this.#costs[id] = -1;
    path.push(id);
    // Gaps between members are written out as well: a line for eight bytes, but seldom.
    let cost = COMPOSITE.has(this.#kinds[id]!) ? 1 + this.#word(id, 0) / 256 : 1;
    for (const part of this.#parts(id)) {
      cost += this.#cost(part, path);
      if (cost > MAX_COST) throw fault(`type ${id} is too large to be written out`);
    }
    path.pop();
    this.#costs[id] = cost;
    return cost;
  }
}

function fault(what: string): BCCError {
  return new BCCError('ERR_BCC_BTF', `the BTF cannot be used: ${what}`, {
    hint: 'the blob is damaged, or was not made by a compiler: read it again from /sys/kernel/btf',
  });
}
