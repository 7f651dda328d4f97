// What the engine offers to those who link it.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct Engine Engine;

typedef struct {
    int rows, columns;  // multiples of PANEL and GROUP
    int bits;           // 4, 8 or 16
    const uint8_t *data;
} Matrix;

typedef struct {
    int layers, width, heads, kv_heads, head_width, feed_forward, vocabulary;
    float epsilon;
} Shape;

// What an adapter adds to the outputs from `first` on: B A x, its scale within B. All are multiples of PANEL.
typedef struct {
    int first, rows, rank;  // rank 0: nothing
    const float *a, *b;     // rank / PANEL panels of columns x PANEL; rows / PANEL panels of rank x PANEL
} LowRank;
#define PARTS 3  // of a matrix at most: queries, keys and values

typedef struct {
    int rows;  // those of a sequence stand together, in the order of their positions
    const int32_t *ids, *positions, *sequences;
    const int32_t *tables;  // page of each PAGE positions, `pages_each` to a sequence
    int pages_each;
    const int32_t *adapters;  // of each row, -1 for none; NULL where none has any
    const int32_t *wanted;    // rows whose logits are asked for
    int wanted_rows;
    float *logits;
} Step;

size_t native_matrix_bytes(int rows, int columns, int bits);
// `matrices`: embedding, head, then of each layer qkv, output, gate and up, down; `norms`: the last one, then of each layer
// attention's and feed-forward's. All of them, and the tables of the rotation, stay the caller's.
// Keys and values are kept in `kept_bits`, 8 or 16. NULL without memory.
Engine *native_new(const Shape *shape, const Matrix *matrices, const float *const *norms, const float *cosines,
                   const float *sines, int pages, int kept_bits, int most_rows, int threads);
// Takes adapters: PARTS parts for each of the four matrices of each layer of each adapter, which stay the caller's. 0 without
// memory for what they need.
int native_adapt(Engine *e, const LowRank *parts, int adapters);
void native_step(Engine *e, const Step *step);
void native_free(Engine *e);
const char *native_kernels(void);
