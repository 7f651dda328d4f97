// Whether the kernels that were chosen find on this machine what plain C finds, to the last bit: a tiny model with weights
// by a formula, some milliseconds.
#include <stdlib.h>
#include <string.h>

#include "native.h"

Engine *plain_new(const Shape *shape, const Matrix *matrices, const float *const *norms, const float *cosines,
                  const float *sines, int pages, int kept_bits, int most_rows, int threads);
void plain_step(Engine *e, const Step *step);
void plain_free(Engine *e);

#define LAYERS 1
#define WIDTH 64
#define ROWS 39  // two tiles of 16 and 7 rows more, too few for a tile: 4 together and 3, so that every product is met
#define LARGEST (192 * 64 * 2)

typedef struct {
    uint8_t bytes[6][LARGEST];
    float numbers[3 * WIDTH + ROWS * 8];  // norms, and what stands for the tables of the rotation
    float found[2][ROWS * WIDTH];
} Room;

static uint32_t drawn(uint32_t *state) {  // Numerical Recipes' generator; the high bits are the good ones
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

// Random ints, and scales or whole weights of a moderate size: bytes of little-endian 16-bit numbers.
static Matrix fill(uint8_t *bytes, int rows, int columns, int bits, uint32_t *state) {
    size_t ints = 32 * 16 * (size_t)bits / 8, each = bits == 16 ? ints : ints + 32, size = native_matrix_bytes(rows, columns, bits);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)drawn(state);
        if (bits == 16 && i % 2) bytes[i] = (uint8_t)(0x3d | (bytes[i] & 0x80));
        if (bits < 16 && i % each >= ints && i % 2) bytes[i] = 0x20;
        if (bits == 8 && bytes[i] == 128) bytes[i] = 127;
    }
    return (Matrix){rows, columns, bits, bytes};
}

static int agrees(Room *room, int bits, int kept_bits, int threads) {
    uint32_t state = 1;
    Shape shape = {LAYERS, WIDTH, 4, 2, 16, 96, WIDTH, 1e-5f};
    Matrix matrices[6] = {fill(room->bytes[0], WIDTH, WIDTH, bits, &state)};
    matrices[1] = matrices[0];
    matrices[2] = fill(room->bytes[2], 128, WIDTH, bits, &state);
    matrices[3] = fill(room->bytes[3], WIDTH, WIDTH, bits, &state);
    matrices[4] = fill(room->bytes[4], 192, WIDTH, bits, &state);
    matrices[5] = fill(room->bytes[5], WIDTH, 96, bits, &state);
    float *numbers = room->numbers, *turns = numbers + 3 * WIDTH;
    const float *norms[3] = {numbers, numbers + WIDTH, numbers + 2 * WIDTH};
    for (int i = 0; i < 3 * WIDTH + ROWS * 8; i++) numbers[i] = 0.4f + (float)drawn(&state) / (1 << 24);
    // A prompt, and another sequence's token beside it.
    int32_t ids[ROWS], positions[ROWS], sequences[ROWS], tables[4] = {2, 0, 1, 3}, wanted[ROWS];
    for (int row = 0; row < ROWS; row++) {
        ids[row] = row * 11 % WIDTH;
        positions[row] = row < ROWS - 1 ? row : 0;
        sequences[row] = row == ROWS - 1;
        wanted[row] = row;
    }
    int whole = 1;
    for (int plain = 0; plain < 2; plain++) {
        Step step = {ROWS, ids, positions, sequences, tables, 2, NULL, wanted, ROWS, room->found[plain]};
        Engine *e = (plain ? plain_new : native_new)(&shape, matrices, norms, turns, turns, 4, kept_bits, ROWS, plain ? 1 : threads);
        whole &= e != NULL;
        if (e) (plain ? plain_step : native_step)(e, &step);
        (plain ? plain_free : native_free)(e);
    }
    return whole && memcmp(room->found[0], room->found[1], sizeof room->found[0]) == 0;
}

// 1 where they agree for weights of so many bits, 0 where they do not or there is no memory.
int native_selftest(int bits, int threads) {
    Room *room = malloc(sizeof *room);
    int found = room && agrees(room, bits, 16, threads) && agrees(room, bits == 16 ? 16 : 8, 8, threads);
    free(room);
    return found;
}
