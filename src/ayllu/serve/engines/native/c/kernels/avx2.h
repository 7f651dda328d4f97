// Products of a group on AVX2, and on AVX-VNNI where the compiler has it.
#pragma once
#include "../vector.h"

#if defined(__AVXVNNI__) || defined(NATIVE_AVXVNNI)
#define KERNELS "avx-vnni"
#define dpbusd _mm256_dpbusd_avx_epi32
#else
#define KERNELS "avx2"
#endif

ALWAYS __m256i four(const int8_t *p) {
    int32_t x;
    memcpy(&x, p, 4);
    return _mm256_set1_epi32(x);
}

#if defined(dpbusd)

#define SPLIT_EXCESS 0
ALWAYS void dot_4(const int n, vf found[][PV], const uint8_t *w, const Inputs *const a[]) {
    const __m256i low = _mm256_set1_epi8(15);
    __m256i total[TOGETHER][2];
    UNROLL for (int b = 0; b < n; b++) total[b][0] = total[b][1] = _mm256_set1_epi32(a[b]->excess);
    UNROLL for (int j = 0; j < 8; j++) {
        __m256i weights[2];
        UNROLL for (int p = 0; p < 2; p++) {
            weights[p] = _mm256_loadu_si256((const void *)(w + 64 * (j / 2) + 32 * p));
            weights[p] = _mm256_and_si256(j % 2 ? _mm256_srli_epi16(weights[p], 4) : weights[p], low);
        }
        UNROLL for (int b = 0; b < n; b++) {
            __m256i x = four(a[b]->ints + 4 * j);
            UNROLL for (int p = 0; p < 2; p++) {
                total[b][p] = dpbusd(total[b][p], weights[p], x);
                PIN(total[b][p]);
            }
        }
    }
    UNROLL for (int b = 0; b < n; b++)
        UNROLL for (int p = 0; p < 2; p++) found[b][p] = vf_from_ints((vi)total[b][p]) * a[b]->factor;
}

ALWAYS void dot_8(const int n, vf found[][PV], const uint8_t *w, const Inputs *const a[]) {
    const __m256i flip = _mm256_set1_epi8(-128);
    __m256i total[TOGETHER][2];
    UNROLL for (int b = 0; b < n; b++) total[b][0] = total[b][1] = _mm256_set1_epi32(a[b]->excess * 16);
    UNROLL for (int j = 0; j < 8; j++) {
        __m256i weights[2];
        UNROLL for (int p = 0; p < 2; p++)
            weights[p] = _mm256_xor_si256(_mm256_loadu_si256((const void *)(w + 64 * j + 32 * p)), flip);
        UNROLL for (int b = 0; b < n; b++) {
            __m256i x = four(a[b]->ints + 4 * j);
            UNROLL for (int p = 0; p < 2; p++) {
                total[b][p] = dpbusd(total[b][p], weights[p], x);
                PIN(total[b][p]);
            }
        }
    }
    UNROLL for (int b = 0; b < n; b++)
        UNROLL for (int p = 0; p < 2; p++) found[b][p] = vf_from_ints((vi)total[b][p]) * a[b]->factor;
}

#else

// Sums of 4-bit weights stay in 16 bits for a whole group: 8 times 2 products of at most 15 * 127 are 30,480. Each of a
// row's two halves starts with its own excess.
#define SPLIT_EXCESS 1
ALWAYS void dot_4(const int n, vf found[][PV], const uint8_t *w, const Inputs *const a[]) {
    const __m256i low = _mm256_set1_epi8(15);
    __m256i total[TOGETHER][2];
    UNROLL for (int b = 0; b < n; b++) total[b][0] = total[b][1] = _mm256_set1_epi32(a[b]->excess);
    // Low halves first, then high ones: at any time the sums, two vectors of weights and one of activations fit into
    // the 16 registers.
    UNROLL for (int j = 0; j < 8; j++) {
        __m256i weights[2];
        UNROLL for (int p = 0; p < 2; p++) {
            weights[p] = _mm256_loadu_si256((const void *)(w + 64 * (j / 2) + 32 * p));
            weights[p] = _mm256_and_si256(j % 2 ? _mm256_srli_epi16(weights[p], 4) : weights[p], low);
        }
        UNROLL for (int b = 0; b < n; b++) {
            __m256i x = four(a[b]->ints + 4 * j);
            UNROLL for (int p = 0; p < 2; p++) {
                total[b][p] = _mm256_add_epi16(total[b][p], _mm256_maddubs_epi16(weights[p], x));
                PIN(total[b][p]);
            }
        }
    }
    const __m256i ones = _mm256_set1_epi16(1);
    UNROLL for (int b = 0; b < n; b++)
        UNROLL for (int p = 0; p < 2; p++) found[b][p] = vf_from_ints((vi)_mm256_madd_epi16(total[b][p], ones)) * a[b]->factor;
}

ALWAYS void dot_8(const int n, vf found[][PV], const uint8_t *w, const Inputs *const a[]) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i total[TOGETHER][2];
    UNROLL for (int b = 0; b < n; b++) total[b][0] = total[b][1] = _mm256_setzero_si256();
    UNROLL for (int j = 0; j < 8; j++) {
        __m256i weights[2];
        UNROLL for (int p = 0; p < 2; p++) weights[p] = _mm256_loadu_si256((const void *)(w + 64 * j + 32 * p));
        UNROLL for (int b = 0; b < n; b++) {
            // The first operand has to be unsigned: its sign moves to the other. 2 * 127 * 127 fits into 16 bits.
            __m256i x = four(a[b]->ints + 4 * j), size = _mm256_abs_epi8(x);
            UNROLL for (int p = 0; p < 2; p++) {
                __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(weights[p], x));
                total[b][p] = _mm256_add_epi32(total[b][p], _mm256_madd_epi16(pairs, ones));
                PIN(total[b][p]);
            }
        }
    }
    UNROLL for (int b = 0; b < n; b++)
        UNROLL for (int p = 0; p < 2; p++) found[b][p] = vf_from_ints((vi)total[b][p]) * a[b]->factor;
}

#endif
