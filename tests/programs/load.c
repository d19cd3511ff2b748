/* A load that changes, for mode=budget: quiet, a storm of allocations, quiet again.
 * usage: load QUIET_MS STORM_MS THREADS: quiet is half a millisecond of work every 10 ms and few blocks; the storm is THREADS threads that
 * allocate, work and free without a pause. Kept, evenly over its phase: keep_quiet 500 x 300 in the first quiet time,
 * keep_storm 20000 x 200 in the storm, keep_late 500 x 300 in the last. Says "at quiet" and "at late" when
 * four fifths of these are over, and when each phase ended.
 * build: -pthread */
#include <pthread.h>
#include <stdint.h>
#include <time.h>
#include "keep.h"

KEEPER(keep_quiet)
KEEPER(keep_storm)
KEEPER(keep_late)

static double now_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* Some hundred nanoseconds of work on a block. */
NOIPA static uint64_t work_on(unsigned char *block, size_t bytes) {
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < bytes; i++) block[i] = (unsigned char)(hash = (hash ^ i) * 1099511628211u);
    return hash;
}

NOIPA static void serve(uint64_t *random) {
    void *blocks[8];
    for (int i = 0; i < 8; i++) {
        *random = *random * 6364136223846793005u + 1442695040888963407u;
        size_t bytes = 16 + (*random >> 40) % 400;
        CHECK(blocks[i] = malloc(bytes));
        work_on(blocks[i], bytes);
    }
    for (int i = 0; i < 8; i++) free(blocks[i]);
}

static void quiet(const char *name, double ms, void (*keep)(size_t)) {
    double began = now_ms(CLOCK_MONOTONIC);
    static unsigned char buffer[400000];
    int is_told = 0;
    for (int kept = 0; kept < 500;) {
        double part = (now_ms(CLOCK_MONOTONIC) - began) / ms;
        for (; kept < 500 && kept < part * 500; kept++) keep(300);
        work_on(buffer, sizeof buffer);
        if (part >= 0.8 && !is_told) {
            is_told = 1;
            dprintf(1, "at %s\n", name);
        }
        struct timespec pause = {0, 10000000};
        nanosleep(&pause, NULL);
    }
}

static double storm_ms;
static int threads;

static void *storm(void *number) {
    double began = now_ms(CLOCK_MONOTONIC);
    uint64_t random = (uintptr_t)number + 7;
    int mine = 20000 / threads;
    for (int kept = 0; kept < mine;) {
        double part = (now_ms(CLOCK_MONOTONIC) - began) / storm_ms;
        for (; kept < mine && kept < part * mine; kept++) keep_storm(200);
        for (int i = 0; i < 50; i++) serve(&random);
    }
    return NULL;
}

static void told(const char *phase) {
    dprintf(1, "%s ended at %.0f ms, CPU %.0f ms\n", phase, now_ms(CLOCK_MONOTONIC), now_ms(CLOCK_PROCESS_CPUTIME_ID));
}

int main(int argc, char **argv) {
    CHECK(argc == 4);
    double quiet_ms = atof(argv[1]);
    storm_ms = atof(argv[2]);
    threads = atoi(argv[3]);
    CHECK(threads >= 1 && threads <= 8 && 20000 % threads == 0);
    told("start");
    quiet("quiet", quiet_ms, keep_quiet);
    told("quiet");
    pthread_t all[8];
    for (long i = 0; i < threads; i++) CHECK(!pthread_create(&all[i], NULL, storm, (void *)i));
    for (int i = 0; i < threads; i++) CHECK(!pthread_join(all[i], NULL));
    told("storm");
    quiet("late", quiet_ms, keep_late);
    told("late");
    return 0;
}
