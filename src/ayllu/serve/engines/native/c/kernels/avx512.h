// Products of a group on AVX-512 VNNI.
#pragma once
#include "../vector.h"

#define KERNELS "avx512-vnni"
#define SPLIT_EXCESS 0

ALWAYS __m512i four(const int8_t *p) {
    int32_t x;
    memcpy(&x, p, 4);
    return _mm512_set1_epi32(x);
}

// Of m panels that are `apart` bytes apart; found[i * n + b] is panel i's of row b. With one panel and four rows a sum
// would wait for its own last addition: two panels keep twice as many under way, and share what is loaded of a row.
#define PANELS_TOGETHER 2
ALWAYS void finish(const int n, const int m, vf found[][PV], const __m512i *total, const Inputs *const a[]) {
    UNROLL for (int b = 0; b < n; b++)
        UNROLL for (int i = 0; i < m; i++) found[i * n + b][0] = vf_from_ints((vi)total[i * n + b]) * a[b]->factor;
}

ALWAYS void dots_4(const int n, const int m, vf found[][PV], const uint8_t *w, size_t apart, const Inputs *const a[]) {
    const __m512i low = _mm512_set1_epi8(15);
    __m512i total[PANELS_TOGETHER * TOGETHER], weights[PANELS_TOGETHER];
    UNROLL for (int i = 0; i < m * n; i++) total[i] = _mm512_set1_epi32(a[i % n]->excess);
    UNROLL for (int j = 0; j < 8; j++) {
        UNROLL for (int i = 0; i < m; i++) {
            weights[i] = _mm512_loadu_si512(w + i * apart + 64 * (j / 2));
            weights[i] = _mm512_and_si512(j % 2 ? _mm512_srli_epi16(weights[i], 4) : weights[i], low);
        }
        UNROLL for (int b = 0; b < n; b++) {
            __m512i x = four(a[b]->ints + 4 * j);
            UNROLL for (int i = 0; i < m; i++) {
                total[i * n + b] = _mm512_dpbusd_epi32(total[i * n + b], weights[i], x);
                PIN(total[i * n + b]);
            }
        }
    }
    finish(n, m, found, total, a);
}

ALWAYS void dots_8(const int n, const int m, vf found[][PV], const uint8_t *w, size_t apart, const Inputs *const a[]) {
    const __m512i flip = _mm512_set1_epi8(-128);
    __m512i total[PANELS_TOGETHER * TOGETHER], weights[PANELS_TOGETHER];
    UNROLL for (int i = 0; i < m * n; i++) total[i] = _mm512_set1_epi32(a[i % n]->excess * 16);
    UNROLL for (int j = 0; j < 8; j++) {
        UNROLL for (int i = 0; i < m; i++) weights[i] = _mm512_xor_si512(_mm512_loadu_si512(w + i * apart + 64 * j), flip);
        UNROLL for (int b = 0; b < n; b++) {
            __m512i x = four(a[b]->ints + 4 * j);
            UNROLL for (int i = 0; i < m; i++) {
                total[i * n + b] = _mm512_dpbusd_epi32(total[i * n + b], weights[i], x);
                PIN(total[i * n + b]);
            }
        }
    }
    finish(n, m, found, total, a);
}
