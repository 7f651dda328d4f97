// Decoding and reading of prompts for models of Llama's architecture on a CPU: one function, `native_step`, takes any mix
// of tokens of any sequences and gives the logits that are asked for.
//
// Shapes: T tokens of a step, D width, H query heads, K key/value heads, G = H / K, h head width, F feed-forward width,
// V vocabulary. Sequences keep keys and values in pages of PAGE positions, which they may share.
//
// A token's numbers depend on its own sequence alone, to the last bit: each sum runs in an order that is fixed by the
// model and by positions, never by T or by how a prompt was cut into steps.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "vector.h"

#define PAGE 32
#define TOGETHER 4       // tokens whose sums one pass over a panel keeps in registers
#define TILE 8           // tokens of a sequence that look at a page of keys together
#define MOST_THREADS 64
#define SPINS 2000       // looks at the barrier before a thread sleeps: some tens of microseconds

typedef struct {
    int rows, columns;  // multiples of PANEL and GROUP
    int bits;           // 4, 8 or 16
    const uint8_t *data;
} Matrix;

typedef struct {
    int layers, width, heads, kv_heads, head_width, feed_forward, vocabulary;
    float epsilon;
} Shape;

typedef struct {
    Matrix qkv, output, gate_up, down;
    const float *attention_norm, *feed_forward_norm;
} Layer;

// Activations as the products want them: 8 bits with a scale for each group, or float32 for 16-bit weights.
typedef struct {
    int8_t *ints;    // T, columns
    float *scales;   // T, groups
    int32_t *sums;   // T, groups: of the ints
    float *floats;   // T, columns
} Activations;

typedef struct {
    int rows;
    const int32_t *ids, *positions, *sequences;
    const int32_t *tables;  // page of each PAGE positions, `pages_each` to a sequence
    int pages_each;
    const int32_t *wanted;  // rows whose logits are asked for
    int wanted_rows;
    float *logits;
} Step;

typedef struct Engine Engine;
typedef struct {
    Engine *engine;
    int number;
} Worker;

struct Engine {
    Shape shape;
    Layer *layers;
    Matrix embedding, head;
    const float *norm;
    const float *cosines, *sines;  // positions, h / 2
    uint16_t *keys, *values;       // float16; layer, page, K, then h x PAGE keys and PAGE x h values
    int pages, threads, most_rows, columns;  // columns: of the widest input
    float *x, *y, *z;              // T: residual stream, products, what attention and SwiGLU make
    Activations shared, own[MOST_THREADS];
    float *scratch[MOST_THREADS], *room[MOST_THREADS];
    Step step;
    Worker workers[MOST_THREADS];
    pthread_t handles[MOST_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    long started;  // steps so far; under the lock
    int closing;
    atomic_int arrived, sleeping, item;
    atomic_uint phase;  // wraps around after some days of serving
};

static int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

static void *reserve(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// All threads meet. Who comes first looks for a while, for the others are mostly near; then it sleeps, so that on a busy
// machine it is not in their way.
static void barrier(Engine *e) {
    unsigned phase = atomic_load(&e->phase);
    if (atomic_fetch_add(&e->arrived, 1) == e->threads - 1) {
        atomic_store(&e->item, 0);
        atomic_store(&e->arrived, 0);
        atomic_store(&e->phase, phase + 1);
#ifdef __linux__
        if (atomic_load(&e->sleeping)) syscall(SYS_futex, &e->phase, FUTEX_WAKE_PRIVATE, MOST_THREADS, NULL, NULL, 0);
#endif
        return;
    }
    for (int spins = 0; spins < SPINS; spins++) {
        if (atomic_load(&e->phase) != phase) return;
        pause_briefly();
    }
    atomic_fetch_add(&e->sleeping, 1);
    while (atomic_load(&e->phase) == phase)
#ifdef __linux__
        syscall(SYS_futex, &e->phase, FUTEX_WAIT_PRIVATE, phase, NULL, NULL, 0);
#else
        sched_yield();
#endif
    atomic_fetch_sub(&e->sleeping, 1);
}

static size_t group_bytes(int bits) { return bits == 16 ? GROUP * PANEL * 2 : (size_t)GROUP * PANEL * bits / 8 + PANEL * 2; }

size_t native_matrix_bytes(int rows, int columns, int bits) {
    return (size_t)round_up(rows, PANEL) / PANEL * (round_up(columns, GROUP) / GROUP) * group_bytes(bits);
}

// One panel times n tokens: out[b] gets 16 numbers.
ALWAYS void panel_ints(const int n, const int bits, const uint8_t *w, int groups, const Activations *in, int row, int columns,
                       vf out[][PV]) {
    const int8_t *a[TOGETHER];
    for (int b = 0; b < n; b++) {
        a[b] = in->ints + (size_t)(row + b) * columns;
        for (int p = 0; p < PV; p++) out[b][p] = vf_set(0);
    }
    const float *scales = in->scales + (size_t)row * groups;
    const int32_t *sums = in->sums + (size_t)row * groups;
    const int step = GROUP * PANEL * bits / 8;
    for (int g = 0; g < groups; g++, w += step + PANEL * 2) {
        vi sum[TOGETHER][PV];
        if (bits == 4)
            dot_group_4(n, sum, w, a);
        else
            dot_group_8(n, sum, (const int8_t *)w, a);
        vf scale[PV];
        for (int p = 0; p < PV; p++) scale[p] = vf_from_halves((const uint16_t *)(w + step) + VW * p);
        for (int b = 0; b < n; b++) {
            int32_t excess = sums[b * groups + g] * (bits == 4 ? 8 : OFFSET_8);
            float activation = scales[b * groups + g];
            for (int p = 0; p < PV; p++) out[b][p] += vf_from_ints(sum[b][p] - excess) * (scale[p] * activation);
            a[b] += GROUP;
        }
    }
}

ALWAYS void panel_floats(const int n, const uint8_t *w, int columns, const float *in, vf out[][PV]) {
    const uint16_t *weights = (const uint16_t *)w;
    for (int b = 0; b < n; b++)
        for (int p = 0; p < PV; p++) out[b][p] = vf_set(0);
    for (int c = 0; c < columns; c++, weights += PANEL)
        for (int p = 0; p < PV; p++) {
            vf weight = vf_from_bf16(weights + VW * p);
            for (int b = 0; b < n; b++) out[b][p] += weight * in[(size_t)b * columns + c];
        }
}

ALWAYS void panel_times(const int n, const Matrix *m, const uint8_t *w, const Activations *in, int row, float *out, int width,
                        int add) {
    vf sums[TOGETHER][PV];
    if (m->bits == 16)
        panel_floats(n, w, m->columns, in->floats + (size_t)row * m->columns, sums);
    else if (m->bits == 8)
        panel_ints(n, 8, w, m->columns / GROUP, in, row, m->columns, sums);
    else
        panel_ints(n, 4, w, m->columns / GROUP, in, row, m->columns, sums);
    for (int b = 0; b < n; b++, out += width)
        for (int p = 0; p < PV; p++)
            vf_store(out + VW * p, add ? vf_load(out + VW * p) + sums[b][p] : sums[b][p]);
}

// out (rows, width) = in times the matrix, or that added to it; this thread's share of the panels.
static void times(Engine *e, int thread, const Matrix *m, const Activations *in, int rows, float *out, int width, int add) {
    int panels = m->rows / PANEL;
    int first = (int)((long)panels * thread / e->threads), last = (int)((long)panels * (thread + 1) / e->threads);
    size_t bytes = m->columns / GROUP * group_bytes(m->bits);
    for (int panel = first; panel < last; panel++) {
        const uint8_t *w = m->data + panel * bytes;
        float *to = out + panel * PANEL;
        int row = 0;
        for (; row + TOGETHER <= rows; row += TOGETHER) panel_times(TOGETHER, m, w, in, row, to + (size_t)row * width, width, add);
        for (; row < rows; row++) panel_times(1, m, w, in, row, to + (size_t)row * width, width, add);
    }
}

// A row of activations for products with `bits` weights: 8 bits, the largest of a group 127; or as it is.
static void prepare(const float *from, int columns, int bits, Activations *to, int row) {
    if (bits == 16) {
        memcpy(to->floats + (size_t)row * columns, from, sizeof(float) * (size_t)columns);
        return;
    }
    int groups = columns / GROUP;
    for (int g = 0; g < groups; g++, from += GROUP) {
        float most = 0;
        for (int i = 0; i < GROUP; i++) most = fabsf(from[i]) > most ? fabsf(from[i]) : most;
        float scale = most / 127, inverse = most > 0 ? 127 / most : 0;
        int8_t *ints = to->ints + (size_t)row * columns + g * GROUP;
        int32_t sum = 0;
        for (int i = 0; i < GROUP; i++) {
            float shifted = from[i] * inverse + 12582912.0f;  // rounds to nearest, ties to even
            int32_t whole;
            memcpy(&whole, &shifted, 4);
            ints[i] = (int8_t)whole;
            sum += ints[i];
        }
        to->scales[(size_t)row * groups + g] = scale;
        to->sums[(size_t)row * groups + g] = sum;
    }
}

static void norm(const float *x, const float *weight, int width, float epsilon, float *out) {
    vf squares[PV];
    for (int p = 0; p < PV; p++) squares[p] = vf_set(0);
    int i = 0;
    for (; i + PANEL <= width; i += PANEL)
        for (int p = 0; p < PV; p++) {
            vf v = vf_load(x + i + VW * p);
            squares[p] += v * v;
        }
    float total = sum_lanes(squares);
    for (; i < width; i++) total += x[i] * x[i];
    float factor = 1 / sqrtf(total / (float)width + epsilon);
    for (i = 0; i < width; i++) out[i] = x[i] * factor * weight[i];
}

static void embed(const Engine *e, int id, float *out) {
    const Matrix *m = &e->embedding;
    size_t each = group_bytes(m->bits);
    const uint8_t *w = m->data + (size_t)(id / PANEL) * (m->columns / GROUP) * each;
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
    return (((size_t)layer * e->pages + page) * s->kv_heads + kv_head) * s->head_width * PAGE;
}

static void rotate(const Engine *e, float *head, int position) {
    int half = e->shape.head_width / 2;
    const float *cosines = e->cosines + (size_t)position * half, *sines = e->sines + (size_t)position * half;
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
    for (int i = 0; i < h; i++) {
        e->keys[at + (size_t)i * PAGE + position % PAGE] = float_to_half(key[i]);
        e->values[at + (size_t)(position % PAGE) * h + i] = float_to_half(value[i]);
    }
}

// What one query finds: page by page, the largest score so far taken off (Milakov and Gimelshein, arXiv:1805.02867).
typedef struct {
    float most, total;
} Found;

static void look(const float *query, const float *keys, const float *values, int seen, int h, Found *found, float *out) {
    // Several sums side by side, here and below: one alone would wait for its own last addition.
    vf score[PAGE / VW], odd[PAGE / VW];
    UNROLL for (int p = 0; p < PAGE / VW; p++) score[p] = odd[p] = vf_set(0);
    for (int i = 0; i < h; i += 2, keys += 2 * PAGE)
        UNROLL for (int p = 0; p < PAGE / VW; p++) {
            score[p] += query[i] * vf_load(keys + VW * p);
            odd[p] += query[i + 1] * vf_load(keys + PAGE + VW * p);
        }
    UNROLL for (int p = 0; p < PAGE / VW; p++) score[p] += odd[p];
    float scores[PAGE], most = found->most;
    memcpy(scores, score, sizeof scores);
    for (int s = 0; s < seen; s++) most = scores[s] > most ? scores[s] : most;
    for (int s = seen; s < PAGE; s++) scores[s] = -INFINITY;
    for (int p = 0; p < PAGE / VW; p++) {
        score[p] = vf_exp(vf_load(scores + VW * p) - most);
        vf_store(scores + VW * p, score[p]);
    }
    for (int s = seen; s < PAGE; s++) scores[s] = 0;
    float fade = found->most == -INFINITY ? 0 : vf_exp(vf_set(found->most - most))[0], total = 0;
    for (int s = 0; s < PAGE; s++) total += scores[s];
    found->total = found->total * fade + total;
    found->most = most;
    for (int i = 0; i < h; i += PANEL) {
        vf sum[PV];
        UNROLL for (int p = 0; p < PV; p++) sum[p] = vf_load(out + i + VW * p) * fade;
        for (int s = 0; s < seen; s++)
            UNROLL for (int p = 0; p < PV; p++) sum[p] += scores[s] * vf_load(values + (size_t)s * h + i + VW * p);
        UNROLL for (int p = 0; p < PV; p++) vf_store(out + i + VW * p, sum[p]);
    }
}

// Attention of up to TILE rows of one sequence, one key head.
static void attend(Engine *e, int layer, int first, int rows, int kv_head, float *room) {
    const Shape *s = &e->shape;
    const Step *step = &e->step;
    int h = s->head_width, group = s->heads / s->kv_heads, width = e->layers[layer].qkv.rows;
    float *keys = room, *values = keys + (size_t)h * PAGE, *outs = values + (size_t)h * PAGE;
    float *queries = outs + (size_t)TILE * group * h;
    Found found[TILE * 64];
    float scale = 1 / sqrtf((float)h);
    for (int q = 0; q < rows * group; q++) {
        const float *from = e->y + (size_t)(first + q / group) * width + (kv_head * group + q % group) * h;
        for (int i = 0; i < h; i++) queries[q * h + i] = from[i] * scale;
        memset(outs + (size_t)q * h, 0, sizeof(float) * (size_t)h);
        found[q] = (Found){-INFINITY, 0};
    }
    int last = step->positions[first + rows - 1];
    const int32_t *table = step->tables + (size_t)step->sequences[first] * step->pages_each;
    for (int page = 0; page <= last / PAGE; page++) {
        size_t at = page_at(e, layer, table[page], kv_head);
        for (int i = 0; i < h * PAGE; i += VW) {
            vf_store(keys + i, vf_from_halves(e->keys + at + i));
        }
        for (int position = 0; position < PAGE; position++)
            for (int i = 0; i < h; i += VW) vf_store(values + position * h + i, vf_from_halves(e->values + at + position * h + i));
        for (int q = 0; q < rows * group; q++) {
            int seen = step->positions[first + q / group] + 1 - page * PAGE;
            if (seen > 0) look(queries + (size_t)q * h, keys, values, seen < PAGE ? seen : PAGE, h, found + q, outs + (size_t)q * h);
        }
    }
    for (int q = 0; q < rows * group; q++) {
        float *to = e->z + (size_t)(first + q / group) * e->columns + (kv_head * group + q % group) * h;
        for (int i = 0; i < h; i++) to[i] = outs[q * h + i] / found[q].total;
    }
}

// All rows' attention: each thread takes the next tile and key head until there is none.
static void attend_all(Engine *e, int layer, float *room) {
    const Step *step = &e->step;
    int kv_heads = e->shape.kv_heads, tile = 0;
    int mine = atomic_fetch_add(&e->item, 1);
    for (int first = 0; first < step->rows; tile++) {
        int rows = 1;
        while (rows < TILE && first + rows < step->rows && step->sequences[first + rows] == step->sequences[first] &&
               step->positions[first + rows] == step->positions[first] + rows)
            rows++;
        for (; mine / kv_heads == tile; mine = atomic_fetch_add(&e->item, 1)) attend(e, layer, first, rows, mine % kv_heads, room);
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

// With one row each thread prepares it for itself: cheaper than to wait for another to have done so.
#define FOR_ROWS(row) for (int row = alone ? 0 : thread; row < rows; row += alone ? 1 : e->threads)

static void compute(Engine *e, int thread) {
    const Shape *s = &e->shape;
    const Step *step = &e->step;
    int rows = step->rows, alone = rows == 1, D = s->width, wide = e->embedding.columns;
    Activations *in = alone ? &e->own[thread] : &e->shared;
    float *scratch = e->scratch[thread];
    for (int row = thread; row < rows; row += e->threads) embed(e, step->ids[row], e->x + (size_t)row * wide);
    barrier(e);
    for (int l = 0; l < s->layers; l++) {
        const Layer *layer = e->layers + l;
        int width = layer->qkv.rows;
        FOR_ROWS(row) {
            norm(e->x + (size_t)row * wide, layer->attention_norm, D, s->epsilon, scratch);
            memset(scratch + D, 0, sizeof(float) * (size_t)(wide - D));
            prepare(scratch, layer->qkv.columns, layer->qkv.bits, in, row);
        }
        if (!alone) barrier(e);
        times(e, thread, &layer->qkv, in, rows, e->y, width, 0);
        barrier(e);
        for (int i = thread; i < rows * s->kv_heads; i += e->threads) keep(e, l, i / s->kv_heads, i % s->kv_heads);
        barrier(e);
        attend_all(e, l, e->room[thread]);
        barrier(e);
        FOR_ROWS(row) {
            float *z = e->z + (size_t)row * e->columns;
            int inner = s->heads * s->head_width;
            memcpy(scratch, z, sizeof(float) * (size_t)inner);
            memset(scratch + inner, 0, sizeof(float) * (size_t)(layer->output.columns - inner));
            prepare(scratch, layer->output.columns, layer->output.bits, in, row);
        }
        if (!alone) barrier(e);
        times(e, thread, &layer->output, in, rows, e->x, wide, 1);
        barrier(e);
        FOR_ROWS(row) {
            norm(e->x + (size_t)row * wide, layer->feed_forward_norm, D, s->epsilon, scratch);
            memset(scratch + D, 0, sizeof(float) * (size_t)(wide - D));
            prepare(scratch, layer->gate_up.columns, layer->gate_up.bits, in, row);
        }
        if (!alone) barrier(e);
        times(e, thread, &layer->gate_up, in, rows, e->y, layer->gate_up.rows, 0);
        barrier(e);
        FOR_ROWS(row) {
            const float *y = e->y + (size_t)row * layer->gate_up.rows;
            swiglu(y, y + layer->gate_up.rows / 2, s->feed_forward, scratch);
            memset(scratch + s->feed_forward, 0, sizeof(float) * (size_t)(layer->down.columns - s->feed_forward));
            prepare(scratch, layer->down.columns, layer->down.bits, in, row);
        }
        if (!alone) barrier(e);
        times(e, thread, &layer->down, in, rows, e->x, wide, 1);
        barrier(e);
    }
    int asked = step->wanted_rows;
    alone = asked == 1;
    in = alone ? &e->own[thread] : &e->shared;
    for (int i = alone ? 0 : thread; i < asked; i += alone ? 1 : e->threads) {
        norm(e->x + (size_t)step->wanted[i] * wide, e->norm, D, s->epsilon, scratch);
        memset(scratch + D, 0, sizeof(float) * (size_t)(wide - D));
        prepare(scratch, e->head.columns, e->head.bits, in, i);
    }
    if (!alone) barrier(e);
    if (asked) times(e, thread, &e->head, in, asked, step->logits, e->head.rows, 0);
    barrier(e);
}

static void *work(void *given) {
    Worker *worker = given;
    Engine *e = worker->engine;
    for (long done = 0;; done++) {
        pthread_mutex_lock(&e->lock);
        while (e->started == done && !e->closing) pthread_cond_wait(&e->wake, &e->lock);
        int closing = e->closing;
        pthread_mutex_unlock(&e->lock);
        if (closing) return NULL;
        compute(e, worker->number);
    }
}

void native_step(Engine *e, const Step *step) {
    e->step = *step;
    pthread_mutex_lock(&e->lock);
    e->started++;
    pthread_cond_broadcast(&e->wake);
    pthread_mutex_unlock(&e->lock);
    compute(e, 0);
}

const char *native_kernels(void) { return KERNELS; }

static int reserve_activations(Activations *a, int rows, int columns) {
    a->ints = reserve((size_t)rows * columns);
    a->scales = reserve(sizeof(float) * (size_t)rows * (columns / GROUP));
    a->sums = reserve(sizeof(int32_t) * (size_t)rows * (columns / GROUP));
    a->floats = reserve(sizeof(float) * (size_t)rows * columns);
    return a->ints && a->scales && a->sums && a->floats;
}

static void free_activations(Activations *a) {
    free(a->ints);
    free(a->scales);
    free(a->sums);
    free(a->floats);
}

void native_free(Engine *e) {
    if (!e) return;
    pthread_mutex_lock(&e->lock);
    e->closing = 1;
    pthread_cond_broadcast(&e->wake);
    pthread_mutex_unlock(&e->lock);
    for (int t = 1; t < e->threads; t++)
        if (e->workers[t].engine) pthread_join(e->handles[t], NULL);
    free_activations(&e->shared);
    for (int t = 0; t < e->threads; t++) {
        free_activations(&e->own[t]);
        free(e->scratch[t]);
        free(e->room[t]);
    }
    free(e->keys);
    free(e->values);
    free(e->x);
    free(e->y);
    free(e->z);
    free(e->layers);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->wake);
    free(e);
}

// `matrices`: embedding, head, then of each layer qkv, output, gate and up, down; `norms`: the last one, then of each layer
// attention's and feed-forward's. All of them, and the tables of the rotation, stay the caller's. NULL without memory.
Engine *native_new(const Shape *shape, const Matrix *matrices, const float *const *norms, const float *cosines,
                   const float *sines, int pages, int most_rows, int threads) {
    Engine *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    e->shape = *shape;
    e->threads = threads < MOST_THREADS ? threads : MOST_THREADS;
    e->pages = pages;
    e->most_rows = most_rows;
    e->cosines = cosines;
    e->sines = sines;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->wake, NULL);
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
    size_t cached = (size_t)shape->layers * pages * shape->kv_heads * shape->head_width * PAGE * sizeof(uint16_t);
    e->keys = calloc(cached, 1);  // not touched before it is used: what nobody needs takes no memory
    e->values = calloc(cached, 1);
    e->x = reserve(sizeof(float) * (size_t)most_rows * e->embedding.columns);
    e->y = reserve(sizeof(float) * (size_t)most_rows * tallest);
    e->z = reserve(sizeof(float) * (size_t)most_rows * widest);
    int whole = e->layers && e->keys && e->values && e->x && e->y && e->z && reserve_activations(&e->shared, most_rows, widest);
    size_t room = (size_t)shape->head_width * (2 * PAGE + 2 * TILE * (shape->heads / shape->kv_heads));
    for (int t = 0; t < e->threads; t++) {
        e->scratch[t] = reserve(sizeof(float) * (size_t)widest);
        e->room[t] = reserve(sizeof(float) * room);
        whole = reserve_activations(&e->own[t], 1, widest) && e->scratch[t] && e->room[t] && whole;
    }
    for (int t = 1; t < e->threads && whole; t++) {
        e->workers[t] = (Worker){e, t};
        if (pthread_create(&e->handles[t], NULL, work, &e->workers[t])) {
            e->workers[t].engine = NULL;
            whole = 0;
        }
    }
    if (whole) return e;
    native_free(e);
    return NULL;
}
