// The whole engine once more in plain C, under names of its own: what the self-test compares with.
#define NATIVE_PLAIN
#define native_matrix_bytes plain_matrix_bytes
#define native_new plain_new
#define native_step plain_step
#define native_free plain_free
#define native_kernels plain_kernels
#define native_adapt plain_adapt
#include "engine.c"
