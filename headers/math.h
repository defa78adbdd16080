/* Bits, powers of two, smallest and largest. */
#define BITS_PER_BYTE 8
#define BITS_PER_LONG 64
#define BITS_PER_LONG_LONG 64
#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define _BITUL(n) (1UL << (n))
#define _BITULL(n) (1ULL << (n))
#define BIT_MASK(n) (1UL << ((n) % BITS_PER_LONG))
#define BIT_WORD(n) ((n) / BITS_PER_LONG)
#define BITS_TO_LONGS(n) DIV_ROUND_UP(n, BITS_PER_LONG)
#define GENMASK(high, low) ((~0UL << (low)) & (~0UL >> (BITS_PER_LONG - 1 - (high))))
#define GENMASK_ULL(high, low) ((~0ULL << (low)) & (~0ULL >> (63 - (high))))
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define DIV_ROUND_CLOSEST(n, d) (((n) + (d) / 2) / (d))
#define ALIGN(x, a) (((x) + ((typeof(x))(a) - 1)) & ~((typeof(x))(a) - 1))
#define ALIGN_DOWN(x, a) ((x) & ~((typeof(x))(a) - 1))
#define IS_ALIGNED(x, a) (((x) & ((typeof(x))(a) - 1)) == 0)
#define round_up(x, y) ((((x) - 1) | ((typeof(x))(y) - 1)) + 1)
#define round_down(x, y) ((x) & ~((typeof(x))(y) - 1))
#define roundup(x, y) ((((x) + (y) - 1) / (y)) * (y))
#define is_power_of_2(n) ((n) != 0 && ((n) & ((n) - 1)) == 0)
/* constant where n is one: BPF_STACK_TRACE sizes a map with it */
#define ilog2(n) ((n) < 2 ? 0 : 63 - __builtin_clzll(n))
#define roundup_pow_of_two(n) ((n) <= 1 ? 1UL : 1UL << (64 - __builtin_clzll((n) - 1)))
#define rounddown_pow_of_two(n) (1UL << ilog2(n))
#define min(a, b) ({ typeof(a) _tsbcc_a = (a); typeof(b) _tsbcc_b = (b); _tsbcc_a < _tsbcc_b ? _tsbcc_a : _tsbcc_b; })
#define max(a, b) ({ typeof(a) _tsbcc_a = (a); typeof(b) _tsbcc_b = (b); _tsbcc_a > _tsbcc_b ? _tsbcc_a : _tsbcc_b; })
#define min_t(type, a, b) ({ type _tsbcc_a = (a); type _tsbcc_b = (b); _tsbcc_a < _tsbcc_b ? _tsbcc_a : _tsbcc_b; })
#define max_t(type, a, b) ({ type _tsbcc_a = (a); type _tsbcc_b = (b); _tsbcc_a > _tsbcc_b ? _tsbcc_a : _tsbcc_b; })
#define clamp(value, low, high) min((typeof(value))max(value, low), high)
#define clamp_t(type, value, low, high) min_t(type, max_t(type, value, low), high)
#define abs(x) __builtin_llabs(x)
#define swap(a, b) do { typeof(a) _tsbcc_t = (a); (a) = (b); (b) = _tsbcc_t; } while (0)
#define upper_32_bits(n) ((u32)(((n) >> 16) >> 16))
#define lower_32_bits(n) ((u32)((n) & 0xffffffff))
#define fls64(x) ((x) ? 64 - __builtin_clzll(x) : 0)
#define fls(x) ((x) ? 32 - __builtin_clz(x) : 0)
#define do_div(n, divisor) ({ u32 _tsbcc_r = (n) % (divisor); (n) /= (divisor); _tsbcc_r; })
#define div_u64(n, divisor) ((u64)(n) / (u32)(divisor))
#define div64_u64(n, divisor) ((u64)(n) / (u64)(divisor))
#define U8_MAX 0xff
#define S8_MAX 0x7f
#define U16_MAX 0xffff
#define S16_MAX 0x7fff
#define U32_MAX 0xffffffffU
#define S32_MAX 0x7fffffff
#define S32_MIN (-S32_MAX - 1)
#define U64_MAX 0xffffffffffffffffULL
#define S64_MAX 0x7fffffffffffffffLL
#define S64_MIN (-S64_MAX - 1)
#define INT_MAX 0x7fffffff
#define INT_MIN (-INT_MAX - 1)
#define UINT_MAX 0xffffffffU
#define LONG_MAX 0x7fffffffffffffffL
#define LONG_MIN (-LONG_MAX - 1)
#define ULONG_MAX 0xffffffffffffffffUL
#define LLONG_MAX 0x7fffffffffffffffLL
#define ULLONG_MAX 0xffffffffffffffffULL
#define USHRT_MAX 0xffff
#define SHRT_MAX 0x7fff
#define CHAR_BIT 8
#define SIZE_MAX 0xffffffffffffffffUL
