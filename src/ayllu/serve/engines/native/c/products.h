// Matrices times rows of activations: the panels that hold the weights, the 8-bit form of the activations, and the sums.
//
// Integer sums of a group are exact, so every processor finds the same ones; the sums over groups go group by group,
// however many tokens are computed together: a token's numbers never depend on its company.
#pragma once
#include "native.h"
#include "vector.h"

#if defined(NATIVE_PLAIN)
#define TOGETHER 1
#else
#define TOGETHER 4  // rows whose sums one pass over a panel keeps in registers
#endif
#define TILE_ROWS 16
#define CHUNK 64  // rows that a pass over the panels takes
#define LEAST_SIZE 1e-36f  // of a group: 127 divided by it is still a float32
#define AHEAD 1024    // bytes: the processor itself looks ahead only to the end of a page of 4 KiB, and that late

// A group of a row of activations, x = ints * factor. Whatever is summed within a group is a whole number below 2^24, so
// that float32 holds it as it is.
typedef struct {
    int8_t ints[GROUP];
    int32_t excess;  // what makes up for 4-bit weights that are stored 8 too large: -8 times the sum of the ints
    float factor;
} Inputs;

// The same group of TILE_ROWS rows, where a processor multiplies so many at once.
typedef struct {
    int8_t ints[TILE_ROWS][GROUP];
    float factors[TILE_ROWS];
} Block;

// Activations as the products want them: T rows in 8 bits, or float32 for 16-bit weights.
typedef struct {
    Inputs *groups;
    Block *blocks;  // NULL where nothing reads them
    float *floats;
    float *low;  // of the rows' adapters; NULL without any
} Activations;

static size_t group_bytes(int bits) { return bits == 16 ? GROUP * PANEL * 2 : (size_t)GROUP * PANEL * bits / 8 + PANEL * 2; }

#if defined(AVX512)
#include "kernels/avx512.h"
#if defined(__AMX_INT8__) && defined(__linux__)
#include "kernels/amx.h"
#endif
#elif defined(AVX2)
#include "kernels/avx2.h"
#elif defined(NEON)
#include "kernels/neon.h"
#else
#include "kernels/plain.h"
#endif

#if !defined(PANELS_TOGETHER)
#define PANELS_TOGETHER 1
#define dots_4(n, m, found, w, apart, a) dot_4(n, found, w, a)
#define dots_8(n, m, found, w, apart, a) dot_8(n, found, w, a)
#endif

static size_t panel_bytes(const Matrix *m) { return (size_t)(m->columns / GROUP) * group_bytes(m->bits); }

// m panels, `apart` bytes apart, times n rows: out[i * n + b] gets 16 numbers.
ALWAYS void panel_ints(const int n, const int m, const int bits, const uint8_t *w, size_t apart, int groups, const Inputs *in,
                       vf out[][PV]) {
    const int step = GROUP * PANEL * bits / 8;
    const size_t ahead = m > 1 ? m * apart : AHEAD;  // what a panel reads next is not behind it, but behind the last
    const Inputs *a[TOGETHER];
    UNROLL for (int b = 0; b < n; b++) a[b] = in + (size_t)b * groups;
    UNROLL for (int i = 0; i < m * n; i++)
        UNROLL for (int p = 0; p < PV; p++) out[i][p] = vf_set(0);
    for (int g = 0; g < groups; g++, w += step + PANEL * 2) {
        UNROLL for (int i = 0; i < m; i++)
            UNROLL for (int line = 0; line < step; line += 64) __builtin_prefetch(w + i * apart + ahead + line);
        vf found[PANELS_TOGETHER * TOGETHER][PV];
        if (bits == 4)
            dots_4(n, m, found, w, apart, a);
        else
            dots_8(n, m, found, w, apart, a);
        UNROLL for (int i = 0; i < m; i++)
            UNROLL for (int p = 0; p < PV; p++) {
                vf scale = vf_from_halves((const uint16_t *)(w + i * apart + step) + VW * p);
                UNROLL for (int b = 0; b < n; b++) out[i * n + b][p] = vf_fma(found[i * n + b][p], scale, out[i * n + b][p]);
            }
        UNROLL for (int b = 0; b < n; b++) {
            a[b]++;
            __asm__("" : "+r"(a[b]));  // one register a row, and not one for each of its columns
        }
    }
}

ALWAYS void panel_floats(const int n, const uint8_t *w, int columns, const float *in, vf out[][PV]) {
    const uint16_t *weights = (const uint16_t *)w;
    UNROLL for (int b = 0; b < n; b++)
        UNROLL for (int p = 0; p < PV; p++) out[b][p] = vf_set(0);
    for (int c = 0; c < columns; c++, weights += PANEL) {
        vf weight[PV];
        UNROLL for (int p = 0; p < PV; p++) weight[p] = vf_from_bf16(weights + VW * p);
        UNROLL for (int b = 0; b < n; b++) {
            vf x = vf_set(in[(size_t)b * columns + c]);
            UNROLL for (int p = 0; p < PV; p++) {
                out[b][p] = vf_fma(weight[p], x, out[b][p]);
                PIN(out[b][p]);
            }
        }
    }
}

// `n` rows from `row` on, times m panels; `out` (rows, width) gets 16 numbers of each, or has them added.
ALWAYS void panel_times(const int n, const int m, const Matrix *of, const uint8_t *w, const Activations *in, int row, float *out,
                        int width, int add) {
    vf sums[PANELS_TOGETHER * TOGETHER][PV];
    int groups = of->columns / GROUP;
    size_t apart = panel_bytes(of);
    if (of->bits == 16)
        UNROLL for (int i = 0; i < m; i++)
            panel_floats(n, w + i * apart, of->columns, in->floats + (size_t)row * of->columns, sums + i * n);
    else if (of->bits == 8)
        panel_ints(n, m, 8, w, apart, groups, in->groups + (size_t)row * groups, sums);
    else
        panel_ints(n, m, 4, w, apart, groups, in->groups + (size_t)row * groups, sums);
    for (int b = 0; b < n; b++) {
        float *to = out + (size_t)(row + b) * width;
        for (int i = 0; i < m; i++, to += PANEL)
            for (int p = 0; p < PV; p++) {
                vf sum = sums[i * n + b][p];
                vf_store(to + VW * p, add ? vf_load(to + VW * p) + sum : sum);
            }
    }
}

#if defined(TILED)
// A panel times the rows from `row` to before `last` that fill tiles or most of one; the first that is left.
static int panel_tiles(const Matrix *m, const uint8_t *w, const Activations *in, int row, int last, float *out, int width, int add) {
    int groups = m->columns / GROUP;
    uint8_t room[(m->bits == 4 ? groups * GROUP * PANEL : 0) + 64];
    Panel panel = tile_panel(m, w, room + (-(uintptr_t)room & 63));
    for (; last - row >= LEAST_TILED; row += TILE_ROWS) {
        vf sums[TILE_ROWS];
        tile_ints(&panel, groups, in->blocks + (size_t)(row / TILE_ROWS) * groups, sums);
        UNROLL for (int b = 0; b < TILE_ROWS; b++) {
            if (row + b == last) break;
            float *to = out + (size_t)(row + b) * width;
            vf_store(to, add ? vf_load(to) + sums[b] : sums[b]);
        }
    }
    return row;
}
#endif

// m panels times the rows from `row` to before `rows`.
ALWAYS void panel_times_rows(const int m, const Matrix *of, const uint8_t *w, const Activations *in, int row, int rows, float *to,
                             int width, int add) {
    for (; row + TOGETHER <= rows; row += TOGETHER) panel_times(TOGETHER, m, of, w, in, row, to, width, add);
#if TOGETHER == 4
    switch (rows - row) {
        case 3: panel_times(3, m, of, w, in, row, to, width, add); break;
        case 2: panel_times(2, m, of, w, in, row, to, width, add); break;
        case 1: panel_times(1, m, of, w, in, row, to, width, add); break;
    }
#endif
}

// Panels from `first` to before `last`, times rows.
static void panels_times_rows(const Matrix *m, int first, int last, const Activations *in, int from, int rows, float *out, int width,
                              int add) {
    size_t bytes = panel_bytes(m);
    for (int panel = first, count; panel < last; panel += count) {
        const uint8_t *w = m->data + panel * bytes;
        float *to = out + panel * PANEL;
        int row = from;
        count = 1;
#if defined(TILED)
        if (in->blocks && m->bits < 16 && m->columns <= WIDEST_TILED && rows - row >= LEAST_TILED)
            row = panel_tiles(m, w, in, row, rows, to, width, add);
#endif
        if (row == from && rows - row >= TOGETHER && panel + PANELS_TOGETHER <= last) {
            count = PANELS_TOGETHER;
            panel_times_rows(PANELS_TOGETHER, m, w, in, row, rows, to, width, add);
        } else {
            panel_times_rows(1, m, w, in, row, rows, to, width, add);
        }
    }
}

// The same for all rows, so many at a time that the nearest caches hold what is read and written of them.
static void panels_times(const Matrix *m, int first, int last, const Activations *in, int rows, float *out, int width, int add) {
#if defined(TILED)
    if (in->blocks) tiles_begin();
#endif
    for (int row = 0; row < rows; row += CHUNK)
        panels_times_rows(m, first, last, in, row, rows < row + CHUNK ? rows : row + CHUNK, out, width, add);
#if defined(TILED)
    if (in->blocks) tiles_end();
#endif
}

// -8 times the sum of a group; or of each half of every four of its numbers, for sums that are kept in 16 bits.
ALWAYS int32_t excess_of(const int8_t *ints) {
#if SPLIT_EXCESS
    int first = 0, second = 0;
    for (int i = 0; i < GROUP; i += 4) {
        first += ints[i] + ints[i + 1];
        second += ints[i + 2] + ints[i + 3];
    }
    return (int32_t)((uint32_t)(-8 * first) & 0xffff) | (int32_t)((uint32_t)(-8 * second) << 16);
#else
    vi total = vi_set(0);
    UNROLL for (int i = 0; i < GROUP; i += VW) total += vi_from_bytes(ints + i);
    return -8 * vi_sum(total);
#endif
}

// The largest size of numbers, as the bits of a float32: so compared, what is no number is the largest of all.
ALWAYS int32_t largest_bits(const float *from, int count) {
    vi most = vi_set(0);
    for (int i = 0; i < count; i += VW) {
        vi bits;
        memcpy(&bits, from + i, sizeof bits);
        most = vi_larger(most, bits & 0x7fffffff);
    }
    return vi_max(most);
}

// Numbers as whole ones of 8 bits, the largest 127; gives what they are to be multiplied by. `count` is a multiple of VW.
ALWAYS float in_bytes(const float *from, int count, int8_t *ints) {
    float most;
    int32_t size = largest_bits(from, count);
    memcpy(&most, &size, 4);
    // Where the size is no number the factor is none either, and what is too small to be told from 0 is 0.
    float inverse = most >= LEAST_SIZE && most <= 3.402823466e38f ? 127 / most : 0;
    for (int i = 0; i < count; i += VW) {
        vf shifted = vf_load(from + i) * inverse + 12582912.0f;  // rounds to nearest, ties to even
        vi_to_bytes(ints + i, (vi)shifted - 0x4b400000);         // the bits of 12582912
    }
    return most < LEAST_SIZE ? 0 : most / 127;
}

// A row of activations for products with `bits` weights: 8 bits, the largest of a group up to 127; or as it is.
static void prepare(const float *from, int columns, int bits, Activations *to, int row) {
    if (bits == 16) {
        memcpy(to->floats + (size_t)row * columns, from, sizeof(float) * (size_t)columns);
        return;
    }
    int groups = columns / GROUP;
    Inputs *in = to->groups + (size_t)row * groups;
    for (int g = 0; g < groups; g++, from += GROUP, in++) {
        in->factor = in_bytes(from, GROUP, in->ints);
        in->excess = excess_of(in->ints);
        if (to->blocks) {
            Block *block = to->blocks + (size_t)(row / TILE_ROWS) * groups + g;
            memcpy(block->ints[row % TILE_ROWS], in->ints, GROUP);
            block->factors[row % TILE_ROWS] = in->factor;
        }
    }
}
