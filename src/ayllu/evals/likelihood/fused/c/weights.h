// Weights, and how a product takes them: in panels of PANEL outputs.
#define PANEL (TILE_VECTORS * VW)
#define DEPTH 384  // inputs of a panel that are taken at a time: with them it stays in the first cache or close to it

typedef struct {
    const void *data;
    int inputs, outputs;
    int halves;  // bfloat16; for activations in bfloat16 in panels already, else (outputs, inputs) as float32 is
} Weights;

// `count` outputs of `steps` inputs each to a panel in float32; those that are not there are 0.
static void gather(const Weights *w, int first, int count, int from, int steps, float *panel) {
    for (int k = 0; k < steps; k++)
        for (int o = count; o < PANEL; o++) panel[k * PANEL + o] = 0;
    if (w->halves) {
        const bf16 *rows = (const bf16 *)w->data + (size_t)first * w->inputs + from;
        for (int k = 0; k < steps; k++)
            for (int o = 0; o < count; o++) ((uint32_t *)panel)[k * PANEL + o] = (uint32_t)rows[(size_t)o * w->inputs + k] << 16;
    } else {
        const float *rows = (const float *)w->data + (size_t)first * w->inputs + from;
        for (int k = 0; k < steps; k++)
            for (int o = 0; o < count; o++) panel[k * PANEL + o] = rows[(size_t)o * w->inputs + k];
    }
}

// out (rows, columns) = in (rows, inputs) times some of the outputs, `first` and on. `panel` is room for one.
static void times_float(const Weights *w, const float *in, int rows, int first, int columns, float *out, float *panel) {
    for (int at = 0; at < columns; at += PANEL) {
        int count = columns - at < PANEL ? columns - at : PANEL;
        for (int from = 0; from < w->inputs; from += DEPTH) {
            int steps = w->inputs - from < DEPTH ? w->inputs - from : DEPTH;
            gather(w, first + at, count, from, steps, panel);
            times_panel_float(in + from, rows, w->inputs, (const uint32_t *)panel, steps, count, out + at, columns, from > 0);
        }
    }
}
#if PAIRS
// The same; `first` is a multiple of PANEL.
static void times_bf16(const Weights *w, const bf16 *in, int rows, int first, int columns, bf16 *out, float *panel) {
    (void)panel;
    for (int at = 0; at < columns; at += PANEL) {
        const uint32_t *packed = (const uint32_t *)w->data + (size_t)(first + at) * (w->inputs / 2);
        int count = columns - at < PANEL ? columns - at : PANEL;
        times_panel_bf16(in, rows, w->inputs, packed, w->inputs / 2, count, out + at, columns, 0);
    }
}
#endif

// A block of the model.
typedef struct {
    Weights q, k, v, output, gate, up, down;
    const float *attention_norm, *feed_forward_norm;
} Layer;

typedef struct {
    int width, feed_forward, layers;
    float epsilon;
    const void *embedding;   // vocabulary, width
    int embedding_halves;    // it is in bfloat16
    int rounded;             // its numbers are rounded to bfloat16
    const Layer *blocks;
    const float *norm;
    Weights head;            // to the logits
} Model;
