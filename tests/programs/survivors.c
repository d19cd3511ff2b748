/* Blocks of known lifetimes, made and freed by the clock, so that a busy machine changes little.
 * usage: survivors [SECONDS (3)]
 *
 * short_lived   100 blocks every 10 ms, freed 10 ms later; the first of each hundred is kept for ever
 * half_second   10 blocks every 10 ms, each freed half a second later
 * all_kept      300 blocks at the start
 */
#include <time.h>
#include "keep.h"

enum { TICKS_PER_S = 100, SHORT = 100, HALF = 10, HELD = TICKS_PER_S / 2 };

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

NOIPA void *short_lived(void) { return malloc(48); }
NOIPA void *half_second(void) { return malloc(80); }
NOIPA void *all_kept(void) { return malloc(32); }

int main(int argc, char **argv) {
    static volatile int kept = 0; /* of each hundred; not known to the compiler, which would unroll the loop for it */
    static void *last[SHORT], *held[HELD][HALF];
    int ticks = (argc > 1 ? atoi(argv[1]) : 3) * TICKS_PER_S;
    double started_s = now_s();
    for (int i = 0; i < 300; i++) keep_push(all_kept());
    for (int tick = 0; tick < ticks; tick++) {
        while (now_s() - started_s < (double)tick / TICKS_PER_S) usleep(1000);
        for (int i = 0; i < SHORT; i++) {
            if (i == kept && last[i]) keep_push(last[i]);
            else free(last[i]);
            last[i] = short_lived();
        }
        for (int i = 0; i < HALF; i++) {
            void **block = &held[tick % HELD][i];
            free(*block);
            *block = half_second();
        }
    }
    return 0;
}
