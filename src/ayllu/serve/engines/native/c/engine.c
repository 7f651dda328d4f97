// Decoding and reading of prompts for models of Llama's architecture on a CPU: one function, `native_step`, takes any mix
// of tokens of any sequences and gives the logits that are asked for.
//
// Shapes: T tokens of a step, D width, H query heads, K key/value heads, G = H / K, h head width, F feed-forward width,
// V vocabulary. Sequences keep keys and values in pages of PAGE positions, which they may share.
//
// A token's numbers depend on its own sequence alone, to the last bit: each sum runs in an order that is fixed by the
// model and by positions, never by T or by how a prompt was cut into steps.
#include "crew.h"

#include <stdlib.h>

#include "attention.h"
#include "low_rank.h"
#include "native.h"
#include "products.h"
#include "vector.h"

#define TILE 16        // tokens of a sequence that look at a page of keys together
#define MOST_GROUP 64  // query heads to a key head
#define SHARES 4       // pieces of a product for each thread: whoever is held up leaves some to the others

enum { QKV, OUTPUT, GATE_UP, DOWN, MATRICES };  // of a layer

typedef struct {
    Matrix qkv, output, gate_up, down;
    const float *attention_norm, *feed_forward_norm;
} Layer;

// What a thread has for itself.
typedef struct {
    Activations inputs;  // of one row
    float *row;          // of the widest input
    float *room;         // for `attend`
} Own;

struct Engine {
    Shape shape;
    Layer *layers;
    Matrix embedding, head;
    const float *norm;
    const float *cosines, *sines;  // positions, h / 2
    uint8_t *keys, *values;        // layer, page, K, then what attention.h says
    size_t page_bytes;             // of a key head's keys, or values
    int kept_bits;                 // of a key or value: 8 or 16
    int pages, columns;            // columns: of the widest input
    float *x, *y, *z;              // T: residual stream, products, what attention finds
    Activations inputs;
    const LowRank *low_rank;  // adapters, layers, MATRICES, PARTS
    int most_rows, most_low;  // most_low: widest sum of ranks of a matrix
    Own own[MOST_THREADS];
    Step step;
    int apart;  // no two rows of the step are of one sequence
    Crew crew;
};

static int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

static void *reserve(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

size_t native_matrix_bytes(int rows, int columns, int bits) {
    return (size_t)round_up(rows, PANEL) / PANEL * (round_up(columns, GROUP) / GROUP) * group_bytes(bits);
}

// What the adapter of a row adds to a matrix of a layer (`place`, of all MATRICES of all layers), or NULL.
static const LowRank *low_of(const Engine *e, int row, int place) {
    int adapter = e->step.adapters && place >= 0 ? e->step.adapters[row] : -1;
    return adapter < 0 ? NULL : e->low_rank + ((size_t)adapter * e->shape.layers * MATRICES + place) * PARTS;
}

// out (rows, width) = in times the matrix, or that added to it; all threads together.
static void times(Engine *e, const Matrix *m, int place, const Activations *in, int rows, float *out, int width, int add) {
    int panels = m->rows / PANEL, share = panels / (e->crew.threads * SHARES) + 1;
    for (int first; (first = next_item(&e->crew) * share) < panels;) {
        int last = first + share < panels ? first + share : panels;
        panels_times(m, first, last, in, rows, out, width, add);
        for (int row = 0; e->step.adapters && row < rows; row++) {
            const LowRank *parts = low_of(e, row, place);
            if (parts) add_low(parts, in->low + (size_t)row * e->most_low, first, last, out + (size_t)row * width);
        }
    }
}

static void norm(const float *x, const float *weight, int width, float epsilon, float *out) {
    vf squares[PV];
    for (int p = 0; p < PV; p++) squares[p] = vf_set(0);
    int i = 0;
    for (; i + PANEL <= width; i += PANEL)
        for (int p = 0; p < PV; p++) {
            vf v = vf_load(x + i + VW * p);
            squares[p] = vf_fma(v, v, squares[p]);
        }
    float total = sum_lanes(squares);
    for (; i < width; i++) total += x[i] * x[i];
    float factor = 1 / sqrtf(total / (float)width + epsilon);
    for (i = 0; i < width; i++) out[i] = x[i] * factor * weight[i];
}

static void embed(const Engine *e, int id, float *out) {
    const Matrix *m = &e->embedding;
    size_t each = group_bytes(m->bits);
    const uint8_t *w = m->data + (size_t)(id / PANEL) * panel_bytes(m);
    int r = id % PANEL;
    for (int c = 0; c < e->shape.width; c++) {
        const uint8_t *group = w + (c / GROUP) * each;
        int i = c % GROUP;
        if (m->bits == 16) {
            uint32_t bits = (uint32_t)((const uint16_t *)group)[i * PANEL + r] << 16;
            memcpy(out + c, &bits, 4);
            continue;
        }
        float scale = half_to_float(((const uint16_t *)(group + GROUP * PANEL * m->bits / 8))[r]);
        int value;
        if (m->bits == 8) {
            value = ((const int8_t *)group)[64 * (i / 4) + 4 * r + i % 4];
        } else {
            int both = group[64 * (i / 8) + 4 * r + i % 4];
            value = (i % 8 < 4 ? both & 15 : both >> 4) - 8;
        }
        out[c] = (float)value * scale;
    }
}

static size_t page_at(const Engine *e, int layer, int page, int kv_head) {
    const Shape *s = &e->shape;
    return (((size_t)layer * e->pages + page) * s->kv_heads + kv_head) * e->page_bytes;
}

static void rotate(const Engine *e, float *restrict head, int position) {
    int half = e->shape.head_width / 2;
    const float *restrict cosines = e->cosines + (size_t)position * half, *restrict sines = e->sines + (size_t)position * half;
    for (int i = 0; i < half; i++) {
        float a = head[i], b = head[i + half];
        head[i] = a * cosines[i] - b * sines[i];
        head[i + half] = b * cosines[i] + a * sines[i];
    }
}

// Turn the queries and keys of a row and put its keys and values into its page, one key head.
static void keep(Engine *e, int layer, int row, int kv_head) {
    const Shape *s = &e->shape;
    const Step *step = &e->step;
    int h = s->head_width, group = s->heads / s->kv_heads, position = step->positions[row];
    float *y = e->y + (size_t)row * e->layers[layer].qkv.rows;
    for (int g = 0; g < group; g++) rotate(e, y + (kv_head * group + g) * h, position);
    float *key = y + (s->heads + kv_head) * h, *value = y + (s->heads + s->kv_heads + kv_head) * h;
    rotate(e, key, position);
    int page = step->tables[(size_t)step->sequences[row] * step->pages_each + position / PAGE];
    size_t at = page_at(e, layer, page, kv_head);
    int place = position % PAGE;
    if (e->kept_bits == 8) {
        int8_t ints[h], *keys = (int8_t *)(e->keys + at), *values = (int8_t *)(e->values + at);
        ((float *)(keys + (size_t)h * PAGE))[place] = in_bytes(key, h, ints);
        for (int i = 0; i < h; i++) keys[(size_t)i * PAGE + place] = ints[i];
        ((float *)(values + (size_t)h * PAGE))[place] = in_bytes(value, h, values + (size_t)place * h);
        return;
    }
    uint16_t *keys = (uint16_t *)(e->keys + at), *values = (uint16_t *)(e->values + at);
    for (int i = 0; i < h; i++) keys[(size_t)i * PAGE + place] = float_to_half(key[i]);
    for (int i = 0; i < h; i += VW) vf_to_halves(values + (size_t)place * h + i, vf_load(value + i));
}

// Attention of up to TILE rows of one sequence, one key head.
static void attend(Engine *e, int layer, int first, int rows, int kv_head, float *room) {
    const Shape *s = &e->shape;
    const Step *step = &e->step;
    int h = s->head_width, group = s->heads / s->kv_heads, width = e->layers[layer].qkv.rows, count = rows * group;
    float *keys = room, *values = keys + (size_t)h * PAGE, *outs = values + (size_t)h * PAGE;
    float *queries = outs + (size_t)TILE * group * h;
    Found found[TILE * MOST_GROUP];
    int seen[TILE * MOST_GROUP];
    float scale = 1 / sqrtf((float)h);
    for (int q = 0; q < count; q++) {
        const float *from = e->y + (size_t)(first + q / group) * width + (kv_head * group + q % group) * h;
        for (int i = 0; i < h; i++) queries[q * h + i] = from[i] * scale;
        found[q] = (Found){-INFINITY, 0};
    }
    memset(outs, 0, sizeof(float) * (size_t)count * h);
    int last = step->positions[first + rows - 1];
    const int32_t *table = step->tables + (size_t)step->sequences[first] * step->pages_each;
    for (int page = 0; page <= last / PAGE; page++) {
        size_t at = page_at(e, layer, table[page], kv_head);
        for (int q = 0; q < count; q++) {
            seen[q] = step->positions[first + q / group] + 1 - page * PAGE;
            if (seen[q] > PAGE) seen[q] = PAGE;
        }
        Page kept = {e->keys + at, e->values + at, NULL, NULL};
        size_t behind = (size_t)h * PAGE;
        if (e->kept_bits == 8) {
            kept.key_scales = (const float *)(e->keys + at + behind);
            kept.value_scales = (const float *)(e->values + at + behind);
        }
        if (count <= 2 * QUERIES) {
            (e->kept_bits == 8 ? look_at_bytes : look_at_halves)(queries, &kept, seen, count, h, found, outs);
            continue;
        }
        for (int i = 0; i < h * PAGE; i += VW) {
            vf_store(keys + i, e->kept_bits == 8 ? page_load(8, kept.keys, i) : page_load(16, kept.keys, i));
            vf_store(values + i, e->kept_bits == 8 ? page_load(8, kept.values, i) : page_load(16, kept.values, i));
        }
        kept.keys = keys;
        kept.values = values;
        look_at_floats(queries, &kept, seen, count, h, found, outs);
    }
    for (int q = 0; q < count; q++) {
        float *to = e->z + (size_t)(first + q / group) * e->columns + (kv_head * group + q % group) * h;
        for (int i = 0; i < h; i++) to[i] = outs[q * h + i] / found[q].total;
    }
}

// All rows' attention: each thread takes the next tile and key head until there is none.
static void attend_all(Engine *e, int layer, float *room) {
    const Step *step = &e->step;
    int kv_heads = e->shape.kv_heads, tile = 0;
    int mine = next_item(&e->crew);
    for (int first = 0; first < step->rows; tile++) {
        int rows = 1;
        while (rows < TILE && first + rows < step->rows && step->sequences[first + rows] == step->sequences[first] &&
               step->positions[first + rows] == step->positions[first] + rows)
            rows++;
        for (; mine / kv_heads == tile; mine = next_item(&e->crew)) {
            if (e->apart) keep(e, layer, first, mine % kv_heads);
            attend(e, layer, first, rows, mine % kv_heads, room);
        }
        first += rows;
    }
}

static void swiglu(const float *gate, const float *up, int width, float *out) {
    int i = 0;
    for (; i + VW <= width; i += VW) {
        vf g = vf_load(gate + i);
        vf_store(out + i, g / (vf_exp(-g) + 1.0f) * vf_load(up + i));
    }
    for (; i < width; i++) out[i] = gate[i] / (1 + vf_exp(vf_set(-gate[i]))[0]) * up[i];
}

// The inputs of a product: rows of `thread`, each made by MAKE into `line`, `used` columns wide. With one row each thread
// makes it for itself: cheaper than to wait for another to have done so.
#define INPUTS(rows, m, place, used, MAKE)                                                             \
    do {                                                                                               \
        alone = (rows) == 1;                                                                           \
        in = alone ? &own->inputs : &e->inputs;                                                        \
        memset(line + (used), 0, sizeof(float) * (size_t)((m)->columns - (used)));                     \
        for (int row = alone ? 0 : thread; row < (rows); row += alone ? 1 : e->crew.threads) {         \
            MAKE;                                                                                      \
            prepare(line, (m)->columns, (m)->bits, in, row);                                           \
            const LowRank *parts = low_of(e, row, place);                                              \
            if (parts) lower(parts, line, (m)->columns, in->low + (size_t)row * e->most_low);          \
        }                                                                                              \
        if (!alone) barrier(&e->crew);                                                                 \
    } while (0)

static void compute_layer(Engine *e, int thread, int l) {
    const Shape *s = &e->shape;
    const Layer *layer = e->layers + l;
    Own *own = &e->own[thread];
    float *line = own->row;
    Activations *in;
    int rows = e->step.rows, D = s->width, wide = e->embedding.columns, inner = s->heads * s->head_width, place = l * MATRICES, alone;
    INPUTS(rows, &layer->qkv, place + QKV, D, norm(e->x + (size_t)row * wide, layer->attention_norm, D, s->epsilon, line));
    times(e, &layer->qkv, place + QKV, in, rows, e->y, layer->qkv.rows, 0);
    barrier(&e->crew);
    if (!e->apart) {
        for (int i = thread; i < rows * s->kv_heads; i += e->crew.threads) keep(e, l, i / s->kv_heads, i % s->kv_heads);
        barrier(&e->crew);
    }
    attend_all(e, l, own->room);
    barrier(&e->crew);
    INPUTS(rows, &layer->output, place + OUTPUT, inner, memcpy(line, e->z + (size_t)row * e->columns, sizeof(float) * (size_t)inner));
    times(e, &layer->output, place + OUTPUT, in, rows, e->x, wide, 1);
    barrier(&e->crew);
    INPUTS(rows, &layer->gate_up, place + GATE_UP, D, norm(e->x + (size_t)row * wide, layer->feed_forward_norm, D, s->epsilon, line));
    int both = layer->gate_up.rows;
    times(e, &layer->gate_up, place + GATE_UP, in, rows, e->y, both, 0);
    barrier(&e->crew);
    INPUTS(rows, &layer->down, place + DOWN, s->feed_forward,
           swiglu(e->y + (size_t)row * both, e->y + (size_t)row * both + both / 2, s->feed_forward, line));
    times(e, &layer->down, place + DOWN, in, rows, e->x, wide, 1);
    barrier(&e->crew);
}

static void compute(void *given, int thread) {
    Engine *e = given;
    const Shape *s = &e->shape;
    const Step *step = &e->step;
    Own *own = &e->own[thread];
    float *line = own->row;
    Activations *in;
    // Read before the last barrier: behind it the caller may go on, and write down the next step.
    int wide = e->embedding.columns, wanted = step->wanted_rows, alone;
    for (int row = thread; row < step->rows; row += e->crew.threads) embed(e, step->ids[row], e->x + (size_t)row * wide);
    barrier(&e->crew);
    for (int l = 0; l < s->layers; l++) compute_layer(e, thread, l);
    if (!wanted) return;
    INPUTS(wanted, &e->head, -1, s->width,
           norm(e->x + (size_t)step->wanted[row] * wide, e->norm, s->width, s->epsilon, line));
    times(e, &e->head, -1, in, wanted, step->logits, e->head.rows, 0);
    barrier(&e->crew);
}

void native_step(Engine *e, const Step *step) {
    e->step = *step;
    // Rows of a sequence stand together.
    e->apart = 1;
    for (int row = 1; row < step->rows; row++) e->apart &= step->sequences[row] != step->sequences[row - 1];
    crew_step(&e->crew);
}

const char *native_kernels(void) {
#if defined(TILED)
    if (have_tiles()) return KERNELS "+amx";
#endif
    return KERNELS;
}

static int reserve_activations(Activations *a, int rows, int columns) {
    a->groups = reserve(sizeof(Inputs) * (size_t)rows * (columns / GROUP));
    a->floats = reserve(sizeof(float) * (size_t)rows * columns);
    int whole = 1;
#if defined(TILED)
    if (rows >= LEAST_TILED && have_tiles()) {
        a->blocks = reserve(sizeof(Block) * (size_t)(round_up(rows, TILE_ROWS) / TILE_ROWS) * (columns / GROUP));
        whole = a->blocks != NULL;
    }
#endif
    return whole && a->groups && a->floats;
}

static void free_activations(Activations *a) {
    free(a->groups);
    free(a->blocks);
    free(a->floats);
    free(a->low);
}

void native_free(Engine *e) {
    if (!e) return;
    crew_end(&e->crew);
    free_activations(&e->inputs);
    for (int t = 0; t < MOST_THREADS; t++) {
        free_activations(&e->own[t].inputs);
        free(e->own[t].row);
        free(e->own[t].room);
    }
    free(e->keys);
    free(e->values);
    free(e->x);
    free(e->y);
    free(e->z);
    free(e->layers);
    free(e);
}

Engine *native_new(const Shape *shape, const Matrix *matrices, const float *const *norms, const float *cosines,
                   const float *sines, int pages, int kept_bits, int most_rows, int threads) {
    Engine *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    e->shape = *shape;
    e->pages = pages;
    e->most_rows = most_rows;
    e->cosines = cosines;
    e->sines = sines;
    e->layers = calloc((size_t)shape->layers, sizeof *e->layers);
    e->embedding = matrices[0];
    e->head = matrices[1];
    e->norm = norms[0];
    int widest = e->head.columns, tallest = 0;
    for (int l = 0; e->layers && l < shape->layers; l++) {
        const Matrix *m = matrices + 2 + 4 * l;
        e->layers[l] = (Layer){m[0], m[1], m[2], m[3], norms[1 + 2 * l], norms[2 + 2 * l]};
        for (int i = 0; i < 4; i++) {
            widest = m[i].columns > widest ? m[i].columns : widest;
            tallest = m[i].rows > tallest ? m[i].rows : tallest;
        }
    }
    e->columns = widest;
    e->kept_bits = kept_bits;
    e->page_bytes = (size_t)shape->head_width * PAGE * kept_bits / 8 + (kept_bits == 8 ? PAGE * sizeof(float) : 0);
    size_t cached = (size_t)shape->layers * pages * shape->kv_heads * e->page_bytes;
    e->keys = calloc(cached, 1);  // not touched before it is used: what nobody needs takes no memory
    e->values = calloc(cached, 1);
    e->x = reserve(sizeof(float) * (size_t)most_rows * e->embedding.columns);
    e->y = reserve(sizeof(float) * (size_t)most_rows * tallest);
    e->z = reserve(sizeof(float) * (size_t)most_rows * widest);
    int whole = e->layers && e->keys && e->values && e->x && e->y && e->z && reserve_activations(&e->inputs, most_rows, widest);
    size_t room = (size_t)shape->head_width * (2 * PAGE + 2 * TILE * (shape->heads / shape->kv_heads));
    for (int t = 0; t < threads && t < MOST_THREADS; t++) {
        e->own[t].row = reserve(sizeof(float) * (size_t)widest);
        e->own[t].room = reserve(sizeof(float) * room);
        whole = reserve_activations(&e->own[t].inputs, 1, widest) && e->own[t].row && e->own[t].room && whole;
    }
    if (whole && crew_begin(&e->crew, threads, compute, e)) return e;
    native_free(e);
    return NULL;
}

static int reserve_low(Activations *a, size_t count) {
    free(a->low);
    a->low = reserve(sizeof(float) * count);
    return a->low != NULL;
}

int native_adapt(Engine *e, const LowRank *parts, int adapters) {
    e->low_rank = parts;
    e->most_low = 0;
    for (int m = 0; m < adapters * e->shape.layers * MATRICES; m++) {
        int ranks = 0;
        for (int p = 0; p < PARTS; p++) ranks += parts[m * PARTS + p].rank;
        e->most_low = ranks > e->most_low ? ranks : e->most_low;
    }
    int whole = reserve_low(&e->inputs, (size_t)e->most_rows * e->most_low);
    for (int t = 0; t < e->crew.threads; t++) whole = reserve_low(&e->own[t].inputs, (size_t)e->most_low) && whole;
    return whole;
}
