/* arm64: pages and addresses. The page size is the configuration's choice. */
#if defined(CONFIG_ARM64_64K_PAGES)
#define PAGE_SHIFT 16
#elif defined(CONFIG_ARM64_16K_PAGES)
#define PAGE_SHIFT 14
#else
#define PAGE_SHIFT 12
#endif
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))

/* open flags that differ between architectures; arch/arm64/include/uapi/asm/fcntl.h */
#define O_DIRECTORY 040000
#define O_NOFOLLOW 0100000
#define O_DIRECT 0200000
#define O_LARGEFILE 0400000
#define __O_TMPFILE 020000000
#define O_TMPFILE (__O_TMPFILE | O_DIRECTORY)

/* where the kernel's addresses begin */
#define PAGE_OFFSET (-(1UL << CONFIG_ARM64_VA_BITS))
