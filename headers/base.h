/* The words that kernel code is written in: compiler attributes, pointers to containers, single reads. */
#define NULL ((void *)0)
#define offsetof(type, member) __builtin_offsetof(type, member)
#define offsetofend(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))
#define sizeof_field(type, member) sizeof(((type *)0)->member)
#define FIELD_SIZEOF(type, member) sizeof(((type *)0)->member)
#define typeof_member(type, member) typeof(((type *)0)->member)
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define container_of_const(ptr, type, member) container_of(ptr, type, member)
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))
#define barrier() __asm__ __volatile__("" : : : "memory")
#define barrier_var(variable) __asm__ __volatile__("" : "+r"(variable))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define __always_inline inline __attribute__((__always_inline__))
#define __inline__ inline
#define noinline __attribute__((__noinline__))
#define __noinline __attribute__((__noinline__))
#define __packed __attribute__((__packed__))
#define __aligned(x) __attribute__((__aligned__(x)))
#define __maybe_unused __attribute__((__unused__))
#define __always_unused __attribute__((__unused__))
#define __used __attribute__((__used__))
#define __weak __attribute__((__weak__))
#define __must_check
#define __section(name) __attribute__((__section__(name)))
#define fallthrough do {} while (0)
#define __user
#define __kernel
#define __iomem
#define __percpu
#define __rcu
#define __force
#define __bitwise
#define __init
#define __exit
#define __read_mostly
#define ____cacheline_aligned
#define BUILD_BUG_ON(condition) _Static_assert(!(condition), "BUILD_BUG_ON: " #condition)
#define static_assert(expression, ...) _Static_assert(expression, #expression)
#define rcu_dereference(pointer) READ_ONCE(pointer)
#define rcu_dereference_raw(pointer) READ_ONCE(pointer)
#define rcu_access_pointer(pointer) READ_ONCE(pointer)
#define __stringify_1(x...) #x
#define __stringify(x...) __stringify_1(x)
#define __CONCAT(a, b) a##b

/* Whether an option is on: built in, a module, either. A macro that is 1 shifts a 1 into the second place. One piece: names are pasted together. */
#if 1
#define TSBCC_SHIFT_1 0,
#define TSBCC_SECOND(first, second, ...) second
#define TSBCC_IS_1_(shifted) TSBCC_SECOND(shifted 1, 0)
#define TSBCC_IS_1(value) TSBCC_IS_1_(TSBCC_SHIFT_##value)
#define TSBCC_IS_ON(option) TSBCC_IS_1(option)
#define IS_BUILTIN(option) TSBCC_IS_ON(option)
#define IS_MODULE(option) TSBCC_IS_ON(option##_MODULE)
#define IS_ENABLED(option) (IS_BUILTIN(option) || IS_MODULE(option))
#define IS_REACHABLE(option) IS_ENABLED(option)
#endif

/* a type that is a macro: linux/types.h */
#define pgoff_t unsigned long
