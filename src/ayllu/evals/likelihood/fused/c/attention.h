// Attention of rows of TYPE, of which every segment sees the trunk, its row's beginning and itself: what no token sees is
// not computed, and no mask is held.
//
// Keys and values of a row lie packed, VW positions or VW features side by side; each segment begins at a multiple of VW.
// Both products are then the same one: rows of words, times words whose VW columns lie side by side.

#define WORDS(h) ((h) / LANES)  // of h numbers
#define BLOCK_ROWS 24           // queries that are computed together
#define RANGES 3                // trunk, beginning, own

typedef struct {
    const uint32_t *a, *b;
    int steps;
} OF(Piece);

// The same over several pieces of the inner side; out gets n rows of m vectors.
ALWAYS void OF(tiles)(const int n, const int m, const OF(Piece) *pieces, int count, size_t wide, size_t apart, float *out,
                      size_t out_wide) {
    vf sums[TILE_ROWS][TILE_VECTORS];
    UNROLL for (int r = 0; r < n; r++) UNROLL for (int v = 0; v < m; v++) sums[r][v] = vf_set(0);
    for (int i = 0; i < count; i++) OF(tile)(n, m, pieces[i].a, wide, pieces[i].b, apart, VW, pieces[i].steps, sums);
    UNROLL for (int r = 0; r < n; r++) UNROLL for (int v = 0; v < m; v++) store_float(out + r * out_wide + v * VW, sums[r][v]);
}

// Any number of rows and vectors.
static void OF(product)(int rows, int vectors, const OF(Piece) *given, int count, size_t wide, size_t apart, float *out,
                        size_t out_wide) {
    for (int r = 0; r < rows; r += TILE_ROWS)
        for (int v = 0; v < vectors; v += TILE_VECTORS) {
            OF(Piece) pieces[RANGES];
            for (int i = 0; i < count; i++)
                pieces[i] = (OF(Piece)){given[i].a + r * wide, given[i].b + v * apart, given[i].steps};
            float *to = out + r * out_wide + (size_t)v * VW;
            // Rows behind the last are there, and are not read.
#if TILE_VECTORS == 4
            switch (vectors - v) {
                case 1: OF(tiles)(TILE_ROWS, 1, pieces, count, wide, apart, to, out_wide); break;
                case 2: OF(tiles)(TILE_ROWS, 2, pieces, count, wide, apart, to, out_wide); break;
                case 3: OF(tiles)(TILE_ROWS, 3, pieces, count, wide, apart, to, out_wide); break;
                default: OF(tiles)(TILE_ROWS, 4, pieces, count, wide, apart, to, out_wide);
            }
#else
            if (vectors - v == 1)
                OF(tiles)(TILE_ROWS, 1, pieces, count, wide, apart, to, out_wide);
            else
                OF(tiles)(TILE_ROWS, 2, pieces, count, wide, apart, to, out_wide);
#endif
        }
}

// A head of h features turned by the angles of a position, feature i with feature i + h/2.
ALWAYS void OF(turned)(const TYPE *head, int h, const float *cosines, const float *sines, TYPE *out) {
    for (int i = 0; i < h / 2; i += VW) {
        vf left = OF(load)(head + i), right = OF(load)(head + h / 2 + i);
        vf cosine = load_float(cosines + i), sine = load_float(sines + i);
        OF(store)(out + i, left * cosine - right * sine);
        OF(store)(out + h / 2 + i, right * cosine + left * sine);
    }
}

typedef struct {
    TYPE *keys, *values, *queries, *weights;
    float *scores, *found;
    size_t capacity;  // positions that keys and values have room for
} OF(Room);

// Keys and values of `count` tokens, one key head, to `place` and on; up to the next multiple of VW it is 0.
static void OF(pack)(const Layout *l, const TYPE *keys, const TYPE *values, const int *positions, int count, size_t place,
                     const OF(Room) *room) {
    int h = l->head_width, half = h / 2;
    size_t wide = (size_t)l->kv_heads * h;
    TYPE key[h];
    static const TYPE nothing[VW];
    uint32_t *to = (uint32_t *)room->keys;
    for (int s = 0; s < (count + VW - 1) / VW * VW; s++) {
        size_t at = place + s, word = (at / VW) * WORDS(h) * VW + at % VW;
        if (s < count) {
            int position = positions ? positions[s] : s;
            OF(turned)(keys + s * wide, h, l->cosines + (size_t)position * half, l->sines + (size_t)position * half, key);
        } else {
            memset(key, 0, sizeof key);
        }
        for (int i = 0; i < WORDS(h); i++) memcpy(to + word + (size_t)i * VW, key + LANES * i, 4);
    }
    for (int s = 0; s < (count + VW - 1) / VW * VW; s += LANES)
        for (int d = 0; d < h; d += VW) {
            uint32_t *lines = (uint32_t *)room->values + (d / VW) * (room->capacity / LANES) * VW;
            const TYPE *first = s < count ? values + s * wide + d : nothing;
            const TYPE *second = s + 1 < count ? values + (s + 1) * wide + d : nothing;
            vu words = LANES == 2 ? widened((const void *)first) | widened((const void *)second) << 16 : words_load(first);
            words_store(lines + (place + s) / LANES * VW, words);
        }
}

// Scores of a row to weights, e to the power of their distance from the largest; gives 1 / the sum.
ALWAYS float OF(weigh)(float *scores, int count, float scale, TYPE *weights) {
    vf most = vf_set(-INFINITY), sum = vf_set(0);
    for (int i = 0; i < count; i += VW) most = vf_larger(load_float(scores + i), most);
    float largest = lanes_max(most) * scale;
    for (int i = 0; i < count; i += VW) {
        vf weight = vf_exp(load_float(scores + i) * scale - largest);
        sum += weight;
        OF(store)(weights + i, weight);
    }
    return 1 / lanes_sum(sum);
}

typedef struct {
    size_t place;
    int length;  // that are seen, but for the own ones, of which a query sees those up to itself
} OF(Range);

// The queries of one key head, of `tokens` tokens from number `from` of a segment on; the last range is their own.
static void OF(look)(const Layout *l, const TYPE *queries, const Segment *segment, int from, int tokens, int kv_head,
                     const OF(Range) *ranges, int count, const OF(Room) *room, TYPE *out) {
    int h = l->head_width, group = l->heads / l->kv_heads, rows = tokens * group, columns = 0;
    for (int q = 0; q < rows; q++) {
        int token = segment->first + from + q / group, position = l->positions[token];
        const TYPE *head = queries + ((size_t)token * l->heads + kv_head * group + q % group) * h;
        size_t angle = (size_t)position * (h / 2);
        OF(turned)(head, h, l->cosines + angle, l->sines + angle, room->queries + (size_t)q * h);
    }
    int starts[RANGES], seen[RANGES];
    for (int i = 0; i < count; i++) {
        starts[i] = columns;
        seen[i] = i == count - 1 ? from + tokens : ranges[i].length;
        columns += (seen[i] + VW - 1) / VW * VW;
    }
    for (int i = 0; i < count; i++) {
        OF(Piece) piece = {(const uint32_t *)room->queries, (const uint32_t *)room->keys + ranges[i].place * WORDS(h), WORDS(h)};
        OF(product)(rows, (seen[i] + VW - 1) / VW, &piece, 1, WORDS(h), (size_t)WORDS(h) * VW, room->scores + starts[i], columns);
    }
    float factors[rows];
    OF(Piece) pieces[RANGES];
    for (int q = 0; q < rows; q++) {
        float *scores = room->scores + (size_t)q * columns;
        for (int i = 0; i < count; i++) {
            int last = i == count - 1 ? from + q / group + 1 : seen[i], end = (seen[i] + VW - 1) / VW * VW;
            for (int s = last; s < end; s++) scores[starts[i] + s] = -INFINITY;
        }
        factors[q] = OF(weigh)(scores, columns, 1 / sqrtf((float)h), room->weights + (size_t)q * columns);
    }
    for (int i = 0; i < count; i++)
        pieces[i] = (OF(Piece)){(const uint32_t *)room->weights + starts[i] / LANES,
                                (const uint32_t *)room->values + ranges[i].place / LANES * VW, (seen[i] + VW - 1) / VW * VW / LANES};
    OF(product)(rows, h / VW, pieces, count, columns / LANES, room->capacity / LANES * VW, room->found, h);
    for (int q = 0; q < rows; q++) {
        int token = segment->first + from + q / group;
        TYPE *to = out + ((size_t)token * l->heads + kv_head * group + q % group) * h;
        for (int i = 0; i < h; i += VW) OF(store)(to + i, load_float(room->found + (size_t)q * h + i) * factors[q]);
    }
}

static int OF(rooms)(const Layout *l, const Segment *segments, int count, OF(Room) *room) {
    int h = l->head_width, longest = 0, most = 0, rows = BLOCK_ROWS + l->heads / l->kv_heads + TILE_ROWS;
    for (int i = 0, tokens = 0; i < count; i++) {
        const Segment *s = segments + i;
        if (s->first == s->beginning) tokens = 0;
        tokens += s->length + VW;
        longest = tokens > longest ? tokens : longest;
        most = s->before + s->length > most ? s->before + s->length : most;
    }
    room->capacity = (size_t)(l->past + longest + 2 * VW) / VW * VW;
    size_t columns = (size_t)l->past + most + RANGES * VW;
    size_t sizes[] = {sizeof(TYPE) * room->capacity * h, sizeof(TYPE) * room->capacity * h, sizeof(TYPE) * rows * h,
                      sizeof(TYPE) * rows * columns,     sizeof(float) * rows * columns,    sizeof(float) * rows * h};
    void **parts[] = {(void **)&room->keys,    (void **)&room->values, (void **)&room->queries,
                      (void **)&room->weights, (void **)&room->scores, (void **)&room->found};
    int whole = 1;
    for (int i = 0; i < 6; i++) {
        *parts[i] = aligned_alloc(64, (sizes[i] + 63) / 64 * 64);
        whole = whole && *parts[i];
        if (*parts[i]) memset(*parts[i], 0, sizes[i]);
    }
    return whole;
}

// Queries, keys and values of all tokens to what each token takes from those that it sees (`out`); those of the trunk are
// `past`. None is turned yet. 0 without memory.
static int OF(attend)(const Layout *l, const TYPE *queries, const TYPE *keys, const TYPE *values, const TYPE *past_keys,
                      const TYPE *past_values, const Segment *segments, int count, TYPE *out) {
    int h = l->head_width, group = l->heads / l->kv_heads, together = BLOCK_ROWS / group > 0 ? BLOCK_ROWS / group : 1;
    size_t wide = (size_t)l->kv_heads * h, trunk_end = (l->past + VW - 1) / VW * VW;
    OF(Room) room;
    int whole = OF(rooms)(l, segments, count, &room);
    for (int kv_head = 0; whole && kv_head < l->kv_heads; kv_head++) {
        size_t head = (size_t)kv_head * h;
        if (l->past) OF(pack)(l, past_keys + head, past_values + head, NULL, l->past, 0, &room);
        size_t place = trunk_end;
        for (int i = 0; i < count; i++) {
            const Segment *s = segments + i;
            if (s->first == s->beginning) place = trunk_end;
            size_t first = s->first * wide + head;
            OF(pack)(l, keys + first, values + first, l->positions + s->first, s->length, place, &room);
            OF(Range) ranges[RANGES] = {{0, l->past}};
            int found = l->past > 0;
            if (s->before) ranges[found++] = (OF(Range)){trunk_end, s->before};
            ranges[found++] = (OF(Range)){place, s->length};
            for (int from = 0; from < s->length; from += together) {
                int tokens = s->length - from < together ? s->length - from : together;
                OF(look)(l, queries, s, from, tokens, kv_head, ranges, found, &room, out);
            }
            place += (s->length + VW - 1) / VW * VW;
        }
    }
    free(room.keys);
    free(room.values);
    free(room.queries);
    free(room.weights);
    free(room.scores);
    free(room.found);
    return whole;
}
