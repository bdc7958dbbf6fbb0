/* Decode kernels for CPUs: few tokens against many weights, so speed is the rate at which weights arrive.
 *
 * Activations are float32, the cache float32 or bfloat16, and weights these, int8 or int4 (see weights.h). A sum over K
 * always runs in the same order, whatever else is in the batch: a token's result does not depend on its company. Loops
 * are written over vectors, which every compiler of ours lowers to what the machine has. T tokens, N outputs, K inputs,
 * E experts, H hidden, I intermediate, D and V sizes of keys and values, C context slots. The caller defines BLOCK, the
 * slots of a cache block.
 */

#include <float.h>
#include <math.h>
#include <omp.h>

#include "weights.h"

enum { AHEAD = 8, CHUNK = 32, HEADS = 8, TOKEN_BLOCK = 64 }; /* what one thread takes at a time */
enum { MANY_TOKENS = 12, WIDE = 16384, LARGEST_HEAD = 1024 };
#define PARALLEL_WORK 65536 /* multiply-adds below which threads cost more than they save */

INLINE float sum(floats v) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += v[i]; /* -ffast-math makes a tree of it */
    return total;
}

/* x / (1 + exp(-x)) */
INLINE floats silu(floats x) {
    words negative = (words)(x < (floats){0});
    floats small = exp_below((floats)((words)x | 0x80000000)), one = (floats){0} + 1.0f;
    floats share = (floats)(((words)small & negative) | ((words)one & ~negative));
    return x * share / (small + 1.0f);
}

/* y[t, n] = x[t] . w[n]: the heart of everything below. Strides are from row to row, in numbers. */
typedef struct {
    float *y;
    const float *x;
    const void *w;
    long y_stride, x_stride, w_stride, T, K;
    const int *source; /* which row of x is token t; NULL: row t */
    int type;
    const void *scales; /* of the rows of w, or the bounds of its groups */
} Product;

#include "tiles.h"

/* A tile's sums stay in registers: each weight is loaded once for its tokens, each input once for its rows. */
INLINE void tile(const Product *p, long t, long n, int type, const int tokens, const int rows) {
    long whole = p->K - p->K % LANES, w[ROWS];
    const float *x[TOKENS];
    floats sums[TOKENS][ROWS] = {0};
    UNROLL for (int r = 0; r < rows; r++) w[r] = (n + r) * p->w_stride;
    UNROLL for (int i = 0; i < tokens; i++) x[i] = p->x + (p->source ? p->source[t + i] : t + i) * p->x_stride;
    if (whole < p->K) /* what whole vectors leave comes first: here nothing is in registers yet */
        for (int r = 0; r < rows; r++) {
            floats weights = load_few(p->w, w[r] + whole, p->K - whole, type);
            for (int i = 0; i < tokens; i++) sums[i][r] = load_few(x[i], whole, p->K - whole, F32) * weights;
        }
    for (long k = 0; k < whole; k += LANES) {
        floats weights[ROWS];
        UNROLL for (int r = 0; r < rows; r++) weights[r] = load(p->w, w[r] + k, type);
        UNROLL for (int i = 0; i < tokens; i++) {
            floats inputs = load(x[i], k, F32);
            UNROLL for (int r = 0; r < rows; r++) sums[i][r] += inputs * weights[r];
        }
    }
    UNROLL for (int i = 0; i < tokens; i++)
        UNROLL for (int r = 0; r < rows; r++) {
            float *y = p->y + (t + i) * p->y_stride + n + r;
            *y = sum(sums[i][r]);
            if (type == I8) *y *= ((const float *)p->scales)[n + r];
        }
}

/* All tokens over some rows. */
INLINE void band(const Product *p, long n, int type, const int tokens, const int rows) {
    long t = 0;
    for (; t + tokens <= p->T; t += tokens) tile(p, t, n, type, tokens, rows);
    for (; tokens > 4 && t + 4 <= p->T; t += 4) tile(p, t, n, type, 4, rows);
    switch (p->T - t) {
        case 3: tile(p, t, n, type, 3, rows); break;
        case 2: tile(p, t, n, type, 2, rows); break;
        case 1: tile(p, t, n, type, 1, rows); break;
    }
}

INLINE void bands(const Product *p, long n, long end, int type, const int tokens, const int rows) {
    for (; n + rows <= end; n += rows) band(p, n, type, tokens, rows);
    for (; n < end; n++) band(p, n, type, tokens, 1);
}

static __attribute__((noinline, noclone)) void multiply_block(const Product *p, long n, long end);

INLINE void widen(float *wide, const void *w, long at, long K, int type) {
    long k = 0;
    for (; k + LANES <= K; k += LANES) *(floats *)(wide + k) = load(w, at + k, type);
    for (; k < K; k++) wide[k] = load_one(w, at + k, type);
}

/* Outputs n .. end - 1 of so many tokens that a few rows at a time are best made float32 first. */
static void multiply_widened(const Product *p, long n, long end) {
    float wide[WIDE];
    Product q = *p;
    q.w = wide, q.w_stride = p->K, q.type = F32;
    for (; n < end; n += ROWS) {
        long rows = least(ROWS, end - n);
        for (long r = 0; r < rows; r++)
            if (p->type == BF16)
                widen(wide + r * p->K, p->w, (n + r) * p->w_stride, p->K, BF16);
            else
                widen(wide + r * p->K, p->w, (n + r) * p->w_stride, p->K, I8);
        q.y = p->y + n;
        multiply_block(&q, 0, rows);
        for (long t = 0; p->type == I8 && t < p->T; t++)
            for (long r = 0; r < rows; r++) q.y[t * p->y_stride + r] *= ((const float *)p->scales)[n + r];
    }
}

/* The sums of a tile over `count` inputs of one group. */
INLINE void add_group(floats sums[][2], const Product *p, const float *const *x, long n, long group, const int tokens,
                      const int vectors, const int count) {
    const uint32_t *codes[2];
    floats step[2], minimum[2];
    UNROLL for (int v = 0; v < vectors; v++) {
        long row = n + v * LANES, tile = row / TILE * ((p->K + GROUP - 1) / GROUP) + group;
        codes[v] = (const uint32_t *)p->w + tile * TILE * GROUP / 8 + row % TILE;
        step[v] = load(p->scales, tile * 2 * TILE + row % TILE, BF16);
        minimum[v] = load(p->scales, tile * 2 * TILE + TILE + row % TILE, BF16);
    }
    for (int k = 0; k < count; k += 8) {
        words eight[2];
        UNROLL for (int v = 0; v < vectors; v++) eight[v] = *(const words *)(codes[v] + k / 8 * TILE);
        UNROLL for (int i = 0; i < 8; i++) {
            floats weights[2];
            if (k + i >= count) break;
            UNROLL for (int v = 0; v < vectors; v++) weights[v] = lowest4(eight[v] >> 4 * i) * step[v] + minimum[v];
            UNROLL for (int t = 0; t < tokens; t++)
                UNROLL for (int v = 0; v < vectors; v++) sums[t][v] += x[t][group * GROUP + k + i] * weights[v];
        }
    }
}

/* int4 keeps one input of many outputs in a vector, where the others keep many inputs of one. */
INLINE void tile_of_groups(const Product *p, long t, long n, long end, const int tokens, const int vectors) {
    long whole = p->K / GROUP;
    const float *x[TOKENS];
    floats sums[TOKENS][2] = {0};
    UNROLL for (int i = 0; i < tokens; i++) x[i] = p->x + (p->source ? p->source[t + i] : t + i) * p->x_stride;
    for (long group = 0; group < whole; group++) add_group(sums, p, x, n, group, tokens, vectors, GROUP);
    if (p->K % GROUP) add_group(sums, p, x, n, whole, tokens, vectors, p->K % GROUP);
    UNROLL for (int i = 0; i < tokens; i++)
        UNROLL for (int v = 0; v < vectors; v++)
            for (int r = 0; r < least(LANES, end - n - v * LANES); r++)
                p->y[(t + i) * p->y_stride + n + v * LANES + r] = sums[i][v][r];
}

INLINE void band_of_groups(const Product *p, long n, long end, const int vectors) {
    long t = 0;
    for (; t + TOKENS <= p->T; t += TOKENS) tile_of_groups(p, t, n, end, TOKENS, vectors);
    for (; TOKENS > 4 && t + 4 <= p->T; t += 4) tile_of_groups(p, t, n, end, 4, vectors);
    switch (p->T - t) {
        case 3: tile_of_groups(p, t, n, end, 3, vectors); break;
        case 2: tile_of_groups(p, t, n, end, 2, vectors); break;
        case 1: tile_of_groups(p, t, n, end, 1, vectors); break;
    }
}

static __attribute__((noinline)) void multiply_groups(const Product *p, long n, long end) {
    for (; end - n > LANES; n += 2 * LANES) band_of_groups(p, n, end, 2);
    if (n < end) band_of_groups(p, n, end, 1);
}

/* Outputs n .. end - 1 of all tokens. Widening a weight costs as much as multiplying it, so it should serve many. */
static void multiply_block(const Product *p, long n, long end) {
    if (p->type == F32)
        bands(p, n, end, F32, 4, ROWS);
    else if (p->type == I4)
        multiply_groups(p, n, end);
    else if (p->T >= MANY_TOKENS && p->K * ROWS <= WIDE)
        multiply_widened(p, n, end);
    else if (p->type == BF16 && p->T < TOKENS)
        bands(p, n, end, BF16, 4, ROWS);
    else if (p->type == BF16)
        bands(p, n, end, BF16, TOKENS, 2);
    else if (p->T < TOKENS)
        bands(p, n, end, I8, 4, ROWS);
    else
        bands(p, n, end, I8, TOKENS, 2);
}

/* The same, by blocks of tokens that stay near the processor while the rows go by. */
static void multiply(const Product *p, long n, long end) {
    for (long t = 0; t < p->T; t += TOKEN_BLOCK) {
        Product part = *p;
        part.T = least(TOKEN_BLOCK, p->T - t);
        part.y += t * p->y_stride;
        if (p->source)
            part.source += t;
        else
            part.x += t * p->x_stride;
        multiply_block(&part, n, end);
    }
}

/* Outputs n .. end - 1 of N: of packed inputs by tiles, else by the loops above. */
INLINE void multiply_some(const Product *p, const uint32_t *packed, long n, long end, long N) {
    if (packed)
        multiply_packed(p, packed, n, end, N);
    else
        multiply(p, n, end);
}

/* All N outputs; with room for packed inputs, by tiles. */
static void multiply_in_parallel(const Product *p, uint32_t *packed, long N) {
#pragma omp parallel if (p->T * N * p->K > PARALLEL_WORK)
    {
        if (packed) {
#pragma omp for schedule(static)
            for (long t = 0; t < p->T; t += SIDE) pack(packed, p, t);
        }
#pragma omp for schedule(static)
        for (long n = 0; n < N; n += CHUNK) multiply_some(p, packed, n, least(n + CHUNK, N), N);
    }
}

/* 2: the processor multiplies bfloat16 by tiles, as these loops do given room to pack; 1: in another way; 0: not at all. */
int seodang_multiplies_bfloat16(void) {
    if (has_tiles()) return 2;
#ifdef __AVX512BF16__
    return 1;
#else
    return 0;
#endif
}

/* wide[N, K], bfloat16, of int4 weights, for those who multiply bfloat16 faster than these loops do. */
void seodang_widen(uint16_t *wide, const void *w, const void *scales, long N, long K) {
    long groups = round_up(K, GROUP) / GROUP;
#pragma omp parallel for schedule(static) if (N * K > PARALLEL_WORK)
    for (long n = 0; n < N; n += LANES)
        for (long group = 0; group < groups; group++) {
            long tile = n / TILE * groups + group, from = group * GROUP, count = least(GROUP, K - from);
            const uint32_t *codes = (const uint32_t *)w + tile * TILE * GROUP / 8 + n % TILE;
            floats step = load(scales, tile * 2 * TILE + n % TILE, BF16);
            floats minimum = load(scales, tile * 2 * TILE + TILE + n % TILE, BF16);
            words nearest[GROUP];
            for (int k = 0; k < GROUP; k++) {
                words bits = (words)(lowest4(*(const words *)(codes + k / 8 * TILE) >> k % 8 * 4) * step + minimum);
                nearest[k] = bits + 0x7fff + (bits >> 16 & 1); /* ties go to the even one */
            }
            for (int r = 0; r < least(LANES, N - n); r++)
                for (int k = 0; k < count; k++) wide[(n + r) * K + from + k] = (uint16_t)(nearest[k][r] >> 16);
        }
}

/* y[T, N] = x[T, K] w[N, K]^T. Scratch, or NULL: packed, [T rounded up to 16, K rounded up to 64 and 2 more] numbers of
 * 16 bits.
 */
void seodang_linear(float *y, uint32_t *packed, const float *x, const void *w, const void *scales, int type, long T,
                    long N, long K) {
    multiply_in_parallel(&(Product){y, x, w, N, K, K, T, K, NULL, type, scales}, packed, N);
}

/* The first half of each row becomes silu(first half) * second half. */
static void gate(float *inner, long row, long I) {
    float *first = inner + row * 2 * I, *second = first + I;
    long i = 0;
    for (; i + LANES <= I; i += LANES) *(floats *)(first + i) = silu(load(first, i, F32)) * load(second, i, F32);
    for (; i < I; i++) first[i] = silu((floats){first[i]})[0] * second[i];
}

/* y[T, H] = down[H, I] (silu(gate) * up), where gate_up[2I, H] holds gate's rows, then up's. Scratch: inner [T, 2I],
 * and packed as above, with the larger of H and I for K, or NULL.
 */
void seodang_gated(float *y, float *inner, uint32_t *packed, const float *x, const void *gate_up,
                   const void *gate_up_scales, const void *down, const void *down_scales, int type, long T, long H,
                   long I) {
    seodang_linear(inner, packed, x, gate_up, gate_up_scales, type, T, 2 * I, H);
#pragma omp parallel for schedule(static) if (T * I > PARALLEL_WORK / 16)
    for (long t = 0; t < T; t++) gate(inner, t, I);
    multiply_in_parallel(&(Product){y, inner, down, H, 2 * I, I, T, I, NULL, type, down_scales}, packed, H);
}

/* Experts and the tokens that chose them: those of expert e are token[begin[e]] .. token[begin[e + 1] - 1]. */
typedef struct {
    const float *x;
    float *inner, *outer;
    const void *gate_up, *gate_up_scales, *down, *down_scales;
    const int *begin, *block, *token;
    int type;
    long H, I;
} Experts;

INLINE Product up_of(const Experts *a, long e) {
    const void *w = matrix(a->gate_up, e, 2 * a->I, a->H, a->type);
    const void *scales = scales_of(a->gate_up_scales, e, 2 * a->I, a->H, a->type);
    long begin = a->begin[e], count = a->begin[e + 1] - begin;
    float *inner = a->inner + begin * 2 * a->I;
    return (Product){inner, a->x, w, 2 * a->I, a->H, a->H, count, a->H, a->token + begin, a->type, scales};
}

INLINE Product down_of(const Experts *a, long e) {
    const void *w = matrix(a->down, e, a->H, a->I, a->type);
    const void *scales = scales_of(a->down_scales, e, a->H, a->I, a->type);
    long begin = a->begin[e], count = a->begin[e + 1] - begin;
    float *inner = a->inner + begin * 2 * a->I;
    return (Product){a->outer + begin * a->H, inner, w, a->H, 2 * a->I, a->I, count, a->I, NULL, a->type, scales};
}

/* N outputs of each of E experts, for the threads that are here. */
INLINE void multiply_experts(const Experts *a, Product (*of)(const Experts *, long), uint32_t *packed, long E, long N) {
    long chunks = (N + CHUNK - 1) / CHUNK, words = packed_words(of(a, 0).K);
    if (packed) {
#pragma omp for schedule(dynamic)
        for (long e = 0; e < E; e++) {
            Product p = of(a, e);
            for (long t = 0; t < p.T; t += SIDE) pack(packed + a->block[e] * words, &p, t);
        }
    }
#pragma omp for schedule(dynamic, 4)
    for (long c = 0; c < E * chunks; c++) {
        long e = c / chunks, n = c % chunks * CHUNK;
        Product p = of(a, e);
        multiply_some(&p, packed ? packed + a->block[e] * words : NULL, n, least(n + CHUNK, N), N);
    }
}

/* y[T, H] = sum over a token's chosen experts of weight * down(silu(gate) * up). Experts first .. first + E - 1 are
 * here; the share of others is added elsewhere. Scratch: inner [T * k, 2I], outer [T * k, H], order
 * [2 * T * k + 2 * E + 2], and packed as above, with room for 16 tokens more of each expert that has any, or NULL.
 */
void seodang_experts(float *y, float *inner, float *outer, int *order, uint32_t *packed, const float *x,
                     const int64_t *ids, const float *weights, const void *gate_up, const void *gate_up_scales,
                     const void *down, const void *down_scales, int type, long T, long k, long first, long E, long H,
                     long I) {
    int *begin = order, *block = begin + E + 1, *token = block + E + 1, *slot = token + T * k, pairs = 0;
    block[0] = 0;
    for (long e = 0; e < E; e++) {
        begin[e] = pairs;
        for (long p = 0; p < T * k; p++)
            if (ids[p] == first + e) {
                token[pairs] = (int)(p / k);
                slot[pairs++] = (int)p;
            }
        block[e + 1] = block[e] + (pairs - begin[e] + SIDE - 1) / SIDE;
    }
    begin[E] = pairs;
    Experts all = {x, inner, outer, gate_up, gate_up_scales, down, down_scales, begin, block, token, type, H, I};
#pragma omp parallel if (pairs * H * I > PARALLEL_WORK)
    {
        multiply_experts(&all, up_of, packed, E, 2 * I);
#pragma omp for schedule(static)
        for (long p = 0; p < pairs; p++) gate(inner, p, I);
        multiply_experts(&all, down_of, packed, E, H);
    }
    memset(y, 0, (size_t)(T * H) * sizeof *y);
    for (long p = 0; p < pairs; p++) {
        float weight = weights[slot[p]], *into = y + token[p] * H, *from = outer + p * H;
        for (long h = 0; h < H; h++) into[h] += weight * from[h];
    }
}

/* One row of y = x / rms(x) * w */
INLINE void norm(float *into, const float *from, const void *w, int type, long H, float epsilon) {
    float square = 0;
    for (long h = 0; h < H; h++) square += from[h] * from[h];
    float scale = 1.0f / sqrtf(square / (float)H + epsilon);
    if (type == F32)
        for (long h = 0; h < H; h++) into[h] = from[h] * scale * load_one(w, h, F32);
    else
        for (long h = 0; h < H; h++) into[h] = from[h] * scale * load_one(w, h, BF16);
}

void seodang_rms_norm(float *y, const float *x, long x_stride, const void *w, int type, long T, long H, float epsilon) {
#pragma omp parallel for schedule(static) if (T * H > PARALLEL_WORK)
    for (long t = 0; t < T; t++) norm(y + t * H, x + t * x_stride, w, type, H, epsilon);
}

/* One head of y = x * cos + swap(x) * sin, with the first half of sin negated (see models/rotary.py) */
INLINE void rotate(float *into, const float *from, const float *cos, const float *sin, long D) {
    long half = D / 2;
    for (long d = 0; d < half; d++) {
        float first = from[d], second = from[d + half];
        into[d] = first * cos[d] + second * sin[d];
        into[d + half] = second * cos[d + half] + first * sin[d + half];
    }
}

void seodang_rotate(float *y, const float *x, long t_stride, long h_stride, const float *cos, const float *sin, long T,
                    long heads, long D) {
#pragma omp parallel for schedule(static) if (T * heads * D > PARALLEL_WORK)
    for (long t = 0; t < T; t++)
        for (long h = 0; h < heads; h++)
            rotate(y + (t * heads + h) * D, x + t * t_stride + h * h_stride, cos + t * D, sin + t * D, D);
}

/* Numbers to a pool's cell, bfloat16 to the nearest, ties to the even one. */
INLINE void keep(void *pool, long at, const float *from, long D, int type) {
    if (type == F32)
        memcpy((float *)pool + at, from, (size_t)D * sizeof *from);
    else
        for (long d = 0; d < D; d++) {
            uint32_t bits;
            memcpy(&bits, from + d, sizeof bits);
            ((uint16_t *)pool)[at + d] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
        }
}

/* What attention does to x[T, heads + 2 * key_heads, D] before it looks: queries[T, heads, D] and keys are normed, if
 * there are weights for that, and rotated; keys and values go to slots[T] of their pools.
 */
void seodang_place_heads(float *queries, const float *x, const void *query_norm, const void *key_norm, int norm_type,
                         float epsilon, const float *cos, const float *sin, void *keys, void *values, int pool_type,
                         const int64_t *slots, long T, long heads, long key_heads, long D) {
#pragma omp parallel for schedule(static) if (T * heads * D > PARALLEL_WORK)
    for (long t = 0; t < T; t++) {
        const float *from = x + t * (heads + 2 * key_heads) * D;
        for (long h = 0; h < heads + key_heads; h++, from += D) {
            const void *w = h < heads ? query_norm : key_norm;
            float head[LARGEST_HEAD], *into = h < heads ? queries + (t * heads + h) * D : head;
            if (w) norm(head, from, w, norm_type, D, epsilon);
            rotate(into, w ? head : from, cos + t * D, sin + t * D, D);
            if (h >= heads) keep(keys, (slots[t] * key_heads + h - heads) * D, head, D, pool_type);
        }
        keep(values, slots[t] * key_heads * D, from, key_heads * D, pool_type);
    }
}

/* One row's cells of one key head in a pool: the cell of slot c lies in block table[c / BLOCK]. */
typedef struct {
    const void *pool;
    const int *table;
    long stride, offset; /* from slot to slot, and of the head in a slot */
} Cells;

INLINE long cell(const Cells *cells, long c) {
    return ((long)cells->table[c / BLOCK] * BLOCK + c % BLOCK) * cells->stride + cells->offset;
}

/* Cells of one head lie a slot apart, further than the processor looks ahead by itself. */
INLINE void fetch(const Cells *cells, long c, long count, int type) {
    const char *from = skip(cells->pool, cell(cells, c), type), *end = skip(from, count, type);
    for (; from < end; from += 64) __builtin_prefetch(from);
}

/* out[h, d] = sum over slots of shares[h, c] * value[c, d], for a tile of heads and vectors of d */
INLINE void mix_tile(float *out, const float *shares, const Cells *values, long length, long V, long C, int type,
                     const int heads, const int vectors) {
    floats sums[4][8] = {0};
    for (long c = 0; c < length; c++) {
        long at = cell(values, c);
        if (c + AHEAD < length) fetch(values, c + AHEAD, vectors * LANES, type);
        UNROLL for (int v = 0; v < vectors; v++) {
            floats value = load(values->pool, at + v * LANES, type);
            UNROLL for (int h = 0; h < heads; h++) sums[h][v] += shares[h * C + c] * value;
        }
    }
    UNROLL for (int h = 0; h < heads; h++)
        UNROLL for (int v = 0; v < vectors; v++) *(floats *)(out + h * V + v * LANES) = sums[h][v];
}

INLINE void mix(float *out, const float *shares, Cells values, long length, long V, long C, int type, const int heads) {
    long d = 0;
    if (LANES == 16 && heads <= 2) /* as many sums as registers hold */
        for (; d + 8 * LANES <= V; d += 8 * LANES, values.offset += 8 * LANES)
            mix_tile(out + d, shares, &values, length, V, C, type, heads, 8);
    for (; d + 4 * LANES <= V; d += 4 * LANES, values.offset += 4 * LANES)
        mix_tile(out + d, shares, &values, length, V, C, type, heads, 4);
    for (; d + LANES <= V; d += LANES, values.offset += LANES)
        mix_tile(out + d, shares, &values, length, V, C, type, heads, 1);
    for (; d < V; d++, values.offset++)
        for (int h = 0; h < heads; h++) {
            float value = 0;
            for (long c = 0; c < length; c++)
                value += shares[h * C + c] * load_one(values.pool, cell(&values, c), type);
            out[h * V + d] = value;
        }
}

/* Some heads of one row over one key head. */
INLINE void attend(float *out, float *scores, const float *query, Cells keys, Cells values, long length, long heads,
                   long D, long V, long C, float scale, int type) {
    for (long c = 0; c < length; c += BLOCK) {
        const void *block = skip(keys.pool, cell(&keys, c), type);
        for (long next = c + BLOCK; next < least(c + 2 * BLOCK, length); next++) fetch(&keys, next, D, type);
        Product p = {scores + c, query, block, C, D, keys.stride, heads, D, NULL, type, NULL};
        multiply_block(&p, 0, least(BLOCK, length - c));
    }
    for (long h = 0; h < heads; h++) {
        float peak = -FLT_MAX, mass = 0, *s = scores + h * C;
        for (long c = 0; c < length; c++) peak = s[c] > peak ? s[c] : peak;
        for (long c = 0; c < length; c += LANES) {
            floats shares = exp_below((load(s, c, F32) - peak) * scale); /* whole vectors lie within C */
            *(floats *)(s + c) = shares;
            if (c + LANES <= length) mass += sum(shares);
            for (long i = c; c + LANES > length && i < length; i++) mass += s[i];
        }
        for (long c = 0; c < length; c++) s[c] /= mass;
    }
    long h = 0;
    for (; h + 4 <= heads; h += 4) mix(out + h * V, scores + h * C, values, length, V, C, type, 4);
    for (; h + 2 <= heads; h += 2) mix(out + h * V, scores + h * C, values, length, V, C, type, 2);
    for (; h < heads; h++) mix(out + h * V, scores + h * C, values, length, V, C, type, 1);
}

/* Attention of single tokens over paged contexts. Each of R rows has `heads` queries of size D for each of `key_heads`
 * key heads. Cells of `key` hold D numbers; those of `value`, which may be the same pool, `value_size`, of which the
 * first V count. `table` has a row's blocks, for the longest context C. out[R, key_heads, heads, V]; scratch [R,
 * key_heads, heads, C].
 */
void seodang_attention(float *out, float *scratch, const float *query, const void *key, const void *value, int type,
                       long value_size, const int *table, const int *lengths, long R, long key_heads, long heads,
                       long D, long V, long C, float scale) {
    long parts = (heads + HEADS - 1) / HEADS, units = R * key_heads * parts;
    /* The key heads of a slot lie side by side: a thread takes all of a row where there are rows enough for everyone. */
    long share = least(key_heads * parts, units / (4L * omp_get_max_threads())), run = share > 1 ? share : 1;
#pragma omp parallel for schedule(dynamic, run) if (R * key_heads * heads * C * (D + V) > PARALLEL_WORK)
    for (long unit = 0; unit < units; unit++) {
        long part = unit % parts, key_head = unit / parts % key_heads, row = unit / parts / key_heads;
        long first = (row * key_heads + key_head) * heads + part * HEADS, count = least(HEADS, heads - part * HEADS);
        const int *blocks = table + row * (C / BLOCK);
        Cells keys = {key, blocks, key_heads * D, key_head * D};
        Cells values = {value, blocks, key_heads * value_size, key_head * value_size};
        float *o = out + first * V, *s = scratch + first * C;
        const float *q = query + first * D;
        if (type == F32)
            attend(o, s, q, keys, values, lengths[row], count, D, V, C, scale, F32);
        else
            attend(o, s, q, keys, values, lengths[row], count, D, V, C, scale, BF16);
    }
}

#include "scores.h"
