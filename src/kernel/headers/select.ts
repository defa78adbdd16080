import { type Declared, isKeyword, replaceWords, words } from './scan';
import { type Mentions, memberName, mentions, type Unit } from './units';

/** Every unit that there is for one kernel, in C's order, to be looked up by name. */
export class Catalogue {
  readonly #byTag = new Map<string, Unit>();
  readonly #byName = new Map<string, Unit[]>();
  readonly #mentions = new Map<Unit, Mentions>();
  readonly #own: Set<Unit>;

  /**
   * `types` are BTF's units, `own` the supplied ones, `config` the kernel's CONFIG_ macros. A macro that the kernel has
   * as an enumerator is left out: the running kernel knows its value best.
   */
  constructor(
    readonly types: readonly Unit[],
    own: readonly Unit[],
    config: readonly Unit[],
  ) {
    for (const unit of types) this.#add(unit);
    const supplied = own.filter((unit) => {
      if (unit.requires && !this.#hasMember(...unit.requires)) return false;
      return unit.kind === 'struct' || unit.kind === 'union' || (unit.kind === 'enum' && unit.tag !== '')
        ? !this.#byTag.has(unit.tag)
        : !unit.names.some((name) => this.#byName.has(name) || (isAlias(unit) && this.#byTag.has(name)));
    });
    for (const unit of supplied) this.#add(unit);
    for (const unit of config) this.#add(unit);
    this.#own = new Set([...supplied, ...config]);
  }

  #add(unit: Unit): void {
    if (unit.tag !== '' && !this.#byTag.has(unit.tag)) this.#byTag.set(unit.tag, unit);
    for (const name of unit.names) {
      const others = this.#byName.get(name);
      if (others) others.push(unit);
      else this.#byName.set(name, [unit]);
    }
  }

  #hasMember(tag: string, member: string): boolean {
    const lines = this.#byTag.get(tag)?.text.split('\n') ?? [];
    return lines.some((line) => memberName(line) === member);
  }

  tag(name: string): Unit | undefined {
    return this.#byTag.get(name);
  }

  named(name: string): readonly Unit[] {
    return this.#byName.get(name) ?? [];
  }

  isOwn(unit: Unit): boolean {
    return this.#own.has(unit);
  }

  all(): Unit[] {
    return [...this.types, ...this.#own];
  }

  mentions(unit: Unit): Mentions {
    let found = this.#mentions.get(unit);
    if (!found) {
      found = mentions(unit);
      this.#mentions.set(unit, found);
    }
    return found;
  }
}

/** A macro without parameters: where it bears a tag's name (`sockaddr_storage`) it would rename the kernel's type. */
function isAlias(unit: Unit): boolean {
  return unit.kind === 'macro' && /^\s*#\s*define\s+\w+\s/.test(unit.text);
}

export interface Wanted {
  /** Words the program uses, and those that BCC's own text needs. */
  words: Iterable<string>;
  /** What the program declares itself. */
  declared: Declared;
  /** Whether a gate (a header's name) is open for this program. */
  open(gate: string): boolean;
  /** Names that are taken even where the program declares them, because BCC's own text comes before the program's. */
  base: ReadonlySet<string>;
  /** Take everything, whatever the words. */
  everything: boolean;
}

const KERNELS_OWN = '___kernel';

/**
 * The C text of what a program needs: each wanted unit with what it needs in turn. A pointer's target is needed only
 * where the program uses the member that points to it. What the program declares itself wins: the kernel's type of that
 * name is left out, or renamed where another type holds it by value.
 */
export function select(catalogue: Catalogue, wanted: Wanted): string {
  return new Selection(catalogue, wanted).run();
}

class Selection {
  readonly #chosen = new Set<Unit>();
  readonly #seen = new Set<string>();
  readonly #waiting = new Map<string, string[]>();
  readonly #renamedTags = new Set<string>();
  readonly #renamedNames = new Set<string>();
  readonly #queue: Unit[] = [];

  constructor(
    readonly catalogue: Catalogue,
    readonly wanted: Wanted,
  ) {}

  run(): string {
    for (const word of this.wanted.base) this.#word(word);
    for (const word of this.wanted.words) this.#word(word);
    if (this.wanted.everything) for (const unit of this.catalogue.all()) if (this.#mayTake(unit)) this.#choose(unit);
    for (let unit = this.#queue.pop(); unit; unit = this.#queue.pop()) this.#follow(unit);
    return this.#emit();
  }

  /** Not what the program declares, and not what its includes would not have shown it. */
  #mayTake(unit: Unit): boolean {
    const { declared, base, open } = this.wanted;
    if (unit.gate !== undefined && !open(unit.gate)) return false;
    if (unit.tag !== '' && declared.tags.has(unit.tag)) return false;
    return !unit.names.some(
      (name) =>
        !base.has(name) && (declared.ordinary.has(name) || (this.catalogue.isOwn(unit) && declared.macros.has(name))),
    );
  }

  #word(word: string): void {
    if (this.#seen.has(word)) return;
    this.#seen.add(word);
    const tagged = this.catalogue.tag(word);
    if (tagged && this.#mayTake(tagged)) this.#choose(tagged);
    for (const unit of this.catalogue.named(word)) if (this.#mayTake(unit)) this.#choose(unit);
    for (const tag of this.#waiting.get(word) ?? []) this.#pointed(tag);
    this.#waiting.delete(word);
  }

  #choose(unit: Unit): void {
    if (this.#chosen.has(unit)) return;
    this.#chosen.add(unit);
    this.#queue.push(unit);
  }

  #follow(unit: Unit): void {
    if (this.catalogue.isOwn(unit)) {
      for (const word of words(unit.text)) if (!isKeyword(word)) this.#word(word);
      return;
    }
    const { tags, words: others, pointers } = this.catalogue.mentions(unit);
    for (const tag of tags) this.#held(tag);
    for (const word of others) this.#typedef(word);
    for (const [member, tag] of pointers) {
      if (this.#seen.has(member)) this.#pointed(tag);
      else {
        const waiting = this.#waiting.get(member);
        if (waiting) waiting.push(tag);
        else this.#waiting.set(member, [tag]);
      }
    }
  }

  #pointed(tag: string): void {
    const unit = this.catalogue.tag(tag);
    if (unit && this.#mayTake(unit)) this.#choose(unit);
  }

  /** Held by value: needed whatever the program declares. */
  #held(tag: string): void {
    const unit = this.catalogue.tag(tag);
    if (!unit) return;
    if (this.wanted.declared.tags.has(tag)) this.#renamedTags.add(tag);
    this.#rename(unit);
    this.#choose(unit);
  }

  #typedef(word: string): void {
    for (const unit of this.catalogue.named(word)) {
      if (unit.kind !== 'typedef' || unit.names[0] !== word) continue;
      this.#rename(unit);
      this.#choose(unit);
    }
  }

  #rename(unit: Unit): void {
    for (const name of unit.names) {
      if (this.wanted.declared.ordinary.has(name) && !this.wanted.base.has(name)) this.#renamedNames.add(name);
    }
  }

  #emit(): string {
    const own: string[] = [];
    const config: string[] = [];
    const types: string[] = [];
    const forward = new Map<string, string>();
    for (const unit of [...this.#chosen].sort((a, b) => a.order - b.order)) {
      if (this.catalogue.isOwn(unit)) {
        (unit.kind === 'macro' && unit.names[0]!.startsWith('CONFIG_') ? config : own).push(unit.text);
        continue;
      }
      for (const [tag, keyword] of this.catalogue.mentions(unit).forward) forward.set(tag, keyword);
      if (unit.tag !== '' && unit.kind !== 'enum') forward.set(unit.tag, unit.kind);
      types.push(this.#text(unit));
    }
    const declarations = [...forward].map(([tag, keyword]) => `${keyword} ${tag};`);
    return [...config, ...declarations, ...types, ...own].join('\n') + '\n';
  }

  #text(unit: Unit): string {
    let text = unit.text;
    if (this.#renamedTags.size > 0) {
      text = text.replace(/\b(struct|union|enum)(\s+)(\w+)(?!\w)(?!\s*\*)/g, (whole, keyword, space, tag: string) =>
        this.#renamedTags.has(tag) ? `${keyword}${space}${tag}${KERNELS_OWN}` : whole,
      );
    }
    if (this.#renamedNames.size > 0) {
      text = text
        .split('\n')
        .map((line) =>
          replaceWords(line, (word) =>
            this.#renamedNames.has(word) && !isMember(line, word) ? word + KERNELS_OWN : word,
          ),
        )
        .join('\n');
    }
    return text;
  }
}

/** Whether a line of a struct declares a member of that name (and not a typedef or an enumerator). */
function isMember(line: string, name: string): boolean {
  return (
    line.startsWith('\t') &&
    new RegExp(`\\b${name}\\s*(?:\\[[^\\]]*\\]\\s*)*(?::\\s*\\d+)?;$|\\(\\*${name}\\)`).test(line)
  );
}
