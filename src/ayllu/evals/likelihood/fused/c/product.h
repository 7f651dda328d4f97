// Products with weights in bfloat16, for processors that multiply pairs of them: each row of activations times panels of
// PANEL outputs, which lie packed: of each pair of inputs the words of all outputs of a panel side by side.
//
// A panel is read once for every TILE_ROWS rows, in order, so that it comes from the second cache without waiting; the
// sums of a tile stay in registers from the first input to the last. A row's numbers do not depend on the rows beside it.
#define PANEL (TILE_VECTORS * VW)

ALWAYS void times_panel(const bf16 *in, const uint32_t *panel, int inputs, int outputs, int count, bf16 *out) {
    vf sums[TILE_ROWS][TILE_VECTORS];
    UNROLL for (int r = 0; r < TILE_ROWS; r++) UNROLL for (int v = 0; v < TILE_VECTORS; v++) sums[r][v] = vf_set(0);
    for (int k = 0; k < inputs / 2; k++) {
        vu columns[TILE_VECTORS];
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) columns[v] = words_load(panel + (size_t)k * PANEL + v * VW);
        UNROLL for (int r = 0; r < TILE_ROWS; r++) {
            vu row = ((const uint32_t *)in)[(size_t)r * (inputs / 2) + k] - (vu){0};
            UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
                sums[r][v] = dot_bf16(sums[r][v], row, columns[v]);
                PIN(sums[r][v]);
            }
        }
    }
    UNROLL for (int r = 0; r < TILE_ROWS; r++) {
        bf16 line[PANEL], *to = out + (size_t)r * outputs;
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) store_bf16((count == PANEL ? to : line) + v * VW, sums[r][v]);
        if (count < PANEL) memcpy(to, line, sizeof(bf16) * (size_t)count);
    }
}

// out (rows, outputs) = in (rows, inputs) times all panels. At least TILE_ROWS rows; the last tile may do some again.
void fused_times_bf16(const bf16 *in, int rows, int inputs, const uint32_t *panels, int outputs, bf16 *out) {
    for (int first = 0; first < outputs; first += PANEL) {
        const uint32_t *panel = panels + (size_t)first * (inputs / 2);
        int count = outputs - first < PANEL ? outputs - first : PANEL;
        for (int row = 0; row < rows; row += TILE_ROWS) {
            int from = row + TILE_ROWS > rows ? rows - TILE_ROWS : row;
            times_panel(in + (size_t)from * inputs, panel, inputs, outputs, count, out + (size_t)from * outputs + first);
        }
    }
}

// Fewest rows of a product; 0 where others do them faster: without such instructions, or with those for whole tiles.
int fused_least_rows(void) {
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
    return TILE_ROWS;
#else
    return 0;
#endif
}
int fused_panel(void) { return PANEL; }
