// What a processor's vectors can do, in the few words that the engine needs. Everything else is plain C over these.
//
// A panel is 16 rows of a matrix, side by side in the lanes: VW lanes a vector, PV vectors a panel. A group is 32
// columns that share a scale. Integer sums of a group are exact, so every processor finds the same ones; the sums over
// groups go group by group, however many tokens are computed together: a token's numbers never depend on its company.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512VNNI__) || defined(__AVX2__) || defined(__F16C__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define PANEL 16
#define GROUP 32
#define ALWAYS static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

#if defined(NATIVE_PLAIN)  // the oracle of the tests
#define VW 4
#define PLAIN
#define KERNELS "plain"
#elif defined(__AVX512VNNI__) && defined(__AVX512BW__)
#define VW 16
#define KERNELS "avx512-vnni"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define VW 8
#if defined(__AVXVNNI__)
#define KERNELS "avx-vnni"
#else
#define KERNELS "avx2"
#endif
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_DOTPROD)
#define VW 4
#define KERNELS "neon-dotprod"
#else
#define VW 4
#define PLAIN
#define KERNELS "plain"
#endif
#define PV (PANEL / VW)

typedef float vf __attribute__((vector_size(4 * VW)));
typedef int32_t vi __attribute__((vector_size(4 * VW)));

ALWAYS vf vf_load(const float *p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
ALWAYS void vf_store(float *p, vf v) { memcpy(p, &v, sizeof v); }
ALWAYS vf vf_set(float x) { return x - (vf){0}; }
// The sum of 16 lanes, halves onto halves: the same tree whatever VW is.
ALWAYS float sum_lanes(const vf v[PV]) {
    float lane[PANEL];
    memcpy(lane, v, sizeof lane);
    for (int half = PANEL / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}
ALWAYS float vf_max(vf v) {
    float most = v[0];
    for (int i = 1; i < VW; i++) most = v[i] > most ? v[i] : most;
    return most;
}
ALWAYS vf vf_larger(vf a, vf b) {
    vi pick = a > b;
    return (vf)((pick & (vi)a) | (~pick & (vi)b));
}

ALWAYS float half_to_float(uint16_t half) {
#if defined(__F16C__)
    return _cvtsh_ss(half);
#elif defined(__ARM_NEON)
    __fp16 value;
    memcpy(&value, &half, 2);
    return (float)value;
#else
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff, bits = rest << 13;
    float value;
    memcpy(&value, &bits, 4);
    value *= 0x1p112f;  // moves the exponent's bias from 15 to 127, denormals too
    if (rest >= 0x7c00) value += INFINITY;
    memcpy(&bits, &value, 4);
    bits |= sign;
    memcpy(&value, &bits, 4);
    return value;
#endif
}
ALWAYS uint16_t float_to_half(float value) {
#if defined(__F16C__)
    return _cvtss_sh(value, 0);
#elif defined(__ARM_NEON)
    __fp16 half = (__fp16)value;
    uint16_t bits;
    memcpy(&bits, &half, 2);
    return bits;
#else
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (bits >= 0x47800000) return (uint16_t)(sign | 0x7c00);
    if (bits < 0x38800000) {  // a denormal: let the adder round to nearest, ties to even
        float shifted;
        memcpy(&shifted, &bits, 4);
        shifted += 0.5f;
        memcpy(&bits, &shifted, 4);
        return (uint16_t)(sign | (bits - 0x3f000000));
    }
    bits += 0xfff + (bits >> 13 & 1);
    return (uint16_t)(sign | ((bits - 0x38000000) >> 13));
#endif
}
ALWAYS vf vf_from_halves(const uint16_t *p) {
#if VW == 16
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
#elif VW == 8
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
#else
    vf v;
    for (int i = 0; i < VW; i++) v[i] = half_to_float(p[i]);
    return v;
#endif
}
ALWAYS vf vf_from_bf16(const uint16_t *p) {
    vi bits;
    for (int i = 0; i < VW; i++) bits[i] = (int32_t)((uint32_t)p[i] << 16);
    return (vf)bits;
}
ALWAYS vf vf_from_ints(vi v) { return __builtin_convertvector(v, vf); }

// e to the power of x: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]; relative error below 2e-7 (S. L. Moshier's
// Cephes, expf). Below -87 it is 0 to float32's eyes: the smallest normal number.
ALWAYS vf vf_exp(vf x) {
    x = vf_larger(x, vf_set(-87.0f));
    x = -vf_larger(-x, vf_set(-88.0f));
    vf magic = vf_set(12582912.0f);  // 1.5 * 2^23: adding it rounds to whole numbers
    vf n = (x * 1.44269504088896341f + magic) - magic;
    vf r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vf y = vf_set(1.9875691500e-4f);
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * (r * r) + r + 1.0f;
    vi power = (__builtin_convertvector(n, vi) + 127) << 23;
    return y * (vf)power;
}

// Four bytes in every lane, straight from memory.
#if VW == 16
ALWAYS __m512i four(const int8_t *p) {
    int32_t x;
    memcpy(&x, p, 4);
    return _mm512_set1_epi32(x);
}
#elif VW == 8
ALWAYS __m256i four(const int8_t *p) { return _mm256_castps_si256(_mm256_broadcast_ss((const float *)p)); }
#elif !defined(PLAIN)
ALWAYS int8x16_t four(const int8_t *p) {
    int32_t x;
    memcpy(&x, p, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(x));
}
#endif

// Sums over one group of 4-bit weights: tokens b < n, sum[b][.] the panel's rows, weights less 8 left to the caller.
// Bytes: four times 64, of 16 rows with 4 columns each in the low halves of the bytes and the next 4 in the high ones.
ALWAYS void dot_group_4(const int n, vi sum[][PV], const uint8_t *w, const int8_t *const a[]) {
#if VW == 16
    const __m512i low = _mm512_set1_epi8(15);
    __m512i total[8];
    for (int b = 0; b < n; b++) total[b] = _mm512_setzero_si512();
    for (int j = 0; j < 4; j++) {
        __m512i both = _mm512_loadu_si512(w + 64 * j);
        __m512i first = _mm512_and_si512(both, low), second = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
        for (int b = 0; b < n; b++) {
            total[b] = _mm512_dpbusd_epi32(total[b], first, four(a[b] + 8 * j));
            total[b] = _mm512_dpbusd_epi32(total[b], second, four(a[b] + 8 * j + 4));
        }
    }
    for (int b = 0; b < n; b++) sum[b][0] = (vi)total[b];
#elif VW == 8
    // Low halves first, then high ones: at any time the sums, two vectors of weights and one of activations fit into
    // the 16 registers.
    const __m256i low = _mm256_set1_epi8(15);
    __m256i total[8][2];
    UNROLL for (int b = 0; b < n; b++) total[b][0] = total[b][1] = _mm256_setzero_si256();
    UNROLL for (int j = 0; j < 8; j++) {
        __m256i weights[2];
        UNROLL for (int p = 0; p < 2; p++) {
            weights[p] = _mm256_loadu_si256((const void *)(w + 64 * (j / 2) + 32 * p));
            weights[p] = _mm256_and_si256(j % 2 ? _mm256_srli_epi16(weights[p], 4) : weights[p], low);
        }
        UNROLL for (int b = 0; b < n; b++) {
            __m256i x = four(a[b] + 4 * j);
#if defined(__AVXVNNI__)
            UNROLL for (int p = 0; p < 2; p++) total[b][p] = _mm256_dpbusd_avx_epi32(total[b][p], weights[p], x);
#else
            // 16 bits hold a whole group: 8 times 2 products of at most 15 * 127 are 30,480.
            UNROLL for (int p = 0; p < 2; p++)
                total[b][p] = _mm256_add_epi16(total[b][p], _mm256_maddubs_epi16(weights[p], x));
#endif
        }
    }
    UNROLL for (int b = 0; b < n; b++)
        UNROLL for (int p = 0; p < 2; p++)
#if defined(__AVXVNNI__)
            sum[b][p] = (vi)total[b][p];
#else
            sum[b][p] = (vi)_mm256_madd_epi16(total[b][p], _mm256_set1_epi16(1));
#endif
#elif defined(PLAIN)
    for (int b = 0; b < n; b++) {
        int32_t total[PANEL] = {0};
        for (int j = 0; j < 4; j++)
            for (int r = 0; r < PANEL; r++)
                for (int c = 0; c < 4; c++) {
                    int both = w[64 * j + 4 * r + c];
                    total[r] += (both & 15) * a[b][8 * j + c] + (both >> 4) * a[b][8 * j + 4 + c];
                }
        memcpy(sum[b], total, sizeof total);
    }
#else
    int32x4_t total[8][4];
    for (int b = 0; b < n; b++)
        for (int p = 0; p < 4; p++) total[b][p] = vdupq_n_s32(0);
    for (int j = 0; j < 4; j++)
        for (int p = 0; p < 4; p++) {
            uint8x16_t both = vld1q_u8(w + 64 * j + 16 * p);
            int8x16_t first = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
            int8x16_t second = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
            for (int b = 0; b < n; b++) {
                total[b][p] = vdotq_s32(total[b][p], first, four(a[b] + 8 * j));
                total[b][p] = vdotq_s32(total[b][p], second, four(a[b] + 8 * j + 4));
            }
        }
    for (int b = 0; b < n; b++) memcpy(sum[b], total[b], sizeof total[b]);
#endif
}

// The same over 8-bit weights from -127 to 127. Bytes: eight times 64, of 16 rows with 4 columns each.
// `offset` is what each product of a column's weight has too much, times the group's sum of activations.
#if VW == 16 || defined(__AVXVNNI__)
#define OFFSET_8 128
#else
#define OFFSET_8 0
#endif
ALWAYS void dot_group_8(const int n, vi sum[][PV], const int8_t *w, const int8_t *const a[]) {
#if VW == 16
    const __m512i flip = _mm512_set1_epi8(-128);
    __m512i total[8];
    for (int b = 0; b < n; b++) total[b] = _mm512_setzero_si512();
    for (int j = 0; j < 8; j++) {
        __m512i weights = _mm512_xor_si512(_mm512_loadu_si512(w + 64 * j), flip);
        for (int b = 0; b < n; b++) {
            total[b] = _mm512_dpbusd_epi32(total[b], weights, four(a[b] + 4 * j));
        }
    }
    for (int b = 0; b < n; b++) sum[b][0] = (vi)total[b];
#elif VW == 8
    __m256i total[8][2];
    UNROLL for (int b = 0; b < n; b++) total[b][0] = total[b][1] = _mm256_setzero_si256();
    UNROLL for (int j = 0; j < 8; j++) {
        __m256i weights[2];
        UNROLL for (int p = 0; p < 2; p++) {
            weights[p] = _mm256_loadu_si256((const void *)(w + 64 * j + 32 * p));
#if defined(__AVXVNNI__)
            weights[p] = _mm256_xor_si256(weights[p], _mm256_set1_epi8(-128));
#endif
        }
        UNROLL for (int b = 0; b < n; b++) {
            __m256i x = four(a[b] + 4 * j);
#if defined(__AVXVNNI__)
            UNROLL for (int p = 0; p < 2; p++) total[b][p] = _mm256_dpbusd_avx_epi32(total[b][p], weights[p], x);
#else
            // The first operand has to be unsigned: its sign moves to the other. 2 * 127 * 127 fits into 16 bits.
            __m256i size = _mm256_abs_epi8(x);
            UNROLL for (int p = 0; p < 2; p++) {
                __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(weights[p], x));
                total[b][p] = _mm256_add_epi32(total[b][p], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            }
#endif
        }
    }
    for (int b = 0; b < n; b++)
        for (int p = 0; p < 2; p++) sum[b][p] = (vi)total[b][p];
#elif defined(PLAIN)
    for (int b = 0; b < n; b++) {
        int32_t total[PANEL] = {0};
        for (int j = 0; j < 8; j++)
            for (int r = 0; r < PANEL; r++)
                for (int c = 0; c < 4; c++) total[r] += w[64 * j + 4 * r + c] * a[b][4 * j + c];
        memcpy(sum[b], total, sizeof total);
    }
#else
    int32x4_t total[8][4];
    for (int b = 0; b < n; b++)
        for (int p = 0; p < 4; p++) total[b][p] = vdupq_n_s32(0);
    for (int j = 0; j < 8; j++)
        for (int p = 0; p < 4; p++) {
            int8x16_t weights = vld1q_s8(w + 64 * j + 16 * p);
            for (int b = 0; b < n; b++) {
                total[b][p] = vdotq_s32(total[b][p], weights, four(a[b] + 4 * j));
            }
        }
    for (int b = 0; b < n; b++) memcpy(sum[b], total[b], sizeof total[b]);
#endif
}
