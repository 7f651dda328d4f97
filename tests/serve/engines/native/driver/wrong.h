// Instructions that find something else than they should.
#pragma once
#if defined(__x86_64__)
#include <immintrin.h>
#define _mm256_maddubs_epi16(a, b) _mm256_add_epi8(a, b)
#define _mm256_dpbusd_avx_epi32(sum, a, b) _mm256_add_epi8(a, b)
#define _mm512_dpbusd_epi32(sum, a, b) _mm512_add_epi8(a, b)
#else
#include <arm_neon.h>
#define vdotq_s32(sum, a, b) vaddq_s32(sum, vreinterpretq_s32_s8(vaddq_s8(a, b)))
#endif
