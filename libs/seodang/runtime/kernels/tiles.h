/* Products by AMX tiles: so much arithmetic that a hundred tokens still wait for the weights and not for their own sums.
 * Rows of weights are multiplied as they lie, and the inputs packed for them, SIDE tokens together.
 *
 * bfloat16: inputs are rounded to bfloat16, one pair of inputs of the tokens after the other; sums are float32.
 * int8: a token's inputs become whole numbers of fifteen bits, the largest 127 * 128, and these two bytes, high * 128 +
 * low. Each byte is multiplied by itself, four inputs of the tokens after the other; sums are exact.
 *
 * A token's result is the same in any company.
 */

enum { SIDE = 16, LINE = 64 }; /* of a tile: rows or tokens, and bytes of a row */

/* What SIDE tokens are packed as, in words: two bytes for each of so many inputs, and a scale a token for int8. */
INLINE long packed_words(long K) { return round_up(K, LINE) / 2 * SIDE + SIDE; }

#if defined(__AMX_BF16__) && defined(__AMX_INT8__) && defined(__AVX512BF16__) && defined(__AVX512BW__)
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

INLINE const float *inputs_of(const Product *p, long token) {
    return p->x + (p->source ? p->source[token] : token) * p->x_stride;
}

/* LANES of so many floats, and zeros. */
INLINE __m512 some(const float *from, long count) {
    return _mm512_maskz_loadu_ps(count >= 16 ? 0xffff : count > 0 ? (__mmask16)((1u << count) - 1) : 0, from);
}

/* A line of one token to its place in each row of a tile. */
INLINE void spread(uint32_t *tile, __m512i line) {
    const __m512i rows = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    _mm512_i32scatter_epi32(tile, _mm512_slli_epi32(rows, 4), line, 4);
}

static void pack_bfloat16(uint32_t *packed, const float *x, long K) {
    for (long k = 0; k < K; k += 32, packed += SIDE * SIDE) {
        __m512 first = some(x + k, K - k), second = some(x + k + 16, K - k - 16);
        spread(packed, (__m512i)_mm512_cvtne2ps_pbh(second, first));
    }
}

/* What a token's inputs are multiplied by; not a number if one of them is none, which costs no other token its sums. */
static float int8_scale(const float *x, long K) {
    const __m512i exponent = _mm512_set1_epi32(0x7f800000);
    __m512 most = _mm512_set1_ps(1e-30f);
    __mmask16 strange = 0;
    for (long k = 0; k < K; k += 16) {
        __m512 size = _mm512_abs_ps(some(x + k, K - k));
        strange |= _mm512_cmpge_epi32_mask((__m512i)size, exponent);
        most = _mm512_max_ps(most, size);
    }
    union { uint32_t bits; float number; } none = {0x7fc00000};
    return strange ? none.number : _mm512_reduce_max_ps(most) / (127 * 128);
}

/* Tiles of high bytes and of low ones take turns. */
static void pack_int8(uint32_t *packed, const float *x, float scale, long K) {
    const __m512 times = _mm512_set1_ps(1.0f / scale);
    for (long k = 0; k < K; k += LINE, packed += 2 * SIDE * SIDE) {
        uint8_t high[LINE], low[LINE];
        for (int i = 0; i < LINE; i += 16) {
            __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(some(x + k + i, K - k - i), times));
            __m512i upper = _mm512_srai_epi32(_mm512_add_epi32(whole, _mm512_set1_epi32(64)), 7);
            __m512i lower = _mm512_sub_epi32(whole, _mm512_slli_epi32(upper, 7));
            _mm_storeu_si128((__m128i *)(high + i), _mm512_cvtepi32_epi8(upper));
            _mm_storeu_si128((__m128i *)(low + i), _mm512_cvtepi32_epi8(lower));
        }
        spread(packed, _mm512_loadu_si512(high));
        spread(packed + SIDE * SIDE, _mm512_loadu_si512(low));
    }
}

/* SIDE tokens from t on, or those that are left: the room of others stays as it is, and meets nobody else's sums. */
static void pack(uint32_t *packed, const Product *p, long t) {
    uint32_t *into = packed + t / SIDE * packed_words(p->K);
    float *scales = (float *)(into + packed_words(p->K) - SIDE);
    for (long i = 0; i < least(SIDE, p->T - t); i++) {
        const float *x = inputs_of(p, t + i);
        if (p->type == BF16) {
            pack_bfloat16(into + i, x, p->K);
            continue;
        }
        scales[i] = int8_scale(x, p->K);
        pack_int8(into + i, x, scales[i], p->K);
    }
}

/* SIDE rows of a line of weights: where they lie, or a copy filled up with zeros if they are not all there. */
INLINE const void *weights_tile(const Product *p, uint8_t *copy, long n, long N, long k, long *stride) {
    int size = p->type == BF16 ? 2 : 1;
    const uint8_t *w = (const uint8_t *)p->w + (n * p->w_stride + k) * size;
    if (n + SIDE <= N && (k + LINE / size) <= p->K) {
        *stride = p->w_stride * size;
        return w;
    }
    *stride = LINE;
    __mmask64 there = ~0ul >> (LINE - least(LINE, (p->K - k) * size));
    for (long r = 0; r < least(SIDE, N - n); r++)
        _mm512_storeu_si512(copy + r * LINE, _mm512_maskz_loadu_epi8(there, w + r * p->w_stride * size));
    __asm__ volatile("" ::"r"(copy) : "memory"); /* gcc does not know that a tile is read from memory */
    return copy;
}

/* The rows behind those at hand, a part at each step: sixteen rows far apart are more than the processor foresees. */
typedef struct {
    const char *next, *end;
    long step;
} Ahead;

INLINE Ahead ahead_of(const Product *p, long n, long N, long rows) {
    return (Ahead){skip(p->w, (n + rows) * p->w_stride, p->type), skip(p->w, N * p->w_stride, p->type), rows * LINE};
}

INLINE void fetch_ahead(Ahead *ahead) {
    for (const char *stop = ahead->next + ahead->step; ahead->next < stop; ahead->next += 64)
        if (ahead->next < ahead->end) _mm_prefetch(ahead->next, _MM_HINT_T1);
}

/* Sums [row][token] to where they belong. */
INLINE void put(const Product *p, const float *sums, long t, long n, long N) {
    long tokens = least(SIDE, p->T - t), rows = least(SIDE, N - n);
    for (long i = 0; i < tokens; i++)
        for (long r = 0; r < rows; r++) p->y[(t + i) * p->y_stride + n + r] = sums[r * SIDE + i];
}

INLINE void put_bytes(const Product *p, const uint32_t *packed, const int32_t *high, const int32_t *low, long t, long n,
                      long N) {
    const float *x_scales = (const float *)(packed + (t / SIDE + 1) * packed_words(p->K) - SIDE);
    const float *w_scales = (const float *)p->scales + n;
    long tokens = least(SIDE, p->T - t), rows = least(SIDE, N - n);
    for (long i = 0; i < tokens; i++)
        for (long r = 0; r < rows; r++) {
            float whole = 128.0f * (float)high[r * SIDE + i] + (float)low[r * SIDE + i];
            p->y[(t + i) * p->y_stride + n + r] = whole * w_scales[r] * x_scales[i];
        }
}

/* The compiler must know a tile's number. */
#define STORE(tile, t, n)                   \
    do {                                    \
        float sums[SIDE * SIDE];            \
        _tile_stored(tile, sums, SIDE * 4); \
        put(p, sums, t, n, N);              \
    } while (0)

/* One or two times SIDE rows of N by as many tokens. */
INLINE void tiles_of_bfloat16(const Product *p, const uint32_t *packed, long t, long n, long N, const int two_rows,
                              const int two_blocks) {
    uint8_t copy[2][SIDE * LINE];
    const uint32_t *x = packed + t / SIDE * packed_words(p->K), *y = x + packed_words(p->K);
    Ahead ahead = ahead_of(p, n, N, (two_rows + 1) * SIDE);
    long stride;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (long k = 0; k < p->K; k += LINE / 2, x += SIDE * SIDE, y += SIDE * SIDE) {
        fetch_ahead(&ahead);
        _tile_loadd(6, x, SIDE * 4);
        if (two_blocks) _tile_loadd(7, y, SIDE * 4);
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

#define STORE_BYTES(upper, lower, n)                 \
    do {                                             \
        int32_t high[SIDE * SIDE], low[SIDE * SIDE]; \
        _tile_stored(upper, high, SIDE * 4);         \
        _tile_stored(lower, low, SIDE * 4);          \
        put_bytes(p, packed, high, low, t, n, N);    \
    } while (0)

/* One or two times SIDE rows of N by SIDE tokens. */
INLINE void tiles_of_int8(const Product *p, const uint32_t *packed, long t, long n, long N, const int two_rows) {
    uint8_t copy[2][SIDE * LINE];
    const uint32_t *x = packed + t / SIDE * packed_words(p->K);
    Ahead ahead = ahead_of(p, n, N, (two_rows + 1) * SIDE);
    long stride;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (long k = 0; k < p->K; k += LINE, x += 2 * SIDE * SIDE) {
        fetch_ahead(&ahead);
        _tile_loadd(6, x, SIDE * 4);
        _tile_loadd(7, x + SIDE * SIDE, SIDE * 4);
        const void *w = weights_tile(p, copy[0], n, N, k, &stride);
        _tile_loadd(4, w, stride);
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        if (!two_rows) continue;
        w = weights_tile(p, copy[1], n + SIDE, N, k, &stride);
        _tile_loadd(5, w, stride);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    STORE_BYTES(0, 1, n);
    if (two_rows) STORE_BYTES(2, 3, n + SIDE);
}

/* Outputs n .. end - 1 of N. */
static void multiply_packed(const Product *p, const uint32_t *packed, long n, long end, long N) {
    TileShapes shapes = {.palette = 1};
    for (int i = 0; i < 8; i++) shapes.row_bytes[i] = 64, shapes.rows[i] = SIDE;
    __asm__ volatile("ldtilecfg %0" ::"m"(shapes)); /* gcc 12's own tells the compiler of eight of these bytes */
    for (; p->type == I8 && n < end; n += 2 * SIDE)
        for (long t = 0; t < p->T; t += SIDE)
            if (end - n > SIDE)
                tiles_of_int8(p, packed, t, n, N, 1);
            else
                tiles_of_int8(p, packed, t, n, N, 0);
    for (; n < end; n += 2 * SIDE)
        for (long t = 0; t < p->T; t += 2 * SIDE) {
            int two_rows = end - n > SIDE, two_blocks = p->T - t > SIDE;
            if (two_rows && two_blocks)
                tiles_of_bfloat16(p, packed, t, n, N, 1, 1);
            else if (two_rows)
                tiles_of_bfloat16(p, packed, t, n, N, 1, 0);
            else if (two_blocks)
                tiles_of_bfloat16(p, packed, t, n, N, 0, 1);
            else
                tiles_of_bfloat16(p, packed, t, n, N, 0, 0);
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
