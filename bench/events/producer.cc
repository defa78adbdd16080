// Causes events: reads lines "CALLS PER_SECOND" (0: as fast as it can), makes so many getppid() calls, answers "done".
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

static int64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000000000} + now.tv_nsec;
}

int main(int argc, char** argv) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(argc > 1 ? atoi(argv[1]) : 0, &cpus);
  sched_setaffinity(0, sizeof cpus, &cpus);
  setvbuf(stdout, nullptr, _IONBF, 0);
  printf("ready\n");

  long long calls, perSecond;
  while (scanf("%lld %lld", &calls, &perSecond) == 2) {
    const int64_t start = Now();
    for (long long i = 0; i < calls; i++) {
      if (perSecond > 0) {
        const int64_t due = start + i * 1000000000 / perSecond;
        const int64_t wait = due - Now();
        // Sleeping keeps the core free where calls are rare; it would miss the moment where they are not.
        if (wait > 1000000) {
          timespec pause = {wait / 1000000000, wait % 1000000000};
          nanosleep(&pause, nullptr);
        }
        while (Now() < due) {
        }
      }
      syscall(SYS_getppid);
    }
    printf("done %lld\n", static_cast<long long>(Now() - start));
  }
}
