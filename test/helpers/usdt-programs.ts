import { compileC } from './c-program';

/*
 * Programs with USDT probes. Each answers lines on its standard input: `p N` passes the plain probe N times, `m N` the
 * two places of another, `s N` one that is guarded by a semaphore, `l N` one in a shared library. The answer is how often
 * a guarded probe was found armed.
 */

const LIBRARY = `
#include <sys/sdt.h>
void library_call(int n) { DTRACE_PROBE2(tsbcc_library, called, n, 2 * n); }
`;

/** The guarded probe is a file of its own: where semaphores are on, every probe of the file must have one. */
const GUARDED = `
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
unsigned short tsbcc_guarded_semaphore __attribute__((section(".probes"))) = 0;
int guarded_call(int n) {
  if (!__builtin_expect(*(volatile unsigned short *)&tsbcc_guarded_semaphore, 0)) return 0;
  DTRACE_PROBE1(tsbcc, guarded, n);
  return 1;
}
`;

const PROGRAM = `
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>
void library_call(int);
int guarded_call(int);
static volatile int64_t in_data = -5000000000;
struct point { uint8_t tag; int16_t x; };
static __attribute__((noinline)) void plain(int n, const char *text, struct point *point) {
  DTRACE_PROBE5(tsbcc, plain, n, text, in_data, point->x, -7);
}
static __attribute__((noinline)) void first(int n) { DTRACE_PROBE1(tsbcc, several, n); }
static __attribute__((noinline)) void second(int64_t a, int64_t n) { DTRACE_PROBE1(tsbcc, several, n); __asm__ volatile("" :: "r"(a)); }
int main(void) {
  char line[64];
  struct point point = {1, -300};
  /* Memory that the program itself has never touched cannot be read from BPF. */
  static const volatile char text[] = "hello";
  char touched = text[0];
  (void)touched;
  while (fgets(line, sizeof line, stdin)) {
    int armed = 0;
    int n = atoi(line + 1);
    for (int i = 0; i < n; i++) {
      if (line[0] == 'p') plain(i, (const char *)text, &point);
      if (line[0] == 'm') { first(i); second(i, 100 + i); }
      if (line[0] == 's') armed += guarded_call(i);
      if (line[0] == 'l') library_call(i);
    }
    printf("%d\\n", armed);
    fflush(stdout);
  }
  return 0;
}
`;

export interface UsdtPrograms {
  /** Position-independent and at fixed addresses. */
  pie: string;
  fixed: string;
  library: string;
}

export function buildUsdtPrograms(folder: string): UsdtPrograms {
  const library = compileC(folder, 'libusdt.so', LIBRARY, ['-shared', '-fPIC']);
  const build = (name: string, mode: string[]) => {
    const guarded = compileC(folder, `${name}-guarded.o`, GUARDED, [
      '-c',
      ...mode.filter((flag) => flag.startsWith('-f')),
    ]);
    return compileC(folder, name, PROGRAM, [...mode, guarded, library, `-Wl,-rpath,${folder}`]);
  };
  return { library, pie: build('usdt-pie', ['-fPIE', '-pie']), fixed: build('usdt-fixed', ['-fno-pie', '-no-pie']) };
}
