// Products of a group on NEON with its dot products (from ARMv8.2 on).
#pragma once
#include "../vector.h"

#define KERNELS "neon-dotprod"
#define SPLIT_EXCESS 0

ALWAYS int8x16_t four(const int8_t *p) {
    int32_t x;
    memcpy(&x, p, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(x));
}

ALWAYS void dot_4(const int n, vf found[][PV], const uint8_t *w, const Inputs *const a[]) {
    int32x4_t total[TOGETHER][4];
    UNROLL for (int b = 0; b < n; b++)
        UNROLL for (int p = 0; p < 4; p++) total[b][p] = vdupq_n_s32(a[b]->excess);
    UNROLL for (int j = 0; j < 8; j++) {
        int8x16_t weights[4];
        UNROLL for (int p = 0; p < 4; p++) {
            uint8x16_t both = vld1q_u8(w + 64 * (j / 2) + 16 * p);
            weights[p] = vreinterpretq_s8_u8(j % 2 ? vshrq_n_u8(both, 4) : vandq_u8(both, vdupq_n_u8(15)));
        }
        UNROLL for (int b = 0; b < n; b++) {
            int8x16_t x = four(a[b]->ints + 4 * j);
            UNROLL for (int p = 0; p < 4; p++) {
                total[b][p] = vdotq_s32(total[b][p], weights[p], x);
                PIN(total[b][p]);
            }
        }
    }
    UNROLL for (int b = 0; b < n; b++)
        UNROLL for (int p = 0; p < 4; p++) found[b][p] = vf_from_ints((vi)total[b][p]) * a[b]->factor;
}

ALWAYS void dot_8(const int n, vf found[][PV], const uint8_t *w, const Inputs *const a[]) {
    int32x4_t total[TOGETHER][4];
    UNROLL for (int b = 0; b < n; b++)
        UNROLL for (int p = 0; p < 4; p++) total[b][p] = vdupq_n_s32(0);
    UNROLL for (int j = 0; j < 8; j++) {
        int8x16_t weights[4];
        UNROLL for (int p = 0; p < 4; p++) weights[p] = vreinterpretq_s8_u8(vld1q_u8(w + 64 * j + 16 * p));
        UNROLL for (int b = 0; b < n; b++) {
            int8x16_t x = four(a[b]->ints + 4 * j);
            UNROLL for (int p = 0; p < 4; p++) {
                total[b][p] = vdotq_s32(total[b][p], weights[p], x);
                PIN(total[b][p]);
            }
        }
    }
    UNROLL for (int b = 0; b < n; b++)
        UNROLL for (int p = 0; p < 4; p++) found[b][p] = vf_from_ints((vi)total[b][p]) * a[b]->factor;
}
