/* Products of bfloat16 numbers by AMX tiles, summed in float32: so much arithmetic that a hundred tokens still wait for
 * the weights and not for their own sums. Weights are bfloat16 rows as they are, or int8, which bfloat16 holds exactly.
 * Inputs are rounded and packed first: SIDE tokens together, and of them one pair of inputs after the other. A token's
 * sum runs in the same order in any company.
 */

enum { SIDE = 16, STEP = 32 }; /* of a tile: rows or tokens, and inputs */

/* What SIDE tokens are packed as: pairs of numbers. */
INLINE long packed_pairs(long K) { return round_up(K, STEP) / 2 * SIDE; }

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__AVX512BW__)
#include <sys/syscall.h>
#include <unistd.h>

/* Linux lends tiles to a process that asks. */
static int has_tiles(void) {
    enum { ASK_FOR_STATE = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) == 0;
}

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} __attribute__((aligned(64))) TileShapes;

/* SIDE tokens from t on, or those that are left: the room of others stays as it is, and meets nobody else's sums. */
static void pack(uint32_t *packed, const Product *p, long t) {
    const __m512i places = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i apart = _mm512_mullo_epi32(places, _mm512_set1_epi32(SIDE));
    uint32_t *into = packed + t / SIDE * packed_pairs(p->K);
    for (long k = 0; k < p->K; k += STEP, into += STEP / 2 * SIDE) {
        long low = least(p->K - k, 16), high = least(p->K - k - low, 16);
        __mmask16 lower = (__mmask16)((1u << low) - 1), upper = (__mmask16)((1u << high) - 1);
        for (long i = 0; i < least(SIDE, p->T - t); i++) {
            const float *from = p->x + (p->source ? p->source[t + i] : t + i) * p->x_stride + k;
            __m512 first = _mm512_maskz_loadu_ps(lower, from), second = _mm512_maskz_loadu_ps(upper, from + 16);
            _mm512_i32scatter_epi32(into + i, apart, (__m512i)_mm512_cvtne2ps_pbh(second, first), 4);
        }
    }
}

/* `count` <= STEP weights, and zeros behind them. */
INLINE void copy_step(uint16_t *into, const void *from, long count, int type) {
    __mmask32 there = count == STEP ? ~0u : (1u << count) - 1;
    if (type == BF16) {
        _mm512_storeu_si512(into, _mm512_maskz_loadu_epi16(there, from));
        return;
    }
    __m256i eights = _mm256_maskz_loadu_epi8(there, from);
    __m512 first = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(eights)));
    __m512 second = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(eights, 1)));
    _mm512_storeu_si512(into, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}

/* SIDE rows by STEP weights: where they lie, or a copy if they are not bfloat16 or not all there. */
INLINE const void *weights_tile(const Product *p, uint16_t *copy, long n, long N, long k, long *stride) {
    if (p->type == BF16 && n + SIDE <= N && k + STEP <= p->K) {
        *stride = p->w_stride * 2;
        return (const uint16_t *)p->w + n * p->w_stride + k;
    }
    *stride = STEP * 2;
    for (long r = 0; r < least(SIDE, N - n); r++)
        copy_step(copy + r * STEP, skip(p->w, (n + r) * p->w_stride + k, p->type), least(STEP, p->K - k), p->type);
    __asm__ volatile("" ::"r"(copy) : "memory"); /* gcc does not know that a tile is read from memory */
    return copy;
}

/* Sums [row][token] to where they belong. */
INLINE void put(const Product *p, const float *sums, long t, long n, long N) {
    long tokens = least(SIDE, p->T - t), rows = least(SIDE, N - n);
    for (long i = 0; i < tokens; i++)
        for (long r = 0; r < rows; r++)
            p->y[(t + i) * p->y_stride + n + r] =
                sums[r * SIDE + i] * (p->type == I8 ? ((const float *)p->scales)[n + r] : 1.0f);
}

/* The compiler must know a tile's number. */
#define STORE(tile, t, n)                   \
    do {                                    \
        float sums[SIDE * SIDE];            \
        _tile_stored(tile, sums, SIDE * 4); \
        put(p, sums, t, n, N);              \
    } while (0)

/* One or two times SIDE rows of N by as many tokens. The rows behind these are fetched meanwhile. */
INLINE void tiles(const Product *p, const uint32_t *packed, long t, long n, long N, const int two_rows,
                  const int two_blocks) {
    uint16_t copy[2][SIDE * STEP];
    const uint32_t *x = packed + t / SIDE * packed_pairs(p->K);
    const char *line = skip(p->w, (n + 2 * SIDE) * p->w_stride, p->type), *end = skip(p->w, N * p->w_stride, p->type);
    long stride, ahead = (two_rows + 1) * SIDE * STEP * (p->type == BF16 ? 2 : 1);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (long k = 0; k < p->K; k += STEP) {
        for (const char *stop = line + ahead; line < stop; line += 64)
            if (line < end) _mm_prefetch(line, _MM_HINT_T1);
        _tile_loadd(6, x + k / 2 * SIDE, SIDE * 4);
        if (two_blocks) _tile_loadd(7, x + packed_pairs(p->K) + k / 2 * SIDE, SIDE * 4);
        const void *w = weights_tile(p, copy[0], n, N, k, &stride);
        _tile_loadd(4, w, stride);
        _tile_dpbf16ps(0, 4, 6);
        if (two_blocks) _tile_dpbf16ps(1, 4, 7);
        if (!two_rows) continue;
        w = weights_tile(p, copy[1], n + SIDE, N, k, &stride);
        _tile_loadd(5, w, stride);
        _tile_dpbf16ps(2, 5, 6);
        if (two_blocks) _tile_dpbf16ps(3, 5, 7);
    }
    STORE(0, t, n);
    if (two_blocks) STORE(1, t + SIDE, n);
    if (two_rows) STORE(2, t, n + SIDE);
    if (two_rows && two_blocks) STORE(3, t + SIDE, n + SIDE);
}

/* Outputs n .. end - 1 of N. */
static void multiply_packed(const Product *p, const uint32_t *packed, long n, long end, long N) {
    TileShapes shapes = {.palette = 1};
    for (int i = 0; i < 8; i++) shapes.row_bytes[i] = 64, shapes.rows[i] = SIDE;
    __asm__ volatile("ldtilecfg %0" ::"m"(shapes)); /* gcc 12's own tells the compiler of eight of these bytes */
    for (; n < end; n += 2 * SIDE)
        for (long t = 0; t < p->T; t += 2 * SIDE) {
            int two_rows = end - n > SIDE, two_blocks = p->T - t > SIDE;
            if (two_rows && two_blocks)
                tiles(p, packed, t, n, N, 1, 1);
            else if (two_rows)
                tiles(p, packed, t, n, N, 1, 0);
            else if (two_blocks)
                tiles(p, packed, t, n, N, 0, 1);
            else
                tiles(p, packed, t, n, N, 0, 0);
        }
    _tile_release();
}
#else /* nobody packs anything */
static int has_tiles(void) { return 0; }
static void pack(uint32_t *packed, const Product *p, long t) { (void)packed, (void)p, (void)t; }
static void multiply_packed(const Product *p, const uint32_t *packed, long n, long end, long N) {
    (void)p, (void)packed, (void)n, (void)end, (void)N;
}
#endif
