/* What scoring wants of whole vocabularies, one thread a position, in little more than the time it takes to read the
 * logits. P positions, S columns of the part at hand, k head entries, n draws.
 */

enum { SPAN = 8 * LANES }; /* columns looked at together */
#define NO_MASS -1e30f

INLINE floats larger(floats a, floats b) {
    words first = (words)(a > b);
    return (floats)(((words)a & first) | ((words)b & ~first));
}

INLINE float largest(floats v) {
    float most = v[0];
    for (int i = 1; i < LANES; i++) most = v[i] > most ? v[i] : most;
    return most;
}

/* LANES logits times scale; those beyond the last have no mass. */
INLINE floats logits_at(const float *x, long s, long S, float scale) {
    if (s + LANES <= S) return load(x, s, F32) * scale;
    floats few = (floats){0} + NO_MASS;
    for (long i = s; i < S; i++) few[i - s] = x[i] * scale;
    return few;
}

/* -1 where a number is none, or is infinite upwards. By its bits: the compiler is told that there are no such numbers. */
INLINE ints has_no_exp(floats x) { return (ints)((ints)x >= 0x7f800000) | (ints)((words)x > 0xff800000); }

INLINE double not_a_number(void) {
    uint64_t bits = 0x7ff8000000000000;
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* Of equal values, the first seen stays before the others. */
INLINE void insert(float *values, int64_t *ids, long k, float value, int64_t id) {
    long at = k - 1;
    for (; at > 0 && values[at - 1] < value; at--) values[at] = values[at - 1], ids[at] = ids[at - 1];
    values[at] = value, ids[at] = id;
}

/* The largest of a row, and its top k among those so far. */
INLINE float find_top(const float *x, float scale, long first, float *values, int64_t *ids, long S, long k) {
    float peak = NO_MASS;
    for (long begin = 0; begin < S; begin += SPAN) {
        floats most = (floats){0} + NO_MASS;
        for (long s = begin; s < least(begin + SPAN, S); s += LANES) most = larger(most, logits_at(x, s, S, scale));
        float here = largest(most);
        peak = here > peak ? here : peak;
        if (!k || here <= values[k - 1]) continue;
        for (long s = begin; s < least(begin + SPAN, S); s++)
            if (x[s] * scale > values[k - 1]) insert(values, ids, k, x[s] * scale, first + s);
    }
    return peak;
}

/* Adds columns first .. first + S - 1 to the running results of P walks over a vocabulary: peak, mass = sum exp(x - peak),
 * moment = sum exp(x - peak) (x - peak), and the k largest, falling.
 * A logit that is no number makes none of the mass, so that no score looks as if it were one.
 */
void seodang_survey(double *peak, double *mass, double *moment, float *values, int64_t *ids, const float *logits,
                    float scale, long first, long P, long S, long k) {
#pragma omp parallel for schedule(static) if (P * S > PARALLEL_WORK)
    for (long p = 0; p < P; p++) {
        const float *x = logits + p * S;
        double highest = find_top(x, scale, first, values + p * k, ids + p * k, S, k);
        if (highest > peak[p]) {
            double drop = mass[p] > 0 ? peak[p] - highest : 0;
            moment[p] = (moment[p] + mass[p] * drop) * exp(drop);
            mass[p] *= exp(drop);
            peak[p] = highest;
        }
        ints strange = {0};
        for (long begin = 0; begin < S; begin += SPAN) {
            floats masses = {0}, moments = {0};
            for (long s = begin; s < least(begin + SPAN, S); s += LANES) {
                floats here = logits_at(x, s, S, scale), below = here - (float)peak[p], weights = exp_below(below);
                strange |= has_no_exp(here);
                masses += weights;
                moments += weights * below;
            }
            mass[p] += sum(masses);
            moment[p] += sum(moments);
        }
        for (int i = 0; i < LANES; i++)
            if (strange[i]) mass[p] = not_a_number();
    }
}

/* Of P tails, of which columns before these hold the mass `before`, takes the tokens at the points, which rise; the k
 * heads have no mass. A point that rounding has left beyond the last column takes the last one with mass, until a later
 * call knows better. Scratch: room [threads, S rounded up to LANES].
 */
void seodang_draw_tail(int64_t *ids, float *log_probs, double *before, float *room, const float *logits, float scale,
                       long first, const double *normaliser, const double *tail, const int64_t *heads,
                       const double *points, long P, long S, long k, long n, long threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (P * S > PARALLEL_WORK)
    for (long p = 0; p < P; p++) {
        if (tail[p] <= 0) continue;
        const float *x = logits + p * S, lse = (float)normaliser[p];
        float *mass = room + omp_get_thread_num() * round_up(S, LANES);
        const double *point = points + p * n;
        double reached = before[p];
        long next = 0, last = -1;
        for (long s = 0; s < S; s += LANES) *(floats *)(mass + s) = exp_below(logits_at(x, s, S, scale) - lse);
        for (const int64_t *head = heads + p * k; head < heads + (p + 1) * k; head++)
            if (*head >= first && *head < first + S) mass[*head - first] = 0;
        while (next < n && point[next] < reached) next++;
        for (long s = 0; s < S; s += LANES) {
            double here = sum(load(mass, s, F32)), so_far = reached;
            if (here <= 0) continue;
            long stop = least(s + LANES, S);
            last = s;
            for (long i = s; next < n && point[next] < reached + here && i < stop; i++) {
                if (mass[i] <= 0) continue;
                so_far += mass[i], last = i;
                for (; next < n && point[next] < so_far; next++)
                    ids[p * n + next] = first + i, log_probs[p * n + next] = x[i] * scale - lse;
            }
            reached += here;
        }
        if (last >= 0 && next < n) {
            for (long i = last; i < least(last / LANES * LANES + LANES, S); i++) last = mass[i] > 0 ? i : last;
            for (; next < n; next++)
                ids[p * n + next] = first + last, log_probs[p * n + next] = x[last] * scale - lse;
        }
        before[p] = reached;
    }
}
