// Products of 16 rows at a time on AMX: 16 x 32 activations times the 32 x 16 weights of a group, which lie in a panel as
// the processor wants them. Whole numbers, so that they are those of all other kernels.
#pragma once
#include <sys/syscall.h>
#include <unistd.h>

#include "../vector.h"

#define TILED
#define LEAST_TILED 8  // rows for which a tile is faster than VNNI, whole or not: it takes as long as 8 of them
#define WIDEST_TILED 16384  // columns: a panel of so many, in 8 bits, takes 256 KiB of a thread's stack
#define BETWEEN __asm__ volatile("" ::: "memory")  // GCC does not know that a tile is loaded from memory

// Whether the system keeps tiles for this process: Linux does for those that ask.
static int have_tiles(void) {
    const int request = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, request, tile_data) == 0;
}

// Tiles 0 and 1 hold sums, 4 and 5 activations, 6 and 7 weights.
static void tiles_begin(void) {
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) {
        shape.bytes[tile] = tile == 4 || tile == 5 ? GROUP : 4 * PANEL;
        shape.rows[tile] = tile >= 6 ? GROUP / 4 : TILE_ROWS;
    }
    _tile_loadconfig(&shape);
}

static void tiles_end(void) { _tile_release(); }

// The weights of a panel, and how far its groups are apart.
typedef struct {
    const uint8_t *ints, *scales;
    size_t ints_step, scales_step;
} Panel;

// A panel of 4-bit weights as 8-bit ones in `room`, GROUP x PANEL bytes to a group; others as they are.
ALWAYS Panel tile_panel(const Matrix *m, const uint8_t *w, uint8_t *room) {
    size_t step = group_bytes(m->bits), ints = step - PANEL * 2;
    if (m->bits == 8) return (Panel){w, w + ints, step, step};
    const __m512i low = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
    for (int g = 0; g < m->columns / GROUP; g++)
        UNROLL for (int j = 0; j < 4; j++) {
            __m512i both = _mm512_loadu_si512(w + g * step + 64 * j), high = _mm512_srli_epi16(both, 4);
            uint8_t *to = room + g * GROUP * PANEL + 128 * j;
            __builtin_prefetch(w + g * step + 64 * j + AHEAD);
            _mm512_storeu_si512(to, _mm512_sub_epi8(_mm512_and_si512(both, low), eight));
            _mm512_storeu_si512(to + 64, _mm512_sub_epi8(_mm512_and_si512(high, low), eight));
        }
    return (Panel){room, w + ints, GROUP * PANEL, step};
}

typedef int32_t Sums[TILE_ROWS][PANEL];

// Whole-number sums of a group; `odd` ones use other tiles, so that two can be under way.
ALWAYS void tile_group(const int odd, const Panel *panel, int g, const Block *block, Sums found) {
    const uint8_t *ints = panel->ints + g * panel->ints_step;
    BETWEEN;
    if (odd) {
        _tile_loadd(5, block[g].ints, GROUP);
        _tile_loadd(7, ints, 4 * PANEL);
        _tile_zero(1);
        _tile_dpbssd(1, 5, 7);
        _tile_stored(1, found, 4 * PANEL);
    } else {
        _tile_loadd(4, block[g].ints, GROUP);
        _tile_loadd(6, ints, 4 * PANEL);
        _tile_zero(0);
        _tile_dpbssd(0, 4, 6);
        _tile_stored(0, found, 4 * PANEL);
    }
    BETWEEN;
}

ALWAYS void tile_add(const Panel *panel, int g, const Block *block, Sums found, vf sums[TILE_ROWS]) {
    vf scale = vf_from_halves((const uint16_t *)(panel->scales + g * panel->scales_step));
    UNROLL for (int b = 0; b < TILE_ROWS; b++) {
        vi total;
        memcpy(&total, found[b], sizeof total);
        sums[b] = vf_fma(vf_from_ints(total) * block[g].factors[b], scale, sums[b]);
        PIN(sums[b]);
    }
}

// One panel times a block of rows: `sums` gets 16 numbers of each. A group's whole numbers are made
// before those of the group before are read: what a tile stored cannot be read before it is in the cache.
ALWAYS void tile_ints(const Panel *panel, int groups, const Block *block, vf sums[TILE_ROWS]) {
    __attribute__((aligned(64))) Sums even, odd;
    UNROLL for (int b = 0; b < TILE_ROWS; b++) sums[b] = vf_set(0);
    tile_group(0, panel, 0, block, even);
    for (int g = 0; g < groups; g += 2) {
        if (g + 1 < groups) tile_group(1, panel, g + 1, block, odd);
        tile_add(panel, g, block, even, sums);
        if (g + 2 < groups) tile_group(0, panel, g + 2, block, even);
        if (g + 1 < groups) tile_add(panel, g + 1, block, odd, sums);
    }
}
