// As many numbers at a time as one register of the processor holds.
//
// A *word* is 32 bits of activations as products read them: one float32, or two bfloat16 side by side.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define ALWAYS static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

// VW numbers a register. A tile's sums stay in registers: TILE_ROWS rows of activations times TILE_VECTORS vectors of
// columns, beside which there must be room for the columns and for one activation.
#define TILE_ROWS 6
#if defined(__AVX512F__)
#define VW 16
#define TILE_VECTORS 4
#define COUNTING {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
#elif defined(__AVX__)
#define VW 8
#define TILE_VECTORS 2
#define COUNTING {0, 1, 2, 3, 4, 5, 6, 7}
#else
#define VW 4
#define TILE_VECTORS 2
#define COUNTING {0, 1, 2, 3}
#endif
#if defined(__x86_64__)
#define PIN(v) __asm__ volatile("" : "+v"(v))
#elif defined(__aarch64__)
#define PIN(v) __asm__ volatile("" : "+w"(v))
#else
#define PIN(v) (void)(v)
#endif

typedef float vf __attribute__((vector_size(4 * VW)));
typedef int32_t vi __attribute__((vector_size(4 * VW)));
typedef uint32_t vu __attribute__((vector_size(4 * VW)));
typedef uint16_t vh __attribute__((vector_size(2 * VW)));
typedef uint16_t bf16;

#define LANES_FROM(n) (((vi)COUNTING + (n)) % VW)
ALWAYS vf vf_set(float x) { return x - (vf){0}; }
ALWAYS vf vf_larger(vf a, vf b) {
    vi pick = a > b;
    return (vf)((pick & (vi)a) | (~pick & (vi)b));
}
ALWAYS vu words_load(const void *p) {
    vu v;
    memcpy(&v, p, sizeof v);
    return v;
}
ALWAYS void words_store(void *p, vu v) { memcpy(p, &v, sizeof v); }

ALWAYS vf load_float(const float *p) { return (vf)words_load(p); }
ALWAYS void store_float(float *p, vf v) { words_store(p, (vu)v); }
ALWAYS vu widened(const bf16 *p) {
    vh v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, vu);
}
ALWAYS vf load_bf16(const bf16 *p) { return (vf)(widened(p) << 16); }
// To the nearest, of two as near to the even one.
ALWAYS void store_bf16(bf16 *p, vf v) {
#if defined(__AVX512BF16__)
    __m256bh halves = _mm512_cvtneps_pbh((__m512)v);
    memcpy(p, &halves, sizeof halves);
#else
    vu bits = (vu)v, rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    vi number = v == v;
    vh halves = __builtin_convertvector((rounded & (vu)number) | (~(vu)number & 0x7fc0), vh);
    memcpy(p, &halves, sizeof halves);
#endif
}

ALWAYS float number_float(float x) { return x; }
ALWAYS float number_bf16(bf16 x) {
    uint32_t bits = (uint32_t)x << 16;
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

// sum + a * b, of the two numbers of each word, or of its one.
ALWAYS vf dot_float(vf sum, vu a, vu b) {
#if defined(__AVX512F__)
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)sum);
#else
    return sum + (vf)a * (vf)b;
#endif
}
ALWAYS vf dot_bf16(vf sum, vu a, vu b) {
#if defined(__AVX512BF16__)
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    const uint32_t high = 0xffff0000;
    return dot_float(dot_float(sum, a << 16, b << 16), a & high, b & high);
#endif
}

// Of all lanes, halves onto halves.
ALWAYS float lanes_sum(vf v) {
    UNROLL for (int half = VW / 2; half; half /= 2) v += __builtin_shuffle(v, LANES_FROM(half));
    return v[0];
}
ALWAYS float lanes_max(vf v) {
    UNROLL for (int half = VW / 2; half; half /= 2) v = vf_larger(__builtin_shuffle(v, LANES_FROM(half)), v);
    return v[0];
}

// e to the power of x, at most 0: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]; relative error below 2e-7
// (S. L. Moshier's Cephes, expf). Below -87 it is 0; what is no number stays none.
ALWAYS vf vf_exp(vf x) {
    vi there = (x >= -87.0f) | (x != x);
    vf magic = vf_set(12582912.0f);  // 1.5 * 2^23: adding it rounds to whole numbers
    vf bounded = vf_larger(vf_set(-87.0f), x);
    vf n = (bounded * 1.44269504088896341f + magic) - magic;
    vf r = bounded - n * 0.693359375f + n * 2.12194440e-4f;
    vf y = vf_set(1.9875691500e-4f);
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * (r * r) + r + 1.0f;
    vi power = (__builtin_convertvector(n, vi) + 127) << 23;
    return (vf)((vi)(y * (vf)power) & there);
}
