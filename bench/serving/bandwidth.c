// Bytes a second that so many threads together read from memory: `bandwidth THREADS`, a gibibyte three times, the best.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BYTES (1ul << 30)
typedef uint64_t lanes __attribute__((vector_size(64)));

static char *memory;
static long threads;

static void *read_all(void *number) {
    size_t share = BYTES / (size_t)threads / 512 * 512;
    const char *from = memory + (size_t)number * share;
    lanes sums[8] = {0};
    for (size_t at = 0; at < share; at += 512)
        for (int i = 0; i < 8; i++) {
            lanes found;
            __builtin_prefetch(from + at + 2048 + 64 * i);
            memcpy(&found, from + at + 64 * i, 64);
            sums[i] += found;
        }
    for (int i = 1; i < 8; i++) sums[0] += sums[i];
    return (void *)(uintptr_t)sums[0][0];  // so that nothing is left out
}

int main(int count, char **words) {
    threads = count > 1 ? atol(words[1]) : 1;
    memory = aligned_alloc(64, BYTES);
    if (!memory || threads < 1 || threads > 64) return 1;
    memset(memory, 1, BYTES);
    double best = 0;
    for (int round = 0; round < 3; round++) {
        struct timespec began, ended;
        pthread_t all[64];
        clock_gettime(CLOCK_MONOTONIC, &began);
        for (long i = 0; i < threads; i++) pthread_create(&all[i], NULL, read_all, (void *)i);
        for (long i = 0; i < threads; i++) pthread_join(all[i], NULL);
        clock_gettime(CLOCK_MONOTONIC, &ended);
        double seconds = (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) * 1e-9;
        if (BYTES / seconds > best) best = BYTES / seconds;
    }
    printf("%.0f\n", best);
}
