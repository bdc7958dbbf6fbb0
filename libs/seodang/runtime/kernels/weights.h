/* Vectors of the machine's own width, and weights of each form as vectors of float32.
 *
 * int8 rows have a scale each, with which a finished sum is multiplied. int4 lies in tiles of TILE rows and GROUP inputs,
 * the tiles of a row side by side: so that a vector holds one input's weights for many outputs, and what a group of
 * inputs has in common is read once for all of it. A tile is GROUP / 8 times TILE words, each the codes of eight inputs of
 * one row, the first in the lowest bits; apart from them lie its bfloat16 bounds: the rows' steps from code to code, then
 * their minima, which is what code 0 stands for.
 */

#include <stdint.h>
#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#ifdef __AVX512F__
enum { LANES = 16, ROWS = 4, TOKENS = 8 };
#else
enum { LANES = 8, ROWS = 2, TOKENS = 4 }; /* a tile's sums fit into 16 registers */
#endif
enum { F32 = 0, BF16 = 1, I8 = 2, I4 = 3 };
enum { TILE = 16, GROUP = 32 };

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

typedef float floats __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint32_t words __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint16_t halves __attribute__((vector_size(LANES * 2), aligned(2), may_alias));
typedef int8_t bytes __attribute__((vector_size(LANES), aligned(1), may_alias));
typedef int16_t shorts __attribute__((vector_size(LANES * 2), aligned(2), may_alias));
typedef int32_t ints __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

INLINE long least(long a, long b) { return a < b ? a : b; }

INLINE long round_up(long count, long step) { return (count + step - 1) / step * step; }

/* LANES of 16 bits, and of 8 with their sign, as 32. gcc 12 makes a chain of shuffles of its own conversions. */
#if defined(__AVX512F__)
INLINE words widen16(const void *p) { return (words)_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)); }
INLINE ints widen8(const void *p) { return (ints)_mm512_cvtepi8_epi32(_mm_loadu_si128(p)); }
#elif defined(__AVX2__)
INLINE words widen16(const void *p) { return (words)_mm256_cvtepu16_epi32(_mm_loadu_si128(p)); }
INLINE ints widen8(const void *p) { return (ints)_mm256_cvtepi8_epi32(_mm_loadl_epi64(p)); }
#else
INLINE words widen16(const void *p) { return __builtin_convertvector(*(const halves *)p, words); }
INLINE ints widen8(const void *p) {
    return __builtin_convertvector(__builtin_convertvector(*(const bytes *)p, shorts), ints);
}
#endif

/* The lowest four bits of each lane, as a number. */
#ifdef __AVX512F__
INLINE floats lowest4(words codes) {
    const floats numbers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return (floats)_mm512_permutexvar_ps((__m512i)codes, (__m512)numbers); /* one step: it heeds no other bits */
}
#else
INLINE floats lowest4(words codes) { return __builtin_convertvector((ints)(codes & 15), floats); }
#endif

/* LANES weights from the given one on, and one weight. Inlined with a constant type, no test remains. */
INLINE floats load(const void *w, long at, int type) {
    if (type == F32) return *(const floats *)((const float *)w + at);
    if (type == I8) return __builtin_convertvector(widen8((const int8_t *)w + at), floats);
    return (floats)(widen16((const uint16_t *)w + at) << 16);
}

INLINE float load_one(const void *w, long at, int type) {
    if (type == F32) return ((const float *)w)[at];
    if (type == I8) return ((const int8_t *)w)[at];
    uint32_t bits = (uint32_t)((const uint16_t *)w)[at] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* So many numbers, fewer than LANES, and zeros. */
static __attribute__((noinline)) floats load_few(const void *w, long at, long count, int type) {
    float few[LANES] = {0};
    for (long i = 0; i < count; i++) few[i] = load_one(w, at + i, type);
    return load(few, 0, F32);
}

INLINE const void *skip(const void *w, long count, int type) {
    return (const char *)w + count * (type == F32 ? 4 : type == BF16 ? 2 : 1);
}

/* The e-th of many matrices [N, K], and its scales or bounds. */
INLINE const void *matrix(const void *w, long e, long N, long K, int type) {
    if (type == I4) return (const char *)w + e * round_up(N, TILE) * round_up(K, GROUP) / 2;
    return skip(w, e * N * K, type);
}

INLINE const void *scales_of(const void *scales, long e, long N, long K, int type) {
    if (type == I4) return (const uint16_t *)scales + e * round_up(N, TILE) * round_up(K, GROUP) / GROUP * 2;
    return type == I8 ? (const float *)scales + e * N : NULL;
}

/* exp of what is not above 0, to two units in the last place (Cephes' polynomial); 0 below -87. */
INLINE floats exp_below(floats x) {
    const floats none = {0};
    ints whole = __builtin_convertvector(x * 1.44269504f - 0.5f, ints); /* towards 0, so the nearest */
    floats n = __builtin_convertvector(whole, floats), r = x - n * 0.693359375f + n * 2.12194440e-4f;
    floats y = none + 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    return (floats)((words)((ints)y + (whole << 23)) & (words)(x > none - 87.0f));
}
