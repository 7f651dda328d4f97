// Rows of branches through a Llama model, from ids to log-likelihoods, by one thread: in bfloat16 where the processor
// multiplies pairs of such numbers, else in float32, with weights in either.
#include "vector.h"

// Activations in bfloat16, two a word.
#ifndef PAIRS
#if defined(__AVX512BF16__)
#define PAIRS 1
#else
#define PAIRS 0
#endif
#endif

// A stretch of a row that goes on by itself: the beginning of the row, or one of its branches.
typedef struct {
    int first, length;     // tokens, counted over all rows
    int beginning, before; // the row's beginning, which a branch sees too: its first token, and how many
} Segment;

typedef struct {
    int heads, kv_heads, head_width;
    int past;              // tokens of the trunk, which stands before every row
    const float *cosines, *sines;  // positions, head_width / 2
    const int *positions;  // of the tokens; those of the trunk are 0, 1, …
} Layout;

#define PASTE(a, b) a##_##b
#define EXPAND(a, b) PASTE(a, b)
#define OF(name) EXPAND(name, TYPE)

#define PANEL (TILE_VECTORS * VW)  // outputs of a weight that are computed together

#define TYPE float
#define LANES 1
#include "product.h"
#undef TYPE
#undef LANES
#if PAIRS
#define TYPE bf16
#define LANES 2
#include "product.h"
#undef TYPE
#undef LANES
#endif

#include "weights.h"

// What is asked of the states of some rows.
typedef struct {
    int count;               // ids, each behind one of the rows
    const int *rows, *ids;
    float *values;           // gets the log-likelihood of each
    int *likeliest;          // gets the likeliest id behind each row, of equal ones the first; NULL for nobody
    int columns;             // logits of a row that are made at a time, a multiple of PANEL
} Asked;

#define TYPE float
#define LANES 1
#include "block.h"
#include "attention.h"
#include "pass.h"
#undef TYPE
#undef LANES
#if PAIRS
#define TYPE bf16
#define LANES 2
#include "block.h"
#include "attention.h"
#include "pass.h"
#endif

int fused_pairs(void) { return PAIRS; }
int fused_panel(void) { return PANEL; }
// Whether the processor multiplies whole tiles of bfloat16, which others do.
int fused_tiles(void) {
#if defined(__AMX_BF16__)
    return 1;
#else
    return 0;
#endif
}
