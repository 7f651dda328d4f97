// What a processor's vectors can do, in the few words that the engine needs. Everything else is plain C over these.
//
// A panel is 16 rows of a matrix, side by side in the lanes: VW lanes a vector, PV vectors a panel. Whatever VW is, each
// lane sees the same operations in the same order, so that every processor finds the same numbers to the last bit; the
// compiler may not join a product and a sum (-ffp-contract=off), `vf_fma` says where they are joined.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#define PANEL 16
#define GROUP 32
#define ALWAYS static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

// NATIVE_PLAIN and NATIVE_AVX512 choose for the tests, whatever the compiler has.
#if defined(NATIVE_PLAIN)
#elif defined(NATIVE_AVX512) || (defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__))
#define AVX512
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define AVX2
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_DOTPROD)
#define NEON
#endif

#if defined(AVX512)
#include <immintrin.h>
#define VW 16
#elif defined(AVX2)
#include <immintrin.h>
#define VW 8
#else
#define VW 4
#endif
#if defined(NEON)
#include <arm_neon.h>
#endif
#define PV (PANEL / VW)

typedef float vf __attribute__((vector_size(4 * VW)));
typedef int32_t vi __attribute__((vector_size(4 * VW)));
typedef uint16_t halves __attribute__((vector_size(2 * VW)));

// The compiler keeps what it names in a register and in its turn. Without it GCC first computes all products of a group
// and then sums them up, through memory: a fifth of the speed.
#if defined(AVX512) && defined(__AVX512F__)
#define PIN(v) __asm__ volatile("" : "+v"(v))
#elif defined(AVX2)
#define PIN(v) __asm__ volatile("" : "+x"(v))
#elif defined(NEON)
#define PIN(v) __asm__ volatile("" : "+w"(v))
#else
#define PIN(v) (void)(v)
#endif

ALWAYS vf vf_load(const float *p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
ALWAYS void vf_store(float *p, vf v) { memcpy(p, &v, sizeof v); }
ALWAYS vf vf_set(float x) { return x - (vf){0}; }
ALWAYS vi vi_set(int32_t x) { return x - (vi){0}; }
// a * b + c, rounded once; twice on processors that cannot do it, whose last bits are their own.
ALWAYS vf vf_fma(vf a, vf b, vf c) {
#if defined(AVX512)
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(AVX2)
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(NEON)
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif defined(__FP_FAST_FMAF)
    for (int i = 0; i < VW; i++) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
#else
    return a * b + c;
#endif
}
ALWAYS vi vi_larger(vi a, vi b) {
    vi pick = a > b;
    return (pick & a) | (~pick & b);
}
ALWAYS vf vf_larger(vf a, vf b) {
#if defined(AVX512)
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(AVX2)
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    vi pick = a > b;  // like those above: b where either is no number
    return (vf)((pick & (vi)a) | (~pick & (vi)b));
#endif
}
typedef int32_t quarter_of_ints __attribute__((vector_size(16)));
ALWAYS int32_t vi_max(vi v) {
    quarter_of_ints four[VW / 4];
    memcpy(four, &v, sizeof v);
    for (int i = 1; i < VW / 4; i++) {
        quarter_of_ints pick = four[i] > four[0];
        four[0] = (pick & four[i]) | (~pick & four[0]);
    }
    int32_t a = four[0][0] > four[0][1] ? four[0][0] : four[0][1], b = four[0][2] > four[0][3] ? four[0][2] : four[0][3];
    return a > b ? a : b;
}
ALWAYS int32_t vi_sum(vi v) {
    quarter_of_ints four[VW / 4];
    memcpy(four, &v, sizeof v);
    for (int i = 1; i < VW / 4; i++) four[0] += four[i];
    return (four[0][0] + four[0][1]) + (four[0][2] + four[0][3]);
}
typedef float quarter_of_floats __attribute__((vector_size(16)));
ALWAYS float vf_max(vf v) {
    quarter_of_floats four[VW / 4];
    memcpy(four, &v, sizeof v);
    for (int i = 1; i < VW / 4; i++) {
        quarter_of_ints pick = four[i] > four[0];
        four[0] = (quarter_of_floats)((pick & (quarter_of_ints)four[i]) | (~pick & (quarter_of_ints)four[0]));
    }
    float a = four[0][0] > four[0][1] ? four[0][0] : four[0][1], b = four[0][2] > four[0][3] ? four[0][2] : four[0][3];
    return a > b ? a : b;
}
// The sum of 16 lanes, halves onto halves: the same tree whatever VW is.
ALWAYS float sum_lanes(const vf v[PV]) {
    typedef float eight __attribute__((vector_size(32)));
    eight a, b;
    memcpy(&a, v, 32);
    memcpy(&b, (const char *)v + 32, 32);
    a += b;
    quarter_of_floats c, d;
    memcpy(&c, &a, 16);
    memcpy(&d, (const char *)&a + 16, 16);
    c += d;
    return (c[0] + c[2]) + (c[1] + c[3]);
}

ALWAYS float half_to_float(uint16_t half) {
#if defined(AVX512) || defined(AVX2)
    return _cvtsh_ss(half);
#elif defined(NEON)
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
#if defined(AVX512) || defined(AVX2)
    return _cvtss_sh(value, 0);
#elif defined(NEON)
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
    if (bits >= 0x477ff000) return (uint16_t)(sign | 0x7c00);  // from 65,520 on
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
#if defined(AVX512)
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
#elif defined(AVX2)
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
#elif defined(NEON)
    return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
#else
    vf v;
    for (int i = 0; i < VW; i++) v[i] = half_to_float(p[i]);
    return v;
#endif
}
ALWAYS void vf_to_halves(uint16_t *p, vf v) {
#if defined(AVX512)
    _mm256_storeu_si256((void *)p, _mm512_cvtps_ph((__m512)v, 0));
#elif defined(AVX2)
    _mm_storeu_si128((void *)p, _mm256_cvtps_ph((__m256)v, 0));
#else
    for (int i = 0; i < VW; i++) p[i] = float_to_half(v[i]);
#endif
}
// Numbers from -127 to 127 as bytes. GCC 12 takes them one by one where it is told so in plain C.
ALWAYS void vi_to_bytes(int8_t *p, vi v) {
#if defined(AVX512)
    _mm_storeu_si128((void *)p, _mm512_cvtsepi32_epi8((__m512i)v));
#elif defined(AVX2)
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    _mm_storel_epi64((void *)p, _mm_packs_epi16(words, words));
#else
    for (int i = 0; i < VW; i++) p[i] = (int8_t)v[i];
#endif
}
ALWAYS vf vf_from_bf16(const uint16_t *p) {
    halves words;
    memcpy(&words, p, sizeof words);
    return (vf)(__builtin_convertvector(words, vi) << 16);
}
ALWAYS vf vf_from_ints(vi v) { return __builtin_convertvector(v, vf); }
ALWAYS vi vi_from_bytes(const int8_t *p) {
    typedef int8_t bytes __attribute__((vector_size(VW)));
    bytes v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, vi);
}

// e to the power of x: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]; relative error below 2e-7 (S. L. Moshier's
// Cephes, expf). Below -87 it is 0 to float32's eyes: the smallest normal number.
ALWAYS vf vf_exp(vf x) {
    x = vf_larger(x, vf_set(-87.0f));
    x = -vf_larger(-x, vf_set(-88.0f));
    vf magic = vf_set(12582912.0f);  // 1.5 * 2^23: adding it rounds to whole numbers
    vf n = vf_fma(x, vf_set(1.44269504088896341f), magic) - magic;
    vf r = vf_fma(n, vf_set(-0.693359375f), x);
    r = vf_fma(n, vf_set(2.12194440e-4f), r);
    vf y = vf_set(1.9875691500e-4f);
    y = vf_fma(y, r, vf_set(1.3981999507e-3f));
    y = vf_fma(y, r, vf_set(8.3334519073e-3f));
    y = vf_fma(y, r, vf_set(4.1665795894e-2f));
    y = vf_fma(y, r, vf_set(1.6666665459e-1f));
    y = vf_fma(y, r, vf_set(5.0000001201e-1f));
    y = vf_fma(y, r * r, r) + 1.0f;
    vi power = (__builtin_convertvector(n, vi) + 127) << 23;
    return y * (vf)power;
}
