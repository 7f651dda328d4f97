// LoRA adapters by row (Hu et al., arXiv:2106.09685): y = W x + B A x, each row with the adapter of its own request or none.
// Sums run in a fixed order, so that a row's numbers depend on its own adapter alone.
#pragma once
#include "native.h"
#include "vector.h"

#define CHAINS 4  // sums side by side, so that none waits for its own last addition

// A x of all parts, one behind the other.
static void lower(const LowRank *parts, const float *x, int columns, float *low) {
    for (int part = 0; part < PARTS; part++) {
        const float *a = parts[part].a;
        for (int panel = 0; panel < parts[part].rank / PANEL; panel++, low += PANEL) {
            vf sums[CHAINS][PV];
            for (int i = 0; i < CHAINS * PV; i++) sums[i / PV][i % PV] = vf_set(0);
            for (int c = 0; c < columns; c += CHAINS, a += CHAINS * PANEL)
                UNROLL for (int i = 0; i < CHAINS; i++)
                    UNROLL for (int p = 0; p < PV; p++)
                        sums[i][p] = vf_fma(vf_load(a + i * PANEL + VW * p), vf_set(x[c + i]), sums[i][p]);
            for (int p = 0; p < PV; p++) vf_store(low + VW * p, (sums[0][p] + sums[1][p]) + (sums[2][p] + sums[3][p]));
        }
    }
}

// B times that, added to the outputs of a row from panel `first` to before `last`.
static void add_low(const LowRank *parts, const float *low, int first, int last, float *out) {
    for (int part = 0; part < PARTS; low += parts[part].rank, part++) {
        const LowRank *of = parts + part;
        int begin = of->first / PANEL, end = begin + of->rows / PANEL;
        for (int panel = first > begin ? first : begin; of->rank && panel < last && panel < end; panel++) {
            const float *b = of->b + (size_t)(panel - begin) * of->rank * PANEL;
            float *to = out + (size_t)panel * PANEL;
            vf sums[PV];
            for (int p = 0; p < PV; p++) sums[p] = vf_load(to + VW * p);
            for (int r = 0; r < of->rank; r++)
                UNROLL for (int p = 0; p < PV; p++)
                    sums[p] = vf_fma(vf_load(b + r * PANEL + VW * p), vf_set(low[r]), sums[p]);
            for (int p = 0; p < PV; p++) vf_store(to + VW * p, sums[p]);
        }
    }
}
