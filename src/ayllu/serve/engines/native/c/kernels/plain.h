// Products of a group in plain C: the oracle of the tests, and what serves where a processor has nothing better.
#pragma once
#include "../vector.h"

#define KERNELS "plain"
#define SPLIT_EXCESS 0

ALWAYS void dot_4(const int n, vf found[][PV], const uint8_t *w, const Inputs *const a[]) {
    for (int b = 0; b < n; b++) {
        int32_t total[PANEL] = {0};
        float sums[PANEL];
        for (int j = 0; j < 4; j++)
            for (int r = 0; r < PANEL; r++)
                for (int c = 0; c < 4; c++) {
                    int both = w[64 * j + 4 * r + c];
                    total[r] += (both & 15) * a[b]->ints[8 * j + c] + (both >> 4) * a[b]->ints[8 * j + 4 + c];
                }
        for (int r = 0; r < PANEL; r++) sums[r] = (float)(total[r] + a[b]->excess) * a[b]->factor;
        memcpy(found[b], sums, sizeof sums);
    }
}

ALWAYS void dot_8(const int n, vf found[][PV], const uint8_t *w, const Inputs *const a[]) {
    for (int b = 0; b < n; b++) {
        int32_t total[PANEL] = {0};
        float sums[PANEL];
        for (int j = 0; j < 8; j++)
            for (int r = 0; r < PANEL; r++)
                for (int c = 0; c < 4; c++) total[r] += (int8_t)w[64 * j + 4 * r + c] * a[b]->ints[4 * j + c];
        for (int r = 0; r < PANEL; r++) sums[r] = (float)total[r] * a[b]->factor;
        memcpy(found[b], sums, sizeof sums);
    }
}
