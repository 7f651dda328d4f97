// Attention over pages of keys and values: page by page, the largest score so far taken off (Milakov and Gimelshein,
// arXiv:1805.02867). A page of a key head holds keys as h x PAGE and values as PAGE x h: float16, or bytes and behind them a
// float32 scale for each of the PAGE positions, which scores and weights are multiplied by.
//
// What a query finds depends on positions alone: scores are summed up from the first of the h on, values from the first
// position on, whichever queries are computed beside it.
#pragma once
#include "vector.h"

#define PAGE 32
#define QUERIES (VW == 16 ? 8 : 4)  // computed together: as many sums as registers hold, so that none waits for itself
#define LONGEST_RUN (PAGE / VW)

typedef struct {
    float most, total;
} Found;

typedef struct {
    const void *keys, *values;
    const float *key_scales, *value_scales;  // where they are kept as bytes
} Page;

// Numbers of a page as they are kept, in 8 or 16 bits, or as float32 already.
ALWAYS vf page_load(const int bits, const void *page, size_t at) {
    if (bits == 8) return vf_from_ints(vi_from_bytes((const int8_t *)page + at));
    return bits == 16 ? vf_from_halves((const uint16_t *)page + at) : vf_load((const float *)page + at);
}

// Scores of n queries and v vectors of positions from `first` on.
ALWAYS void score(const int n, const int v, const int bits, const float *queries, const Page *page, int first, int h,
                  float scores[][PAGE]) {
    vf sum[QUERIES][LONGEST_RUN];
    UNROLL for (int q = 0; q < n; q++)
        UNROLL for (int p = 0; p < v; p++) sum[q][p] = vf_set(0);
    for (int i = 0; i < h; i++) {
        vf query[QUERIES];
        UNROLL for (int q = 0; q < n; q++) query[q] = vf_set(queries[q * h + i]);
        UNROLL for (int p = 0; p < v; p++) {
            vf key = page_load(bits, page->keys, (size_t)i * PAGE + first + VW * p);
            PIN(key);  // loaded once, and not once for each query
            UNROLL for (int q = 0; q < n; q++) {
                sum[q][p] = vf_fma(query[q], key, sum[q][p]);
                PIN(sum[q][p]);
            }
        }
    }
    UNROLL for (int p = 0; p < v; p++) {
        vf scale = page->key_scales ? vf_load(page->key_scales + first + VW * p) : vf_set(1);
        UNROLL for (int q = 0; q < n; q++) vf_store(scores[q] + first + VW * p, sum[q][p] * scale);
    }
}

// v vectors of each of n outputs, from `first` on: what they were times `fade`, and the values by their weights.
ALWAYS void gather(const int n, const int v, const int bits, float weights[][PAGE], const float *fade, const void *values, int seen,
                   int first, int h, float *out) {
    vf sum[QUERIES][4];
    UNROLL for (int q = 0; q < n; q++)
        UNROLL for (int p = 0; p < v; p++) sum[q][p] = vf_load(out + q * h + first + VW * p) * fade[q];
    for (int s = 0; s < seen; s++) {
        vf weight[QUERIES];
        UNROLL for (int q = 0; q < n; q++) weight[q] = vf_set(weights[q][s]);
        UNROLL for (int p = 0; p < v; p++) {
            vf value = page_load(bits, values, (size_t)s * h + first + VW * p);
            PIN(value);
            UNROLL for (int q = 0; q < n; q++) {
                sum[q][p] = vf_fma(weight[q], value, sum[q][p]);
                PIN(sum[q][p]);
            }
        }
    }
    UNROLL for (int q = 0; q < n; q++)
        UNROLL for (int p = 0; p < v; p++) vf_store(out + q * h + first + VW * p, sum[q][p]);
}

// Scores of one query to weights, of which `seen` are not 0; gives what the earlier ones are worth beside them.
ALWAYS float weigh(float *scores, int seen, Found *found) {
    vf score[PAGE / VW], most = vf_set(-INFINITY), both[PV];
    for (int s = seen; s < PAGE; s++) scores[s] = -INFINITY;
    UNROLL for (int p = 0; p < PAGE / VW; p++) {
        score[p] = vf_load(scores + VW * p);
        most = vf_larger(score[p], most);
    }
    float largest = vf_max(most);
    largest = found->most > largest ? found->most : largest;
    UNROLL for (int p = 0; p < PAGE / VW; p++) {
        vi there = score[p] > vf_set(-INFINITY);
        score[p] = (vf)(there & (vi)vf_exp(score[p] - largest));
        vf_store(scores + VW * p, score[p]);
    }
    UNROLL for (int p = 0; p < PV; p++) both[p] = score[p] + score[p + PV];
    // Mostly an earlier page has the largest; e to the power of 0 is 1 here too.
    float fade = found->most == largest ? 1 : found->most == -INFINITY ? 0 : vf_exp(vf_set(found->most - largest))[0];
    found->total = found->total * fade + sum_lanes(both);
    found->most = largest;
    return fade;
}

// n queries that see as much of a page: what they found before, and what they find there.
ALWAYS void look(const int n, const int bits, const float *queries, const Page *page, int seen, int h, Found *found, float *out) {
    float scores[QUERIES][PAGE], fade[QUERIES];
    // As many sums side by side as registers hold: one alone would wait for its own last addition.
    const int run = n == 1 ? LONGEST_RUN : 2;
    for (int first = 0; first < seen; first += run * VW) score(n, run, bits, queries, page, first, h, scores);
    for (int q = 0; q < n; q++) {
        fade[q] = weigh(scores[q], seen, found + q);
        if (!page->value_scales) continue;
        UNROLL for (int p = 0; p < PAGE; p += VW) vf_store(scores[q] + p, vf_load(scores[q] + p) * vf_load(page->value_scales + p));
    }
    int i = 0;
    if (n <= (VW == 16 ? 4 : 2))  // what registers hold
        for (; i + 4 * VW <= h; i += 4 * VW) gather(n, 4, bits, scores, fade, page->values, seen, i, h, out);
    for (; i + 2 * VW <= h; i += 2 * VW) gather(n, 2, bits, scores, fade, page->values, seen, i, h, out);
    for (; i < h; i += VW) gather(n, 1, bits, scores, fade, page->values, seen, i, h, out);
}

// The same for any number of queries, of which `seen` says what each sees.
ALWAYS void look_all(const int bits, const float *queries, const Page *page, const int *seen, int count, int h, Found *found,
                     float *out) {
    for (int q = 0, n; q < count; q += n) {
        for (n = 1; n < QUERIES && q + n < count && seen[q + n] == seen[q];) n++;
        if (n > 4 && n < QUERIES) n = 4;
        if (seen[q] < 1) continue;
        const float *from = queries + (size_t)q * h;
        float *to = out + (size_t)q * h;
        switch (n) {
            case 1: look(1, bits, from, page, seen[q], h, found + q, to); break;
            case 2: look(2, bits, from, page, seen[q], h, found + q, to); break;
            case 3: look(3, bits, from, page, seen[q], h, found + q, to); break;
            case 4: look(4, bits, from, page, seen[q], h, found + q, to); break;
            default: look(QUERIES, bits, from, page, seen[q], h, found + q, to);
        }
    }
}

#define LOOK(name, bits)                                                                                                     \
    static __attribute__((noinline)) void name(const float *queries, const Page *page, const int *seen, int count, int h,     \
                                               Found *found, float *out) {                                                    \
        look_all(bits, queries, page, seen, count, h, found, out);                                                            \
    }
LOOK(look_at_bytes, 8)
LOOK(look_at_halves, 16)
LOOK(look_at_floats, 32)
