/* A program of which there are two builds, this one and (with -DAGAIN) its next version. Blocks are made by the clock, so
 * that a busy machine changes nothing.
 * usage: rebuilt [SECONDS (2)]
 *
 *                 this build      the next one
 * steady_leak     100 kB/s        the same
 * renamed_leak    200 kB/s        the same, called named_anew
 * faster_leak     150 kB/s        600 kB/s
 * mended_leak     300 kB/s        freed at once
 * bounded_cache   100 kB once     300 kB once
 * only_in_new     -               70 kB/s
 * only_in_old     60 kB/s         -
 * also_only_in_old  50 kB/s       -
 */
#include <time.h>
#include "keep.h"
#ifdef AGAIN
#define renamed_leak named_anew
#endif

KEEPER(steady_leak)
KEEPER(renamed_leak)
KEEPER(faster_leak)
KEEPER(bounded_cache)
#ifdef AGAIN
static void *volatile mended;
NOIPA void mended_leak(size_t bytes) {
    mended = malloc(bytes);
    free(mended);
}
KEEPER(only_in_new)
#else
KEEPER(mended_leak)
KEEPER(only_in_old)
KEEPER(also_only_in_old)
#endif

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

NOIPA static void job(void) {
#ifdef AGAIN
    only_in_new(700);
#else
    only_in_old(600);
    also_only_in_old(500);
#endif
}

NOIPA static void tick(void) {
    steady_leak(1000);
    renamed_leak(2000);
    faster_leak(1500);
    mended_leak(3000);
#ifdef AGAIN
    for (int i = 0; i < 3; i++) faster_leak(1500);
#endif
    job();
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 2, started_s = now_s();
#ifdef AGAIN
    bounded_cache(300000);
#else
    bounded_cache(100000);
#endif
    for (int done = 0; done < seconds * 100; done++) {
        while (now_s() - started_s < done / 100.0) usleep(2000);
        tick();
    }
    return 0;
}
