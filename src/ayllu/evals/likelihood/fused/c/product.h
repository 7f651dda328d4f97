// Products of TYPE: tiles of rows of activations, and of vectors of columns whose words lie side by side.

// n rows of `steps` words times m vectors of columns: vector v of step k lies at b + v * apart + k * step.
ALWAYS void OF(tile)(const int n, const int m, const uint32_t *a, size_t wide, const uint32_t *b, size_t apart, size_t step,
                     int steps, vf sums[TILE_ROWS][TILE_VECTORS]) {
    for (int k = 0; k < steps; k++) {
        vu columns[TILE_VECTORS];
        UNROLL for (int v = 0; v < m; v++) columns[v] = words_load(b + v * apart + (size_t)k * step);
        UNROLL for (int r = 0; r < n; r++) {
            vu row = a[r * wide + k] - (vu){0};
            UNROLL for (int v = 0; v < m; v++) {
                sums[r][v] = OF(dot)(sums[r][v], row, columns[v]);
                PIN(sums[r][v]);
            }
        }
    }
}

// Rows of activations (rows, inputs) times a panel, which lies packed: of each step the words of all its outputs side by
// side. It is read once for every TILE_ROWS rows, in order, so that it comes from the cache without waiting. A row's
// numbers do not depend on the rows beside it. Rows up to a multiple of TILE_ROWS are read and written. `more`: added to
// what `out` has.
static void OF(times_panel)(const TYPE *in, int rows, size_t inputs, const uint32_t *panel, int steps, int outputs, TYPE *out,
                            size_t wide, int more) {
    for (int row = 0; row < rows; row += TILE_ROWS) {
        vf sums[TILE_ROWS][TILE_VECTORS];
        TYPE lines[TILE_ROWS][PANEL], *to = out + row * wide;
        int whole = outputs == PANEL;
        if (more && !whole)
            for (int r = 0; r < TILE_ROWS; r++) memcpy(lines[r], to + r * wide, sizeof(TYPE) * (size_t)outputs);
        UNROLL for (int r = 0; r < TILE_ROWS; r++) UNROLL for (int v = 0; v < TILE_VECTORS; v++)
            sums[r][v] = more ? OF(load)((whole ? to + r * wide : lines[r]) + v * VW) : vf_set(0);
        const uint32_t *words = (const uint32_t *)(in + row * inputs);
        OF(tile)(TILE_ROWS, TILE_VECTORS, words, inputs / LANES, panel, VW, PANEL, steps, sums);
        UNROLL for (int r = 0; r < TILE_ROWS; r++) UNROLL for (int v = 0; v < TILE_VECTORS; v++)
            OF(store)((whole ? to + r * wide : lines[r]) + v * VW, sums[r][v]);
        if (!whole)
            for (int r = 0; r < TILE_ROWS; r++) memcpy(to + r * wide, lines[r], sizeof(TYPE) * (size_t)outputs);
    }
}
