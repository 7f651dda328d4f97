// Whole passes of the model over rows of TYPE.

typedef struct {
    const int *ids;
    int count;               // tokens of all rows
    const Segment *segments;
    int segment_count;
    const int *places;       // the tokens whose states are wanted, in order
    int wanted;              // how many they are; -1 for all tokens
    const TYPE *past;        // of the trunk: layers, keys and values, tokens, kv_heads * head_width; NULL without
    TYPE *keep;              // gets the same of these tokens; NULL for nobody
} OF(Rows);

static void OF(embed)(const Model *m, const int *ids, int count, TYPE *out) {
    for (int i = 0; i < count; i++) {
        size_t at = (size_t)ids[i] * m->width;
        for (int d = 0; d < m->width; d += VW) {
            vf v = m->embedding_halves ? load_bf16((const bf16 *)m->embedding + at + d) : load_float((const float *)m->embedding + at + d);
            bf16 halves[VW];
            if (m->rounded) {
                store_bf16(halves, v);
                v = load_bf16(halves);
            }
            OF(store)(out + (size_t)i * m->width + d, v);
        }
    }
}

// The rooms of a pass, each for all tokens and TILE_ROWS more, in one piece of memory.
typedef struct {
    TYPE *x, *more, *seen, *q, *k, *v, *y, *gate, *up;
    float *panel;
    void *all;
} OF(Scratch);

static int OF(scratch)(const Model *m, const Layout *l, int count, OF(Scratch) *s) {
    size_t rows = (size_t)count + TILE_ROWS, width = m->width, wide = (size_t)l->heads * l->head_width;
    size_t narrow = (size_t)l->kv_heads * l->head_width, numbers = 64 / sizeof(TYPE);
    TYPE **parts[] = {&s->x, &s->more, &s->seen, &s->q, &s->y, &s->k, &s->v, &s->gate, &s->up};
    size_t widths[] = {width, width, width, wide, wide, narrow, narrow, m->feed_forward, m->feed_forward}, at[9], total = 0;
    for (int i = 0; i < 9; i++) {
        at[i] = total;
        total += (rows * widths[i] + numbers - 1) / numbers * numbers;
    }
    size_t bytes = sizeof(TYPE) * total + sizeof(float) * PANEL * DEPTH;
    if (!(s->all = aligned_alloc(64, (bytes + 63) / 64 * 64))) return 0;
    memset(s->all, 0, bytes);
    for (int i = 0; i < 9; i++) *parts[i] = (TYPE *)s->all + at[i];
    s->panel = (float *)((TYPE *)s->all + total);
    return 1;
}

// The kept ones of some rows, one behind the other.
static void OF(choose)(TYPE *x, size_t wide, const int *places, int count) {
    for (int i = 0; i < count; i++) memmove(x + i * wide, x + places[i] * wide, sizeof(TYPE) * wide);
}

// What one layer's attention adds, before its output product, to s->y; keys and values go to s->k and s->v.
static int OF(mixed)(const Model *m, const Layout *l, const OF(Rows) *r, int layer, OF(Scratch) *s) {
    const Layer *b = m->blocks + layer;
    size_t narrow = (size_t)l->kv_heads * l->head_width, kept = narrow * r->count, past = narrow * l->past;
    OF(times)(&b->k, s->seen, r->count, 0, b->k.outputs, s->k, s->panel);
    OF(times)(&b->v, s->seen, r->count, 0, b->v.outputs, s->v, s->panel);
    if (r->keep) {
        memcpy(r->keep + 2 * layer * kept, s->k, sizeof(TYPE) * kept);
        memcpy(r->keep + (2 * layer + 1) * kept, s->v, sizeof(TYPE) * kept);
    }
    if (layer == m->layers - 1 && !r->wanted) return 1;
    OF(times)(&b->q, s->seen, r->count, 0, b->q.outputs, s->q, s->panel);
    const TYPE *keys = l->past ? r->past + 2 * layer * past : NULL, *values = l->past ? keys + past : NULL;
    return OF(attend)(l, s->q, s->k, s->v, keys, values, r->segments, r->segment_count, s->y);
}

// The normed stream behind the blocks, of all tokens or of those at `places`. 0 without memory.
int OF(fused_hidden)(const Model *m, const Layout *l, const OF(Rows) *r, TYPE *out) {
    OF(Scratch) s;
    if (!OF(scratch)(m, l, r->count, &s)) return 0;
    int count = r->count, whole = 1;
    OF(embed)(m, r->ids, count, s.x);
    for (int layer = 0; whole && count && layer < m->layers; layer++) {
        const Layer *b = m->blocks + layer;
        OF(norm)(s.x, layer ? s.more : NULL, b->attention_norm, s.seen, count, m->width, m->epsilon);
        whole = OF(mixed)(m, l, r, layer, &s);
        if (layer == m->layers - 1 && r->wanted >= 0) {
            count = r->wanted;
            OF(choose)(s.x, m->width, r->places, count);
            OF(choose)(s.y, (size_t)l->heads * l->head_width, r->places, count);
        }
        OF(times)(&b->output, s.y, count, 0, m->width, s.more, s.panel);
        OF(norm)(s.x, s.more, b->feed_forward_norm, s.seen, count, m->width, m->epsilon);
        OF(times)(&b->gate, s.seen, count, 0, m->feed_forward, s.gate, s.panel);
        OF(times)(&b->up, s.seen, count, 0, m->feed_forward, s.up, s.panel);
        OF(gate)(s.gate, s.up, (size_t)count * m->feed_forward);
        OF(times)(&b->down, s.gate, count, 0, m->width, s.more, s.panel);
    }
    OF(norm)(s.x, s.more, m->norm, out, count, m->width, m->epsilon);
    free(s.all);
    return whole;
}

// Of some logits of each row, those of ids from `first` on, what is asked of them.
static void OF(note)(const TYPE *logits, int rows, int first, int columns, const Asked *a, float *best) {
    for (int i = 0; i < a->count; i++) {
        int at = a->ids[i] - first;
        if (at >= 0 && at < columns) a->values[i] = OF(number)(logits[(size_t)a->rows[i] * columns + at]);
    }
    for (int row = 0; a->likeliest && row < rows; row++)
        for (int at = 0; at < columns; at++) {
            float value = OF(number)(logits[(size_t)row * columns + at]);
            if (value > best[row]) {
                best[row] = value;
                a->likeliest[row] = first + at;
            }
        }
}

// Log-likelihoods behind `rows` states. 0 without memory.
int OF(fused_predict)(const Model *m, const TYPE *states, int rows, const Asked *a) {
    int columns = a->columns, vocabulary = m->head.outputs;
    size_t wide = columns + m->width, most = (size_t)rows + TILE_ROWS;
    TYPE *logits = aligned_alloc(64, (sizeof(TYPE) * most * wide + 63) / 64 * 64), *copy = logits + most * columns;
    float *sums = aligned_alloc(64, (sizeof(float) * (3 * (size_t)rows + PANEL * DEPTH) + 63) / 64 * 64);
    int whole = logits && sums;
    float *panel = sums, *largest = sums + PANEL * DEPTH, *total = largest + rows, *best = total + rows;
    if (whole) {  // products read whole tiles
        memset(copy, 0, sizeof(TYPE) * most * m->width);
        memcpy(copy, states, sizeof(TYPE) * (size_t)rows * m->width);
    }
    for (int row = 0; whole && row < rows; row++) {
        largest[row] = best[row] = -INFINITY;
        total[row] = 0;
        if (a->likeliest) a->likeliest[row] = 0;
    }
    for (int first = 0; whole && first < vocabulary; first += columns) {
        int some = vocabulary - first < columns ? vocabulary - first : columns;
        OF(times)(&m->head, copy, rows, first, some, logits, panel);
        OF(exponents)(logits, rows, some, largest, total);
        OF(note)(logits, rows, first, some, a, best);
    }
    for (int i = 0; whole && i < a->count; i++) a->values[i] -= largest[a->rows[i]] + logf(total[a->rows[i]]);
    free(logits);
    free(sums);
    return whole;
}
