import type { HeadersContext, HeadersOption } from '../../src/kernel/headers';
import { obtainProgram } from '../../src/program/cache';
import type { CompiledProgram } from '../../src/program/compiled';

/** Compiles without loading; what was compiled before comes from the cache. */
export async function compileText(
  text: string,
  headers: HeadersOption,
  { kernel, cflags = [] }: { kernel?: HeadersContext; cflags?: string[] } = {},
): Promise<CompiledProgram> {
  const request = {
    text,
    prelude: '',
    cflags,
    debug: 0,
    allowRlimit: true,
    device: undefined,
    headers,
    kernel,
    countLost: false,
  };
  return (await obtainProgram(request, true)).program;
}
