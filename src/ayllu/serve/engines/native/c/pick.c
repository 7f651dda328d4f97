// Drawing the next token, as `ayllu.model.generate.pick` does: bias, penalties, what a grammar allows, temperature, the k
// likeliest, the nucleus, min_p. And how likely the model itself finds tokens.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vector.h"

#define COLDEST 1e-3f
#define NO_NUMBERS -1
#define ALL_FORBIDDEN -2

typedef struct {
    float temperature, top_p, min_p;
    float repetition, presence, frequency;  // penalties
    int top_k;
    double uniform;       // from 0 to below 1: decides the draw
    const int32_t *seen;  // the ids so far, `given` of the prompt and then the answer's
    int seen_count, given;
    const int32_t *biased;
    const float *bias;
    int bias_count;
    const uint8_t *allowed;  // of each id, or NULL: all are
} Draw;

typedef struct {
    float probability;
    int32_t id;
} Candidate;

static int likelier(const void *one, const void *other) {
    const Candidate *a = one, *b = other;
    if (a->probability != b->probability) return a->probability < b->probability ? 1 : -1;
    return a->id < b->id ? -1 : 1;
}

static int walk(const Candidate *among, int count, double target) {
    double sum = 0;
    for (int i = 0; i < count; i++)
        if ((sum += among[i].probability) > target) return among[i].id;
    return among[count - 1].id;
}

// `counts` has room for all ids.
static void adjust(float *logits, int vocabulary, const Draw *draw, int32_t *counts) {
    for (int i = 0; i < draw->bias_count; i++) logits[draw->biased[i]] += draw->bias[i];
    if (draw->repetition != 1) {
        memset(counts, 0, sizeof *counts * (size_t)vocabulary);
        for (int i = 0; i < draw->seen_count; i++) {
            int id = draw->seen[i];
            if (counts[id]++) continue;
            logits[id] = logits[id] > 0 ? logits[id] / draw->repetition : logits[id] * draw->repetition;
        }
    }
    if (draw->presence != 0 || draw->frequency != 0) {
        memset(counts, 0, sizeof *counts * (size_t)vocabulary);
        for (int i = draw->given; i < draw->seen_count; i++) counts[draw->seen[i]]++;
        for (int id = 0; id < vocabulary; id++)
            if (counts[id]) logits[id] -= draw->presence + draw->frequency * (float)counts[id];
    }
    for (int id = 0; draw->allowed && id < vocabulary; id++)
        if (!draw->allowed[id]) logits[id] = -INFINITY;
}

// Where the largest logit is, the first of several; NO_NUMBERS where one is none.
static int largest(const float *logits, int vocabulary) {
    vf most = vf_set(-INFINITY);
    vi none = vi_set(0);
    int i = 0;
    for (; i + VW <= vocabulary; i += VW) {
        vf v = vf_load(logits + i);
        none |= v != v;
        most = vf_larger(v, most);
    }
    if (vi_sum(none)) return NO_NUMBERS;
    float found = vf_max(most);
    for (; i < vocabulary; i++) {
        if (isnan(logits[i])) return NO_NUMBERS;
        found = logits[i] > found ? logits[i] : found;
    }
    for (i = 0; logits[i] != found;) i++;
    return i;
}

// Logits to probabilities beside the likeliest, which gets 1; their sum.
static double soften(float *logits, int vocabulary, float most, float temperature) {
    double sums[4] = {0};
    int i = 0;
    for (; i + VW <= vocabulary; i += VW) {
        vf v = vf_load(logits + i);
        vi there = v > vf_set(-INFINITY);
        vf_store(logits + i, (vf)(there & (vi)vf_exp((v - most) / temperature)));
    }
    for (; i < vocabulary; i++)
        logits[i] = logits[i] == -INFINITY ? 0 : vf_exp(vf_set((logits[i] - most) / temperature))[0];
    for (i = 0; i < vocabulary; i++) sums[i % 4] += logits[i];
    return sums[0] + sums[1] + sums[2] + sums[3];
}

#define BUCKETS 4096  // of probabilities from 0 to 1 by their exponent and five bits behind it
static int bucket(float probability) {
    uint32_t bits;
    memcpy(&bits, &probability, 4);
    return (int)(bits >> 18);
}

// Sorts of `among` the one bucket in which the count, or the sum, of the likeliest reaches `limit`. In front of it come
// those of likelier buckets, in no order: `before` is their sum. Returns where the bucket begins; it ends before `end`.
static int split(Candidate *among, int count, int by_sum, double limit, double *before, int *end) {
    double sums[BUCKETS] = {0}, reached = 0;
    int counts[BUCKETS] = {0}, first = 0, here = 0;
    for (int i = 0; i < count; i++) {
        int b = bucket(among[i].probability);
        sums[b] += among[i].probability;
        counts[b]++;
    }
    *before = 0;
    for (int b = BUCKETS - 1; b >= 0; b--) {
        if (!counts[b]) continue;
        here = b;
        reached += by_sum ? sums[b] : counts[b];
        if (reached >= limit || first + counts[b] == count) break;
        *before += sums[b];
        first += counts[b];
    }
    int front = 0, back = count;
    for (int i = 0; i < back;) {
        Candidate one = among[i];
        int b = bucket(one.probability), to = b > here ? front++ : b < here ? --back : i;
        among[i] = among[to];
        among[to] = one;
        i += b >= here;
    }
    *end = back;
    qsort(among + front, (size_t)(back - front), sizeof *among, likelier);
    return front;
}

// The likeliest of `among` up to `most` of them; how many, and their sum.
static int likeliest(Candidate *among, int count, int most, double *sum) {
    int end, at = split(among, count, 0, most, sum, &end);
    for (; at < end && at < most; at++) *sum += among[at].probability;
    return at;
}

// The likeliest whose sum reaches `share`, one at least.
static int nucleus(Candidate *among, int count, double share, double *sum) {
    int end, at = split(among, count, 1, share, sum, &end);
    for (; at < end && (at == 0 || *sum < share); at++) *sum += among[at].probability;
    return at;
}

// `logits` is changed; `among` has room for all ids. Returns the id that is drawn, or why there is none.
int native_pick(float *logits, int vocabulary, const Draw *draw, Candidate *among) {
    adjust(logits, vocabulary, draw, (int32_t *)among);
    int first = largest(logits, vocabulary);
    if (first >= 0 && logits[first] == -INFINITY && (draw->allowed || draw->bias_count)) return ALL_FORBIDDEN;
    if (first < 0 || !isfinite(logits[first])) return NO_NUMBERS;
    if (draw->temperature < COLDEST) return first;
    double total = soften(logits, vocabulary, logits[first], draw->temperature);
    int plain = draw->top_p >= 1 && draw->top_k == 0, needed = draw->top_k ? draw->top_k : vocabulary;
    // Few tokens matter, so only the likely ones are looked at: more of them where those are not enough.
    for (float cut = plain ? draw->min_p : 1e-3f;; cut = cut > 1e-9f ? cut * 1e-3f : 0) {
        int count = 0, end;
        double held = 0, before;
        for (int i = 0; i < vocabulary; i++)
            if (logits[i] >= cut) {
                among[count++] = (Candidate){logits[i], i};
                held += logits[i];
            }
        if (plain) return walk(among, count, draw->uniform * held);
        int enough = cut == 0 || count >= needed || (draw->top_k == 0 && held >= draw->top_p * total);
        if (!enough) continue;
        if (draw->top_k) count = likeliest(among, count, draw->top_k, &total);
        int likely = 0;
        for (int i = 0; i < count; i++)
            if (among[i].probability >= draw->min_p) among[likely++] = among[i];
        count = nucleus(among, likely, draw->top_p * total, &held);
        // Drawn from the likeliest on: only those of one bucket need an order.
        double target = draw->uniform * held;
        int from = split(among, count, 1, target, &before, &end);
        return walk(among + from, end - from, target - before);
    }
}

// The `top` likeliest ids with their logits, the likeliest first; returns the logarithm of the sum of all exponentials.
double native_likeliest(const float *logits, int vocabulary, int top, Candidate *found) {
    int count = 0;
    float most = -INFINITY;
    for (int i = 0; i < vocabulary; i++) {
        most = logits[i] > most ? logits[i] : most;
        if (!top || (count == top && logits[i] <= found[count - 1].probability)) continue;
        int at = count < top ? count++ : top - 1;
        for (; at > 0 && found[at - 1].probability < logits[i]; at--) found[at] = found[at - 1];
        found[at] = (Candidate){logits[i], i};
    }
    double sum = 0;
    for (int i = 0; i < vocabulary; i++) sum += exp((double)logits[i] - most);
    return most + log(sum);
}
