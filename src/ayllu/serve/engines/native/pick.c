// Drawing the next token, as `ayllu.model.generate.pick` does: repetition penalty, temperature, the k likeliest, the nucleus.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vector.h"

#define COLDEST 1e-3f

typedef struct {
    float temperature, top_p, penalty;
    int top_k;
    double uniform;  // from 0 to below 1: decides the draw
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

// `logits` is changed; `seen` are the ids so far, `among` has room for all. Returns the id that is drawn, or -1 where the
// logits are no numbers to draw from.
int native_pick(float *logits, int vocabulary, const int32_t *seen, int seen_count, const Draw *draw, Candidate *among) {
    if (draw->penalty != 1) {
        uint8_t *done = memset(among, 0, (size_t)vocabulary);  // has its room, and is needed only later
        for (int i = 0; i < seen_count; i++) {
            int id = seen[i];
            if (done[id]) continue;
            done[id] = 1;
            logits[id] = logits[id] > 0 ? logits[id] / draw->penalty : logits[id] * draw->penalty;
        }
    }
    int first = 0, numbers = 1;
    for (int i = 0; i < vocabulary; i++) {
        if (logits[i] > logits[first]) first = i;
        numbers &= !isnan(logits[i]);
    }
    if (!numbers || !isfinite(logits[first])) return -1;
    if (draw->temperature < COLDEST) return first;
    float most = logits[first];
    double total = 0;
    for (int i = 0; i < vocabulary; i++) {
        logits[i] = expf((logits[i] - most) / draw->temperature);
        total += logits[i];
    }
    int plain = draw->top_p >= 1 && draw->top_k == 0, needed = draw->top_k ? draw->top_k : vocabulary;
    // Few tokens matter, so only the likely ones are sorted: more of them where those are not enough.
    for (float cut = plain ? 0 : 1e-3f;; cut = cut > 1e-9f ? cut * 1e-3f : 0) {
        int count = 0;
        double held = 0;
        for (int i = 0; i < vocabulary; i++)
            if (logits[i] >= cut) {
                among[count++] = (Candidate){logits[i], i};
                held += logits[i];
            }
        int enough = cut == 0 || count >= needed || (draw->top_k == 0 && held >= draw->top_p * total);
        if (!enough) continue;
        if (plain) return walk(among, count, draw->uniform * total);
        qsort(among, (size_t)count, sizeof *among, likelier);
        if (draw->top_k && count > draw->top_k) count = draw->top_k;
        if (draw->top_k) {
            total = 0;
            for (int i = 0; i < count; i++) total += among[i].probability;
        }
        int kept = 1;
        double sum = among[0].probability;
        while (kept < count && sum < draw->top_p * total) sum += among[kept++].probability;
        return walk(among, kept, draw->uniform * sum);
    }
}
