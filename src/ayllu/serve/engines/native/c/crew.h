// The threads of an engine: they sleep between steps, and meet at barriers within one.
#pragma once
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define MOST_THREADS 64
#define SPINS 2000  // looks at the barrier before a thread sleeps: some tens of microseconds

typedef struct Crew Crew;
typedef struct {
    Crew *crew;
    int number;
} Worker;

struct Crew {
    int threads;
    void (*task)(void *, int);  // what a step is, and of what
    void *of;
    Worker workers[MOST_THREADS];
    pthread_t handles[MOST_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    long started;  // steps so far; under the lock
    int closing;
    atomic_int arrived, sleeping, item;
    atomic_uint phase;  // wraps around after some days of serving
};

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// All threads meet. Who comes first looks for a while, for the others are mostly near; then it sleeps, so that on a busy
// machine it is not in their way.
static void barrier(Crew *c) {
    unsigned phase = atomic_load(&c->phase);
    if (atomic_fetch_add(&c->arrived, 1) == c->threads - 1) {
        atomic_store(&c->item, 0);
        atomic_store(&c->arrived, 0);
        atomic_store(&c->phase, phase + 1);
#ifdef __linux__
        if (atomic_load(&c->sleeping)) syscall(SYS_futex, &c->phase, FUTEX_WAKE_PRIVATE, MOST_THREADS, NULL, NULL, 0);
#endif
        return;
    }
    for (int spins = 0; spins < SPINS; spins++) {
        if (atomic_load(&c->phase) != phase) return;
        pause_briefly();
    }
    atomic_fetch_add(&c->sleeping, 1);
    while (atomic_load(&c->phase) == phase)
#ifdef __linux__
        syscall(SYS_futex, &c->phase, FUTEX_WAIT_PRIVATE, phase, NULL, NULL, 0);
#else
        sched_yield();
#endif
    atomic_fetch_sub(&c->sleeping, 1);
}

// The next of what the threads share out among themselves until they meet.
static int next_item(Crew *c) { return atomic_fetch_add(&c->item, 1); }

static void *work(void *given) {
    Worker *worker = given;
    Crew *c = worker->crew;
    for (long done = 0;; done++) {
        pthread_mutex_lock(&c->lock);
        while (c->started == done && !c->closing) pthread_cond_wait(&c->wake, &c->lock);
        int closing = c->closing;
        pthread_mutex_unlock(&c->lock);
        if (closing) return NULL;
        c->task(c->of, worker->number);
    }
}

// One step; the caller is the first of the threads.
static void crew_step(Crew *c) {
    pthread_mutex_lock(&c->lock);
    c->started++;
    pthread_cond_broadcast(&c->wake);
    pthread_mutex_unlock(&c->lock);
    c->task(c->of, 0);
}

// 0 where a thread cannot be had; `crew_end` is due then too.
static int crew_begin(Crew *c, int threads, void (*task)(void *, int), void *of) {
    c->threads = threads < MOST_THREADS ? threads : MOST_THREADS;
    c->task = task;
    c->of = of;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    for (int t = 1; t < c->threads; t++) {
        c->workers[t] = (Worker){c, t};
        if (pthread_create(&c->handles[t], NULL, work, &c->workers[t])) {
            c->workers[t].crew = NULL;
            return 0;
        }
    }
    return 1;
}

static void crew_end(Crew *c) {
    if (!c->task) return;
    pthread_mutex_lock(&c->lock);
    c->closing = 1;
    pthread_cond_broadcast(&c->wake);
    pthread_mutex_unlock(&c->lock);
    for (int t = 1; t < c->threads && c->workers[t].crew; t++) pthread_join(c->handles[t], NULL);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->wake);
}
