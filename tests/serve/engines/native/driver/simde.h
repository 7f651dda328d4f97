// The intrinsics of AVX-512 and AVX-VNNI in plain C, from SIMDe (MIT), where the compiler has none of them.
#pragma once
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#undef _mm256_dpbusd_avx_epi32
#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32

// What SIMDe 0.7.4 lacks, from halves.
static inline simde__m512 halves_to_floats(simde__m256i halves) {
    simde__m512_private both;
    both.m256[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
    both.m256[1] = _mm256_cvtph_ps(_mm256_extractf128_si256(halves, 1));
    return simde__m512_from_private(both);
}
static inline simde__m256i floats_to_halves(simde__m512 floats) {
    simde__m512_private both = simde__m512_to_private(floats);
    return _mm256_set_m128i(_mm256_cvtps_ph(both.m256[1], 0), _mm256_cvtps_ph(both.m256[0], 0));
}
#undef _mm512_cvtph_ps
#undef _mm512_cvtps_ph
#define _mm512_cvtph_ps halves_to_floats
#define _mm512_cvtps_ph(floats, rounding) floats_to_halves(floats)
