import type { CodecOptions } from './codec';
import { isAnonymous, isByte, isChar, memberNames } from './explain';
import type { EnumLayout, FieldLayout, Layout, StructLayout } from './layout';

/**
 * The TypeScript of what a codec decodes a layout into, as `tsbcc types` prints it: an interface for a struct or union,
 * an alias for everything else. C's types stand in comments.
 */
export function typescriptOf(layout: Layout, name: string, options: CodecOptions = {}): string {
  const writer = new Writer(options.int64 ?? 'bigint');
  const own = identifier(name);
  if ((layout.kind === 'struct' || layout.kind === 'union') && memberNames(layout).length > 0) {
    return `export interface ${own} ${writer.members(layout, '')}\n`;
  }
  const comment = describe(layout);
  return `${comment === '' ? '' : `/** ${comment} */\n`}export type ${own} = ${writer.type(layout, '')};\n`;
}

class Writer {
  constructor(readonly int64: 'bigint' | 'number') {}

  type(layout: Layout, indent: string): string {
    switch (layout.kind) {
      case 'int':
      case 'enum':
        return this.#integer(layout.size * 8);
      case 'pointer':
        return 'bigint';
      case 'float':
        return 'number';
      case 'bool':
        return 'boolean';
      case 'array': {
        if (isChar(layout.element)) return 'string';
        if (isByte(layout.element)) return 'Uint8Array';
        return `${this.type(layout.element, indent)}[]`;
      }
      case 'struct':
      case 'union':
        return this.members(layout, indent);
      case 'custom':
        return 'unknown';
    }
  }

  members(layout: StructLayout, indent: string): string {
    const lines = this.#lines(layout, `${indent}  `);
    return lines.length === 0 ? 'Record<string, never>' : `{\n${lines.join('\n')}\n${indent}}`;
  }

  #lines(layout: StructLayout, indent: string): string[] {
    return layout.fields.flatMap((field) => {
      if (isAnonymous(field)) return this.#lines(field.type as StructLayout, indent);
      if (field.name === '') return [];
      const { bits, type } = field;
      const text = bits !== undefined && type.kind !== 'bool' ? this.#integer(bits.width) : this.type(type, indent);
      const comment = describeField(field);
      return [...(comment === '' ? [] : [`${indent}/** ${comment} */`]), `${indent}${property(field.name)}: ${text};`];
    });
  }

  #integer(bits: number): string {
    return bits <= 32 || (bits <= 64 && this.int64 === 'number') ? 'number' : 'bigint';
  }
}

function describeField({ type, bits }: FieldLayout): string {
  const text = describe(type);
  return bits === undefined ? text : `${text === '' ? type.kind : text} : ${bits.width}`;
}

/** C's words for a type, and an enum's names. */
function describe(layout: Layout): string {
  switch (layout.kind) {
    case 'array': {
      let element: Layout = layout;
      let dimensions = '';
      for (
        ;
        element.kind === 'array' && (element === layout || element.name === undefined);
        element = element.element
      ) {
        dimensions += `[${element.length === 0 ? '' : element.length}]`;
      }
      return comment(layout.name ?? `${describe(element)}${dimensions}`);
    }
    case 'struct':
    case 'union':
      return comment(layout.name ?? '');
    case 'enum':
      return describeEnum(layout);
    case 'int':
      return comment(layout.name ?? `${layout.signed ? 's' : 'u'}${layout.size * 8}`);
    default:
      return comment(layout.name ?? layout.kind);
  }
}

function describeEnum({ name, values }: EnumLayout): string {
  const names = Object.entries(values).map(([key, value]) => `${key} = ${value}`);
  return comment(`enum ${name ?? ''}`.trim() + (names.length > 0 ? `: ${names.join(', ')}` : ''));
}

/** Names from BTF may be anything; a comment must not end early, nor spread over lines. */
function comment(text: string): string {
  return text.replace(/\*\//g, '* /').replace(/\s+/g, ' ');
}

function property(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
}

function identifier(name: string): string {
  const text = name.replace(/[^\w$]+/g, '_');
  return /^[A-Za-z_$]/.test(text) ? text : `_${text}`;
}
