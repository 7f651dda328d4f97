// A tiny model with weights by a formula, whose logits this prints, bit for bit: the engine without Python, for sanitizers
// and for processors that are not here. Usage: driver BITS THREADS
#include "engine.c"

#include <inttypes.h>
#include <stdio.h>

#define VOCABULARY 72
#define POSITIONS 96
#define PAGES_EACH (POSITIONS / PAGE)
#define SEQUENCES 3

static uint32_t state = 1;
static uint32_t draw(void) {  // Numerical Recipes' generator; the high bits are the good ones
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static float *numbers(int count, float low, float high) {
    float *made = reserve(sizeof(float) * (size_t)count);
    for (int i = 0; i < count; i++) made[i] = low + (high - low) * (float)draw() / (float)(1 << 24);
    return made;
}

static Matrix matrix(int rows, int columns, int bits) {
    Matrix m = {round_up(rows, PANEL), round_up(columns, GROUP), bits, NULL};
    size_t size = native_matrix_bytes(rows, columns, bits), each = group_bytes(bits), ints = GROUP * PANEL * bits / 8;
    uint8_t *data = reserve(size);
    for (size_t i = 0; i < size; i++) {
        size_t at = i % each;
        data[i] = (uint8_t)draw();
        if (bits == 16 || at >= ints) {  // little-endian 16-bit numbers, around 0.06 and, for scales, 0.008
            if (bits == 16 && i % 2) data[i] = (uint8_t)(0x3d | (data[i] & 0x80));
            if (bits != 16 && at % 2) data[i] = 0x20;
        } else if (bits == 8 && data[i] == 128) {
            data[i] = 127;
        }
    }
    m.data = data;
    return m;
}

static int adapted;  // whether sequence 1 has adapter 0, and 2 adapter 1; 0 never has any

// Rows of several sequences in one step; `counts` tokens of each from where it stands. Where nothing is to be `told`, no
// logits are asked for, as of a prompt that is read in pieces.
static void advance(Engine *e, int *at, const int *counts, int told) {
    int32_t ids[SEQUENCES * POSITIONS], positions[SEQUENCES * POSITIONS], sequences[SEQUENCES * POSITIONS];
    int32_t adapters[SEQUENCES * POSITIONS];
    int32_t tables[SEQUENCES * PAGES_EACH], wanted[SEQUENCES];
    int rows = 0, asked = 0;
    for (int s = 0; s < SEQUENCES; s++) {
        for (int p = 0; p < PAGES_EACH; p++) tables[s * PAGES_EACH + p] = p * SEQUENCES + s;
        for (int i = 0; i < counts[s]; i++, rows++) {
            positions[rows] = at[s]++;
            ids[rows] = (positions[rows] * 7 + s * 13) % VOCABULARY;
            sequences[rows] = s;
            adapters[rows] = s - 1;
        }
        if (counts[s] && told) wanted[asked++] = rows - 1;
    }
    int width = e->head.rows;
    float *logits = reserve(sizeof(float) * (size_t)(asked * width + 1));
    Step step = {rows, ids, positions, sequences, tables, PAGES_EACH, adapted ? adapters : NULL, wanted, asked, logits};
    native_step(e, &step);
    for (int i = 0; i < asked; i++) {
        uint64_t hash = 14695981039346656037u;  // FNV-1a
        for (int v = 0; v < VOCABULARY; v++) {
            uint32_t bits;
            memcpy(&bits, logits + i * width + v, 4);
            hash = (hash ^ bits) * 1099511628211u;
            if (!isfinite(logits[i * width + v])) puts("not a number");
        }
        printf("%d at %d: %016" PRIx64 " %.6f %.6f\n", sequences[wanted[i]], positions[wanted[i]], hash,
               (double)logits[i * width], (double)logits[i * width + 71]);
    }
    free(logits);
}

// Two adapters of ranks 16 and 32: the first of all matrices, the second of their first outputs alone.
static LowRank *adapters(const Matrix *matrices) {
    LowRank *parts = reserve(sizeof(LowRank) * 2 * 2 * MATRICES * PARTS);
    for (int m = 0; m < 2 * 2 * MATRICES; m++) {
        const Matrix *of = matrices + 2 + m % (2 * MATRICES);
        int first = of->rows / PANEL / 2 * PANEL, rank = m < 2 * MATRICES ? 16 : 32;
        for (int p = 0; p < (rank == 16 ? 2 : 1); p++) {
            int rows = p ? of->rows - first : first;
            parts[m * PARTS + p] = (LowRank){p * first, rows, rank, numbers(rank * of->columns, -0.1f, 0.1f),
                                             numbers(rank * rows, -0.1f, 0.1f)};
        }
    }
    return parts;
}

static int compute_all(Engine *e, const LowRank *parts) {
    int at[SEQUENCES] = {0};
    adapted = 0;
    advance(e, at, (int[]){1, 0, 0}, 1);
    for (int i = 0; i < 11; i++) advance(e, at, (int[]){3, 0, 0}, 0);
    advance(e, at, (int[]){0, 5, 0}, 1);
    advance(e, at, (int[]){1, 1, 40}, 1);
    for (int i = 0; i < 4; i++) advance(e, at, (int[]){1, 1, 1}, i % 2);
    advance(e, at, (int[]){7, 0, 2}, 1);
    advance(e, at, (int[]){0, 50, 0}, 1);
    if (!(adapted = native_adapt(e, parts, 2))) return 0;
    advance(e, at, (int[]){3, 4, 20}, 1);
    for (int i = 0; i < 2; i++) advance(e, at, (int[]){1, 1, 1}, 1);
    advance(e, at, (int[]){0, 0, 1}, 1);
    return 1;
}

int main(int count, char **given) {
    if (count != 3) return 2;
    int bits = atoi(given[1]), threads = atoi(given[2]), head_bits = bits < 8 ? 8 : bits;
    // Widths that fill no whole group, and three query heads to a key head.
    Shape shape = {2, 80, 6, 2, 32, 112, VOCABULARY, 1e-5f};
    int inner = 6 * 32, keys = 2 * 2 * 32;
    Matrix matrices[10];
    const float *norms[5];
    matrices[0] = matrices[1] = matrix(VOCABULARY, 80, head_bits);
    for (int l = 0; l < 2; l++) {
        matrices[2 + 4 * l] = matrix(inner + keys, 80, bits);
        matrices[3 + 4 * l] = matrix(80, inner, bits);
        matrices[4 + 4 * l] = matrix(2 * 112, 80, bits);
        matrices[5 + 4 * l] = matrix(80, 112, bits);
    }
    for (int n = 0; n < 5; n++) norms[n] = numbers(80, 0.5f, 1.5f);
    // Not a rotation, which sines of the C library would make a little differently elsewhere.
    float *cosines = numbers(POSITIONS * 16, -0.7f, 0.7f), *sines = numbers(POSITIONS * 16, -0.7f, 0.7f);
    LowRank *parts = adapters(matrices);
    fprintf(stderr, "%s\n", native_kernels());
    for (int kept_bits = 8; kept_bits <= 16; kept_bits += 8) {
        Engine *e = native_new(&shape, matrices, norms, cosines, sines, SEQUENCES * PAGES_EACH, kept_bits, 64, threads);
        if (!e) return 1;
        printf("%d bits, %d of keys and values\n", bits, kept_bits);
        if (!compute_all(e, parts)) return 1;
        native_free(e);
    }
    for (int p = 0; p < 2 * 2 * MATRICES * PARTS; p++) {
        free((void *)parts[p].a);
        free((void *)parts[p].b);
    }
    free(parts);
    for (int m = 1; m < 10; m++) free((void *)matrices[m].data);
    for (int n = 0; n < 5; n++) free((void *)norms[n]);
    free(cosines);
    free(sines);
    return 0;
}
