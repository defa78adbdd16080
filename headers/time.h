/* Time: units, clocks, jiffies. Values: vdso/time64.h, uapi/linux/time.h. */
/* units */
#define MSEC_PER_SEC 1000
#define USEC_PER_MSEC 1000
#define NSEC_PER_USEC 1000
#define NSEC_PER_MSEC 0xf4240
#define USEC_PER_SEC 0xf4240
#define NSEC_PER_SEC 0x3b9aca00
#define FSEC_PER_SEC 0x38d7ea4c68000ULL

/* clocks */
#define ITIMER_REAL 0
#define ITIMER_VIRTUAL 1
#define ITIMER_PROF 2
#define CLOCK_REALTIME 0
#define CLOCK_MONOTONIC 1
#define CLOCK_PROCESS_CPUTIME_ID 2
#define CLOCK_THREAD_CPUTIME_ID 3
#define CLOCK_MONOTONIC_RAW 4
#define CLOCK_REALTIME_COARSE 5
#define CLOCK_MONOTONIC_COARSE 6
#define CLOCK_BOOTTIME 7
#define CLOCK_REALTIME_ALARM 8
#define CLOCK_BOOTTIME_ALARM 9
#define CLOCK_SGI_CYCLE 10
#define CLOCK_TAI 11
#define TIMER_ABSTIME 0x1

/* the tick: a matter of configuration */
#define HZ CONFIG_HZ
#define USER_HZ 100
#define jiffies_to_msecs(j) ((unsigned int)((j) * MSEC_PER_SEC / HZ))
#define jiffies_to_usecs(j) ((unsigned int)((j) * USEC_PER_SEC / HZ))
#define msecs_to_jiffies(ms) ((unsigned long)(((u64)(ms) * HZ + MSEC_PER_SEC - 1) / MSEC_PER_SEC))
#define TICK_NSEC ((NSEC_PER_SEC + HZ / 2) / HZ)
#define ktime_to_ns(time) ((s64)(time))
#define ktime_to_us(time) ((s64)(time) / NSEC_PER_USEC)
#define ktime_to_ms(time) ((s64)(time) / NSEC_PER_MSEC)
#define ns_to_ktime(ns) ((ktime_t)(ns))
#define timespec64_to_ns(ts) ((s64)(ts)->tv_sec * NSEC_PER_SEC + (ts)->tv_nsec)
