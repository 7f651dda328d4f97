// What stands between the products of a Llama block, each in one pass over its numbers, in bfloat16 and in float32.
#include "vector.h"

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

#define TYPE bf16
#define LANES 2
#include "block.h"
#include "attention.h"
#include "product.h"
#undef TYPE
#undef LANES

#define TYPE float
#define LANES 1
#include "block.h"
#include "attention.h"
